// CRC-32C (Castagnoli): polynomial 0x1EDC6F41, reflected, initial value and
// final exclusive-or 0xFFFFFFFF (RFC 3720, section 12.1).
#pragma once

#include <cstddef>
#include <cstdint>

namespace vireo {

// The checksum of `size` bytes. `previous` is the checksum of the bytes before
// them, so that crc32c(b, crc32c(a)) is the checksum of a followed by b.
std::uint32_t crc32c(const std::uint8_t* bytes, std::size_t size, std::uint32_t previous = 0);

}  // namespace vireo
