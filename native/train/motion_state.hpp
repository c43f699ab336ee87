// Fields, what they make of a picture, and what both cost: where a motion search is.
#pragma once

#include <algorithm>
#include <vector>

#include "train/motion_fields.hpp"
#include "train/square_costs.hpp"

namespace vireo::train {

constexpr int kLargestLatent = 4000;  // in magnitude

// A vector's two latents, or a change of them; in quarter samples.
struct Step {
  int x, y;

  bool valid() const { return std::max(std::max(x, -x), std::max(y, -y)) <= kLargestLatent; }
};
inline bool operator==(Step a, Step b) { return a.x == b.x && a.y == b.y; }
inline Step operator+(Step a, Step b) { return {a.x + b.x, a.y + b.y}; }
inline Step operator-(Step a, Step b) { return {a.x - b.x, a.y - b.y}; }
inline Step operator-(Step a) { return {-a.x, -a.y}; }

// An estimate of what an adaptive code spends on a latent that stands for itself.
float bits_of(int latent);

class MotionState {
 public:
  MotionState(const MotionPictures& pictures, int first, int grids);

  const MotionFields& fields() const { return fields_; }
  const SquareCosts& costs() const { return costs_; }

  // Bits of a latent; the coarsest, where global motion shows, given their neighbours.
  float rate(std::size_t field, const Place& at, int latent) const;
  float rate(std::size_t reference, const Place& at, Step vector) const {
    return rate(2 * reference, at, vector.x) + rate(2 * reference + 1, at, vector.y);
  }
  // What all costs: residual and latents.
  double loss() const;

  Step vector(std::size_t reference, const Place& at) const {
    return {fields_.latent(2 * reference, at), fields_.latent(2 * reference + 1, at)};
  }
  // Set latents. The costs don't follow before `update_vectors` and `update_blending`.
  void set_vector(std::size_t reference, const Place& at, Step vector);
  void add(std::size_t field, const Place& at, int change) { fields_.add(field, at, change); }
  void update_vectors(std::size_t reference, const Region& region) {
    costs_.update_vectors(fields_, reference, region);
  }
  void update_blending(const Region& region) { costs_.update_blending(fields_, region); }

  // By how much the residual's cost would change: SquareCosts::trial. vectors(row, column, vx,
  // vy) and blending(row, column, alpha, beta) give a square's other values, or say that it has
  // none; the latter finds the present ones there.
  template <class Vectors>
  float trial_vectors(std::size_t reference, const Region& region, Vectors&& vectors,
                      float limit) const;
  template <class Blending>
  float trial_blending(const Region& region, Blending&& blending, float limit) const;

  // Calls visit(place) for a whole grid, or the part of a finer grid (or the same one) that lies
  // in a cell.
  template <class Visit>
  void for_places(int level, Visit&& visit) const;
  template <class Visit>
  void for_children(const Place& at, int level, Visit&& visit) const;
  // Calls turn(place, region) for the places of a grid whose surroundings, the region, have
  // changed since their last turn with this field.
  template <class Turn>
  void sweep(std::size_t field, int level, Turn&& turn);

 private:
  float lambda_;
  MotionFields fields_;
  SquareCosts costs_;
  // Of each field's latents: the activity around at the end of their last turn.
  std::vector<std::vector<std::vector<double>>> seen_;
};

template <class Vectors>
float MotionState::trial_vectors(std::size_t reference, const Region& region, Vectors&& vectors,
                                 float limit) const {
  std::int16_t samples[kSquareSamples];
  const auto hypothesis = [&](int row, int column, Mixture& m) {
    std::int32_t vx[4], vy[4];
    if (!vectors(row, column, vx, vy)) return false;
    costs_.predict(reference, row, column, vx, vy, samples);
    m = costs_.mixture(row, column);
    m.replace(reference, samples);
    return true;
  };
  return costs_.trial(region, hypothesis, limit);
}

template <class Blending>
float MotionState::trial_blending(const Region& region, Blending&& blending, float limit) const {
  const auto hypothesis = [&](int row, int column, Mixture& m) {
    std::int32_t alpha[4], beta[4];
    fields_.blending(row, column, alpha, beta);
    if (!blending(row, column, alpha, beta)) return false;
    m = costs_.mixture(row, column);
    const Mixture now = m;
    m.blend(alpha, beta);
    return !std::equal(m.weights, m.weights + 4, now.weights);
  };
  return costs_.trial(region, hypothesis, limit);
}

template <class Visit>
void MotionState::for_places(int level, Visit&& visit) const {
  const auto& grid = fields_.grid(0, level);
  for (int row = 0; row < grid.height; ++row)
    for (int column = 0; column < grid.width; ++column) visit(Place{level, row, column});
}

template <class Visit>
void MotionState::for_children(const Place& at, int level, Visit&& visit) const {
  const auto& grid = fields_.grid(0, level);
  const int side = 1 << (at.level - level);
  for (int row = at.row * side; row < std::min((at.row + 1) * side, grid.height); ++row)
    for (int column = at.column * side; column < std::min((at.column + 1) * side, grid.width);
         ++column)
      visit(Place{level, row, column});
}

template <class Turn>
void MotionState::sweep(std::size_t field, int level, Turn&& turn) {
  double* seen = seen_[field][static_cast<std::size_t>(level - fields_.first())].data();
  for_places(level, [&](const Place& at) {
    const Region region = fields_.reach(at);
    if (costs_.activity(region) > *seen) {
      turn(at, region);
      *seen = costs_.activity(region);
    }
    ++seen;
  });
}

}  // namespace vireo::train
