// A synthesis, run on pieces of rows (docs/bitstream.md, "Synthesis").
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/coolchic.hpp"
#include "core/kernels.hpp"
#include "core/upsampling.hpp"

namespace vireo {

// A synthesis' accumulators for pieces of rows, [output][kChunk].
class Synthesis {
 public:
  Synthesis(const QuantisedMlp& mlp, int latent_bits)
      : mlp_(mlp, latent_bits),
        still_(static_cast<std::size_t>(mlp_.layers.back().outputs) * kChunk) {
    const std::int16_t zeros[kChunk] = {};
    const std::vector<const std::int16_t*> inputs(grids(), zeros);
    kernels().synthesise(mlp_, inputs.data(), kChunk, still_.data());
    for (auto& sums : sums_) sums.resize(still_.size());
  }

  std::size_t grids() const { return static_cast<std::size_t>(mlp_.layers.front().inputs); }
  int bits() const { return mlp_.accumulator_bits; }

  // Of `count` samples from column x on; `row` is 0 or 1 and tells whose sums are replaced.
  const std::int32_t* run(int row, const std::vector<DenseRow>& values, int x, int count) {
    if (std::all_of(values.begin(), values.end(), [](const DenseRow& v) { return v.empty; }))
      return still_.data();
    inputs_.resize(values.size());
    for (std::size_t k = 0; k < values.size(); ++k) inputs_[k] = values[k].values + x;
    kernels().synthesise(mlp_, inputs_.data(), count, sums_[row].data());
    return sums_[row].data();
  }

 private:
  IntegerMlp mlp_;
  std::vector<std::int32_t> still_;  // of inputs that are all 0
  std::vector<std::int32_t> sums_[2];
  std::vector<const std::int16_t*> inputs_;
};

}  // namespace vireo
