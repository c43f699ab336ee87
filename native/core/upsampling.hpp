// Grids at the picture's size, a row at a time (docs/bitstream.md, "Upsampling").
#pragma once

#include <cstdint>
#include <vector>

#include "core/coolchic.hpp"
#include "core/kernels.hpp"

namespace vireo {

// A row of values, with kSlack more behind it.
struct DenseRow {
  const std::int16_t* values;
  bool empty;  // all values are known to be 0
};

// One grid on its way through its doublings. Whole planes would not stay in any cache; of
// each size only the few rows are kept that the next one still needs.
class GridUpsampler {
 public:
  // Grid `grid` of a list is `level` times halved and goes to the size of grid `top` of the same
  // list, which begins with luma's.
  GridUpsampler(const UpsamplingKernel& kernel, const Latents& latents, int grid, int level,
                int top, int latent_bits);

  // Row y at the size of `top`. Rows are asked for in order; two stay valid.
  DenseRow row(int y) { return row_of(stages_.size(), y); }
  // Row y at half of it, where it is not the grid's own size. Asked for in order too, two before
  // the four of row() at the same place; until then they stay valid.
  DenseRow half_row(int y) { return row_of(stages_.size() - 1, y); }

 private:
  static constexpr int kOutRows = 4;

  // One doubling. Input row i meets those above it in the output rows 2 i - taps + 1 and
  // 2 i - taps + 2; rows beyond the border are copies of those on it.
  struct Stage {
    int height, width;  // of the input
    int next;           // input row that comes next
    std::vector<std::int32_t> pairs;  // ring: a row's samples with those above
    std::vector<std::uint8_t> empty;  // as `pairs`: nothing but zeros
    std::vector<std::int16_t> out;    // two rows for each of the last kOutRows input rows
    bool above_empty;                 // the last input row
    bool out_empty[kOutRows];
  };

  DenseRow row_of(std::size_t stage, int y);
  DenseRow latent_row(int y);
  void advance(std::size_t stage);
  // The first input row of any stage: 0, or above the border.
  int first_row() const;
  std::size_t pair_stride(const Stage& stage) const;
  std::int32_t* pairs_of(Stage& stage, int i) const;  // at column 0
  std::size_t out_stride(const Stage& stage) const;
  std::int16_t* out_rows(Stage& stage, int i) const;

  const UpsamplingKernel& kernel_;
  const Plane<std::int16_t>& latents_;
  int latent_bits_;
  std::vector<Stage> stages_;        // coarsest first
  std::vector<std::int16_t> latent_rows_[2];
  std::vector<std::int16_t> zeros_;
};

}  // namespace vireo
