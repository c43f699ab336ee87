// Rows of temporal contexts' features (docs/bitstream.md, "Temporal contexts").
#pragma once

#include <cstdint>
#include <cstring>

#include "core/simd.hpp"
#include "core/temporal_context.hpp"

namespace vireo {
namespace {

// A row of the mean of 3x3 samples with weights 1, 2, 1 either way; rows have a sample of border
// at either end.
void blur_row(const std::int16_t* above, const std::int16_t* row, const std::int16_t* below,
              int count, std::int16_t* out) {
  for (int x = 0; x < count; ++x) {
    const auto column = [&](int i) { return above[i] + 2 * row[i] + below[i]; };
    out[x] = static_cast<std::int16_t>((column(x - 1) + 2 * column(x) + column(x + 1) + 8) >> 4);
  }
}

// |row - other|, or |row| without another.
void magnitude_row(const std::int16_t* row, const std::int16_t* other, int count,
                   std::int16_t* out) {
  for (int x = 0; x < count; ++x) {
    const int value = other ? row[x] - other[x] : row[x];
    out[x] = static_cast<std::int16_t>(value < 0 ? -value : value);
  }
}

// Eight times the logarithm to base 2 of 1 + x / 8, linear between powers of 2, of x >= 0: the
// exponent and the first bits of x + 8 as a float.
void logarithm_row(const std::int16_t* row, int count, std::int16_t* out) {
  for (int x = 0; x < count; ++x) {
    const float value = static_cast<float>(row[x] + 8);
    std::int32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    out[x] = static_cast<std::int16_t>((bits >> 20) - 8 * (127 + 3));
  }
}

// What the network's accumulators with `bits` fractional bits say.
void temporal_row(const std::int32_t* sums, int bits, int count, std::int16_t* out) {
  const std::int32_t half = 1 << (bits - 1);
  for (int x = 0; x < count; ++x) {
    const std::int32_t value = (sums[x] + half) >> bits;
    const std::int32_t positive = value < 0 ? 0 : value;
    out[x] = static_cast<std::int16_t>(positive > kMostTemporal ? kMostTemporal : positive);
  }
}

}  // namespace
}  // namespace vireo
