// Doubling rows (docs/bitstream.md, "Upsampling").
#pragma once

#include "core/kernels.hpp"
#include "core/simd.hpp"

namespace vireo {
namespace {

bool scale_row(const std::int16_t* row, int bits, int count, std::int16_t* out) {
  std::int16_t all = 0;
  for (int x = 0; x < count; ++x) {
    all |= row[x];
    out[x] = static_cast<std::int16_t>(row[x] << bits);
  }
  return all != 0;
}

void pair_rows(const std::int16_t* row, const std::int32_t* above, int count,
               std::int32_t* pairs) {
  for (int p = 0; p < count; p += kVector)
    store(pairs + p, pair(widen(row + p), load(above + p)));
}

// A kernel sample v reaches output X from input i where X + taps - 1 = 2 i + v; rows alike.
// Taps is the kernel's, or 0: as many as it says.
template <int Taps>
VIREO_INLINE void upsample(const UpsamplingKernel& kernel, const std::int32_t* const* rows,
                           int width, std::int16_t* upper, std::int16_t* lower) {
  constexpr int V = 2;
  const int taps = Taps ? Taps : kernel.taps;
  const int pairs = (taps + 1) / 2;
  const int shift = kernel.shift;
  const std::int32_t half = shift > 0 ? 1 << (shift - 1) : 0;
  const std::int32_t* weights = kernel.weights.data();
  const int phase = pairs * taps;  // samples of one parity of rows and columns
  for (int p = 0; p < width; p += V * kVector) {
    Vec sum[2][2][V];  // row, column
    for (auto& row : sum)
      for (auto& column : row)
        for (Vec& v : column) v = splat(half);
    for (int j = 0; j < pairs; ++j)
      for (int column = 0; column < 2; ++column)
        for (int k = 0; k < taps; ++k) {
          const std::int32_t* x = rows[j] + p + ((column + taps - 1) >> 1) - k;
          const Vec in[V] = {load(x), load(x + kVector)};
          for (int row = 0; row < 2; ++row) {
            const Vec w = splat(weights[(2 * row + column) * phase + j * taps + k]);
            for (int v = 0; v < V; ++v)
              sum[row][column][v] = multiply_add(sum[row][column][v], in[v], w);
          }
        }
    for (int v = 0; v < V; ++v) {
      const int at = 2 * (p + v * kVector);
      store(upper + at, narrow(sum[0][0][v] >> shift, sum[0][1][v] >> shift));
      store(lower + at, narrow(sum[1][0][v] >> shift, sum[1][1][v] >> shift));
    }
  }
}

void upsample_rows(const UpsamplingKernel& kernel, const std::int32_t* const* rows, int width,
                   std::int16_t* upper, std::int16_t* lower) {
  if (kernel.taps == 4)
    upsample<4>(kernel, rows, width, upper, lower);
  else
    upsample<0>(kernel, rows, width, upper, lower);
}

}  // namespace
}  // namespace vireo
