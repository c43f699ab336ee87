// What latents of motion cost in bits, as they are or if some were others.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/motion_syntax.hpp"
#include "train/motion_fields.hpp"
#include "train/motion_rates.hpp"

namespace vireo::train {

// All latents of a cell: vectors, how much is predicted, and the first reference's share of it.
struct Choice {
  std::array<Step, 2> vectors{};
  int alpha = 0, beta = 0;
};

// Changes that have been chosen of the first cells of a grid, not yet made.
struct PendingSteps {
  static constexpr std::size_t kNone = ~std::size_t{0};

  std::size_t reference = kNone;
  int level = 0;
  bool mirrored = false;  // the second reference's are these, mirrored
  std::vector<Step> steps;
};

class MotionBits {
 public:
  // `fields` may change, or be replaced where they are; `probabilities` as in vireo::Parts.
  MotionBits(const MotionFields& fields, const std::uint16_t* probabilities)
      : fields_(fields), rates_(probabilities, fields.references()) {}

  // What counts as if it were made already.
  PendingSteps pending;

  // Of a vector by itself, and of a cell's own latents: those around it may follow.
  float own(std::size_t r, const Place& at, Step vector) const;
  float own(const Place& at, const Choice& choice) const;
  // Of a vector or a latent, with those whose contexts it is in.
  float rate(std::size_t r, const Place& at, Step vector) const;
  float rate(std::size_t field, const Place& at, int latent) const;
  // Of a vector whose mirror image the second reference gets.
  float mirrored(const Place& at, Step vector) const;
  // Of all latents.
  double total() const;

  // Rates as an adaptive code has them at the end.
  void learn();
  // As they are at the start of frames whose vectors begin with motion, or of others.
  void reset(bool begins) { rates_.reset(begins); }

 private:
  // What latents are at present, or would be if those of one vector, of one field or of one
  // cell were others.
  struct Present {
    const MotionBits& bits;
    std::size_t field = PendingSteps::kNone;  // the first one that is changed
    Place at{};
    Step value{};
    bool vector = false;
    const Choice* choice = nullptr;

    int operator()(int f, int depth, int row, int column) const;
  };

  VectorContext vector_context(const Present& latents, std::size_t r, const Place& at) const;
  BlendingContext blending_context(const Present& latents, std::size_t field,
                                   const Place& at) const;
  float of_vector(const Present& latents, std::size_t r, const Place& at, Step vector) const;
  float of_blending(const Present& latents, std::size_t field, const Place& at, int latent) const;
  int depth(int level) const { return fields_.coarsest() - level; }
  // Calls visit(context, value) for all vectors and latents of blending.
  template <class Visit>
  void for_values(Visit&& visit) const;

  const MotionFields& fields_;
  MotionRates rates_;
};

}  // namespace vireo::train
