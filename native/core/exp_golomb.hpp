// Exp-Golomb codes of order 0, for what a table has no room for (docs/bitstream.md).
#pragma once

#include <cstdint>
#include <limits>

#include "core/range_coder.hpp"

namespace vireo {

constexpr int kMaxEscapeBits = 16;

// Of value >= 0: the count of the bits behind the leading one in unary, then those bits.
inline std::uint32_t decode_exp_golomb(RangeDecoder& coder) {
  int count = 0;
  while (count < kMaxEscapeBits && coder.bits(1) == 0) ++count;
  return ((1u << count) | coder.bits(count)) - 1;
}

inline void encode_exp_golomb(RangeEncoder& coder, std::uint32_t value) {
  int count = 0;
  while ((value + 1) >> (count + 1)) ++count;
  for (int i = 0; i < count; ++i) coder.bits(0, 1);
  if (count < kMaxEscapeBits) coder.bits(1, 1);
  coder.bits((value + 1) & ((1u << count) - 1), count);
}

// Infinite where the code has no room: whoever chooses by cost then chooses otherwise.
inline double exp_golomb_bits(std::uint32_t value) {
  int count = 0;
  while ((value + 1) >> (count + 1)) ++count;
  if (count > kMaxEscapeBits) return std::numeric_limits<double>::infinity();
  return 2 * count + (count < kMaxEscapeBits ? 1 : 0);
}

}  // namespace vireo
