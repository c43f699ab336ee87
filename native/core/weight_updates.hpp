// What changes of a network's weights, tensor by tensor (docs/bitstream.md, "Updates of
// weights"): most of them don't, and that costs next to nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/symbols.hpp"

namespace vireo {

// `sizes`: of the tensors, whose values follow each other. A tensor has a bit that says whether
// anything changes; a value of one that changes has a bit that says whether it does, and then
// itself, under `table`. Bits are adaptive, those of values anew in each tensor.
std::vector<std::uint8_t> encode_updates(const SymbolTable& table, const std::int16_t* values,
                                         const std::vector<std::size_t>& sizes);
void decode_updates(const SymbolTable& table, const std::uint8_t* data, std::size_t size,
                    std::int16_t* values, const std::vector<std::size_t>& sizes);

}  // namespace vireo
