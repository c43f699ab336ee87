#include "core/crc32c.hpp"

#include <array>

#include "core/kernels.hpp"

namespace vireo {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // 0x1EDC6F41, bits reversed

// Slicing by eight: table[k][b] is the effect of byte b followed by k zero bytes.
constexpr std::array<std::array<std::uint32_t, 256>, 8> make_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> table{};
  for (std::uint32_t b = 0; b < 256; ++b) {
    std::uint32_t r = b;
    for (int bit = 0; bit < 8; ++bit) r = (r >> 1) ^ ((r & 1) ? kPolynomial : 0);
    table[0][b] = r;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::size_t b = 0; b < 256; ++b)
      table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 0xFF];
  return table;
}

constexpr auto kTables = make_tables();

// What kCrcPart zero bytes do to each byte of a checksum.
CrcSkip make_skip() {
  CrcSkip skip;
  for (std::size_t k = 0; k < 4; ++k)
    for (std::uint32_t b = 0; b < 256; ++b) {
      std::uint32_t r = b << (8 * k);
      for (std::size_t i = 0; i < kCrcPart; ++i) r = (r >> 8) ^ kTables[0][r & 0xFF];
      skip.table[k][b] = r;
    }
  return skip;
}

}  // namespace

std::uint32_t crc32c(const std::uint8_t* bytes, std::size_t size, std::uint32_t previous) {
  std::uint32_t r = ~previous;
  if (kernels().crc32c && size >= 3 * kCrcPart) {
    static const CrcSkip skip = make_skip();
    const std::size_t blocks = size / (3 * kCrcPart);
    r = kernels().crc32c(bytes, blocks, r, skip);
    bytes += blocks * 3 * kCrcPart;
    size -= blocks * 3 * kCrcPart;
  }
  for (; size >= 8; size -= 8, bytes += 8) {
    r ^= static_cast<std::uint32_t>(bytes[0]) | static_cast<std::uint32_t>(bytes[1]) << 8 |
         static_cast<std::uint32_t>(bytes[2]) << 16 | static_cast<std::uint32_t>(bytes[3]) << 24;
    r = kTables[7][r & 0xFF] ^ kTables[6][(r >> 8) & 0xFF] ^ kTables[5][(r >> 16) & 0xFF] ^
        kTables[4][r >> 24] ^ kTables[3][bytes[4]] ^ kTables[2][bytes[5]] ^
        kTables[1][bytes[6]] ^ kTables[0][bytes[7]];
  }
  for (; size > 0; --size, ++bytes) r = (r >> 8) ^ kTables[0][(r ^ *bytes) & 0xFF];
  return ~r;
}

}  // namespace vireo
