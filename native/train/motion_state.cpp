#include "train/motion_state.hpp"

#include <cmath>
#include <cstdlib>

namespace vireo::train {

float bits_of(int latent) {
  static const std::vector<float> table = [] {
    std::vector<float> bits{0.1f};
    for (int q = 1; q <= 2 * kLargestLatent; ++q)
      bits.push_back(4 + 2 * std::log2(static_cast<float>(q)));
    return bits;
  }();
  return table[static_cast<std::size_t>(std::abs(latent))];
}

MotionState::MotionState(const MotionPictures& pictures, int first, int grids)
    : lambda_(pictures.lambda),
      fields_(pictures.height, pictures.width, static_cast<int>(pictures.references.size()), first,
              grids),
      costs_(pictures, fields_) {
  seen_.resize(fields_.count());
  for (std::size_t f = 0; f < fields_.count(); ++f)
    for (int k = first; k <= fields_.coarsest(); ++k)
      seen_[f].emplace_back(fields_.grid(f, k).samples.size(), -1);
}

float MotionState::rate(std::size_t field, const Place& at, int latent) const {
  const float alone = bits_of(latent);
  if (at.level < fields_.coarsest() || (at.row == 0 && at.column == 0)) return alone;
  const auto& grid = fields_.grid(field, at.level);
  const auto neighbour = [&](int dy, int dx) { return grid.row(at.row - dy)[at.column - dx]; };
  int expected;
  if (at.row == 0) {
    expected = neighbour(0, 1);
  } else if (at.column == 0) {
    expected = neighbour(1, 0);
  } else {
    const int left = neighbour(0, 1), above = neighbour(1, 0);
    expected = std::clamp(left + above - neighbour(1, 1), std::min(left, above),
                          std::max(left, above));
  }
  return expected == 0 ? alone : std::min(alone, 1 + bits_of(latent - expected));
}

double MotionState::loss() const {
  double bits = 0;
  for (std::size_t f = 0; f < fields_.count(); ++f)
    for (int k = fields_.first(); k <= fields_.coarsest(); ++k)
      for_places(k, [&](const Place& at) { bits += rate(f, at, fields_.latent(f, at)); });
  return costs_.total() + lambda_ * bits;
}

void MotionState::set_vector(std::size_t reference, const Place& at, Step vector) {
  const Step change = vector - this->vector(reference, at);
  fields_.add(2 * reference, at, change.x);
  fields_.add(2 * reference + 1, at, change.y);
}

}  // namespace vireo::train
