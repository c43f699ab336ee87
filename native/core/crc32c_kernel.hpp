// CRC-32C by the instruction for it. One takes three cycles, but starts in each: three parts
// of a block run side by side, and are put together as if each had followed the one before.
#pragma once

#include "core/kernels.hpp"
#include "core/simd.hpp"

namespace vireo {
namespace {

#if defined(__SSE4_2__) && defined(__x86_64__)

VIREO_INLINE std::uint64_t crc_step(std::uint64_t state, const std::uint8_t* bytes) {
  std::uint64_t word;
  __builtin_memcpy(&word, bytes, sizeof word);
  return _mm_crc32_u64(state, word);
}

VIREO_INLINE std::uint64_t crc_skip(std::uint64_t state, const CrcSkip& skip) {
  return skip.table[0][state & 0xFF] ^ skip.table[1][state >> 8 & 0xFF] ^
         skip.table[2][state >> 16 & 0xFF] ^ skip.table[3][state >> 24 & 0xFF];
}

std::uint32_t crc32c_blocks(const std::uint8_t* bytes, std::size_t blocks, std::uint32_t state,
                            const CrcSkip& skip) {
  std::uint64_t a = state;
  for (; blocks > 0; --blocks, bytes += 3 * kCrcPart) {
    std::uint64_t b = 0, c = 0;
    for (std::size_t i = 0; i < kCrcPart; i += 8) {
      a = crc_step(a, bytes + i);
      b = crc_step(b, bytes + kCrcPart + i);
      c = crc_step(c, bytes + 2 * kCrcPart + i);
    }
    a = crc_skip(crc_skip(a, skip) ^ b, skip) ^ c;
  }
  return static_cast<std::uint32_t>(a);
}

constexpr auto kCrc32c = crc32c_blocks;

#else

constexpr decltype(Kernels::crc32c) kCrc32c = nullptr;

#endif

}  // namespace
}  // namespace vireo
