// Fields of vectors and blending as the motion search changes them: latent by latent, with
// the blocks' values always at hand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/coolchic.hpp"
#include "core/motion_syntax.hpp"

namespace vireo::train {

using Step = MotionVector;  // a change of a vector's latents, or the latents
inline Step operator+(Step a, Step b) { return {a.x + b.x, a.y + b.y}; }
inline Step operator-(Step a, Step b) { return {a.x - b.x, a.y - b.y}; }

// A rectangle of a picture's squares: rows top ... bottom - 1, columns left ... right - 1.
struct Region {
  int top, bottom, left, right;
};

// Where a latent stands in its field: the grid that is 2**level times smaller than the
// picture, its row and its column.
struct Place {
  int level, row, column;
};

class MotionFields {
 public:
  // Latents that are all 0, on `grids` grids from level `first` on; vectors begin with what is
  // inherited, if anything is.
  MotionFields(int height, int width, int references, int first, int grids,
               const InheritedMotion& inherited = {});

  int first() const { return first_; }
  int coarsest() const { return first_ + grids_ - 1; }
  std::size_t count() const { return fields_.size(); }
  std::size_t references() const { return alpha_ / 2; }
  // Fields 2 r and 2 r + 1 are the vectors to reference r; then these.
  std::size_t alpha() const { return alpha_; }
  std::size_t beta() const { return alpha_ + 1; }

  const Latents& latents() const { return latents_; }
  const Plane<std::int16_t>& grid(std::size_t field, int level) const {
    return latents_[field * static_cast<std::size_t>(grids_) + depth(level)];
  }
  int latent(std::size_t field, const Place& at) const {
    return grid(field, at.level).row(at.row)[at.column];
  }
  Step vector(std::size_t reference, const Place& at) const {
    return {latent(2 * reference, at), latent(2 * reference + 1, at)};
  }
  // Adds to a latent; the values of blocks follow.
  void add(std::size_t field, const Place& at, int change);
  void set_vector(std::size_t reference, const Place& at, Step vector) {
    const Step change = vector - this->vector(reference, at);
    add(2 * reference, at, change.x);
    add(2 * reference + 1, at, change.y);
  }

  // Calls visit(place) for all of a level, row by row.
  template <class Visit>
  void for_places(int level, Visit&& visit) const {
    const auto& grid = this->grid(0, level);
    for (int row = 0; row < grid.height; ++row)
      for (int column = 0; column < grid.width; ++column) visit(Place{level, row, column});
  }

  // Squares that a latent has a say in, and those that lie in its cell.
  Region reach(const Place& at) const;
  Region cell(const Place& at) const;
  // How much it has to say in a square, 0 ... 1.
  float weight(const Place& at, int row, int column) const;

  // What the decoder makes of it, for the four blocks of a square: vectors in 1/64 sample, alpha
  // and beta in 0 ... kBlendOne.
  void values(std::size_t field, int row, int column, std::int32_t (&out)[4]) const;
  void blending(int row, int column, std::int32_t (&alpha)[4], std::int32_t (&beta)[4]) const;
  // The same if a latent were changed.
  void values_after(std::size_t field, const Place& at, int change, int row, int column,
                    std::int32_t (&out)[4]) const;
  // In the middle of a region.
  std::int32_t middle(std::size_t field, const Region& region) const;

 private:
  // How far a cell reaches along one axis, in blocks, and with what weights.
  struct Reach {
    int first;
    std::vector<std::int32_t> weights;

    int end() const { return first + static_cast<int>(weights.size()); }
    std::int32_t weight(int block) const {
      return block < first || block >= end() ? 0 : weights[static_cast<std::size_t>(block - first)];
    }
  };

  static std::vector<Reach> reaches(int size, int level);
  std::size_t depth(int level) const { return static_cast<std::size_t>(level - first_); }
  const Reach& down(const Place& at) const {
    return down_[depth(at.level)][static_cast<std::size_t>(at.row)];
  }
  const Reach& across(const Place& at) const {
    return across_[depth(at.level)][static_cast<std::size_t>(at.column)];
  }
  // What a latent adds in units of the decoder's values, in sixteenths.
  std::int64_t unit(std::size_t field) const { return field == alpha_ ? 2 : 1; }
  std::int32_t rounded(std::size_t field, std::int64_t value) const;
  std::size_t block(int row, int column) const {
    return static_cast<std::size_t>(2 * row) * stride_ + static_cast<std::size_t>(2 * column);
  }

  int height_, width_, first_, grids_;
  std::size_t alpha_;
  std::size_t stride_;  // blocks in a row
  Latents latents_;
  std::vector<std::vector<std::int64_t>> fields_;  // per block, with fractional bits
  std::vector<std::vector<Reach>> down_, across_;  // per level and row or column of its grid
};

}  // namespace vireo::train
