// Feature grids of NVRC: numbers under the tables that context models give, in integers
// (docs/bitstream.md, "Contexts").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/symbols.hpp"

namespace vireo {

// A grid `[T, H, W, C]`, the context model of each channel, and the logarithms of the steps of each
// channel's blocks.
struct ContextGrid {
  std::array<std::int32_t, 4> shape;
  std::vector<std::int32_t> models;
  std::vector<std::int32_t> steps;

  std::size_t size() const {
    return std::size_t{1} * shape[0] * shape[1] * shape[2] * shape[3];
  }
};

// `count` models of three layers, `[count, inputs, outputs]` each, an offset's channels one after
// the other, and `[count, 2 * width + 2]` biases. Doubles hold the integers, and all sums of them.
struct ContextModels {
  std::size_t count = 0;
  std::size_t width = 0;
  std::array<std::vector<double>, 3> weights;
  std::vector<double> biases;

  static constexpr std::size_t kFirst = 62, kLater = 63;
  std::size_t inputs(int layer) const { return layer == 0 ? kFirst : kLater * width; }
  std::size_t outputs(int layer) const { return layer == 2 ? 2 : width; }
};

// `powers` are 64 powers of two, 2**(k / 64) in 2**-30.
std::vector<std::uint8_t> encode_grids(const SymbolTables& tables,
                                       const std::vector<ContextGrid>& grids,
                                       const ContextModels& models,
                                       const std::vector<std::int64_t>& powers,
                                       const std::vector<const std::int32_t*>& values);
// One grid after the other.
std::vector<std::vector<std::int32_t>> decode_grids(const SymbolTables& tables,
                                                    const std::vector<ContextGrid>& grids,
                                                    const ContextModels& models,
                                                    const std::vector<std::int64_t>& powers,
                                                    const std::uint8_t* data, std::size_t size);

}  // namespace vireo
