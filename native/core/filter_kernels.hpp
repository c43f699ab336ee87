// Rows of the loop filter (docs/bitstream.md, "Loop filter").
#pragma once

#include <cstdint>

#include "core/kernels.hpp"
#include "core/loop_filter.hpp"
#include "core/simd.hpp"

namespace vireo {
namespace {

template <int Limits>
VIREO_INLINE void filter_row_with(const FilterWeights& weights, const FilterRows& rows, int count,
                                  std::uint8_t* out) {
  const FilterShape& shape = *weights.shape;
  const std::uint8_t* const* row = rows.at + kFilterReach;
  for (int x = 0; x < count; x += kVector) {
    const Vec centre = widen(row[0] + x);
    const Vec both = centre | centre << 16;
    Vec sum = splat(1 << (kFilterBits - 1));
    const std::int32_t* w = weights.pairs;
    for (int t = 0; t < shape.taps; ++t) {
      const Offset place = shape.places[t];
      const Vec around = widen(row[place.dy] + x + place.dx) |
                         widen(row[-place.dy] + x - place.dx) << 16;
      const Vec difference = subtract_pairs(around, both);
      sum = multiply_add(sum, difference, splat(*w++));
      for (int l = 1; l < Limits; ++l)
        sum = multiply_add(sum, clamp_pairs(difference, shape.limit[l]), splat(*w++));
    }
    store_bytes(out + x, clamp(centre + (sum >> kFilterBits), 0, 255));
  }
}

// Samples moved by what their differences from those around weigh; the first limit is none.
void filter_row(const FilterWeights& weights, const FilterRows& rows, int count,
                std::uint8_t* out) {
  if (weights.shape->limits == 3)
    filter_row_with<3>(weights, rows, count, out);
  else
    filter_row_with<2>(weights, rows, count, out);
}

}  // namespace
}  // namespace vireo
