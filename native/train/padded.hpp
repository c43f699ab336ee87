// A plane with its border repeated, so that blocks near it need no care.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/coolchic.hpp"

namespace vireo::train {

struct Padded {
  int border;
  int height, width;  // of what is inside
  Plane<std::uint8_t> plane;

  explicit Padded(const PlaneView& in, int samples = 64)
      : border(samples),
        height(in.height),
        width(in.width),
        plane(in.height + 2 * border, in.width + 2 * border) {
    for (int y = 0; y < plane.height; ++y) {
      const std::uint8_t* from =
          in.samples + static_cast<std::ptrdiff_t>(std::clamp(y - border, 0, height - 1)) * width;
      std::uint8_t* to = plane.row(y);
      std::fill_n(to, border, from[0]);
      std::copy_n(from, width, to + border);
      std::fill_n(to + border + width, border, from[width - 1]);
    }
  }

  // With the border.
  PlaneView view() const { return {plane.samples.data(), plane.height, plane.width}; }
  std::ptrdiff_t stride() const { return plane.width; }
  const std::uint8_t* at(int y, int x) const { return plane.row(y + border) + x + border; }
};

}  // namespace vireo::train
