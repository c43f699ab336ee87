// Inter prediction block by block (docs/bitstream.md, "Prediction").
#pragma once

#include "core/interpolation_kernels.hpp"

namespace vireo {
namespace {

#if defined(__AVX2__)

// The two and grey, weighted and added up; the weights are a pair.
VIREO_INLINE __m256i blend(__m256i a, __m256i b, std::int32_t weights) {
  const __m256i w = _mm256_set1_epi32(weights), rest = _mm256_set1_epi32(grey_and_half(weights));
  const __m256i low = _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), w);
  const __m256i high = _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), w);
  return _mm256_packs_epi32(_mm256_srai_epi32(_mm256_add_epi32(low, rest), kWeightBits),
                            _mm256_srai_epi32(_mm256_add_epi32(high, rest), kWeightBits));
}

#else

template <int Side, int Planes>
VIREO_INLINE Samples<Side, Planes> blend(const Samples<Side, Planes>& a,
                                         const Samples<Side, Planes>& b, std::int32_t weights) {
  const std::int32_t first = weights & 0xffff, second = weights >> 16;
  const std::int32_t rest = grey_and_half(weights);
  Samples<Side, Planes> result;
  for (int p = 0; p < Planes; ++p)
    for (int i = 0; i < Side; ++i)
      for (int x = 0; x < Side; ++x)
        result.values[p][i][x] = static_cast<std::int16_t>(
            (first * a.values[p][i][x] + second * b.values[p][i][x] + rest) >>
            kWeightBits);
  return result;
}

#endif

// The references' weights in a block, as a pair.
VIREO_INLINE std::int32_t weights_of(const BlockRow& row, int i) {
  const std::int32_t* const* blending = row.fields + 2 * row.references;
  const std::int32_t alpha = blending[0][i];
  const std::int32_t beta = row.references == 2 ? blending[1][i] : kBlendOne;
  return alpha * beta | (alpha * (kBlendOne - beta)) << 16;
}

void predict_blocks(const BlockRow& row) {
  const int y = row.row * kBlock;
  for (int i = 0; i < row.columns; ++i) {
    const int x = i * kBlock;
    const std::int32_t weights = weights_of(row, i);
    LumaBlock luma[2] = {};
    ChromaBlock chroma[2] = {};
    if (weights & 0xffff)
      predict_block(row.planes[0], x, y, row.fields[0][i], row.fields[1][i], luma[0], chroma[0]);
    if (weights >> 16)
      predict_block(row.planes[1], x, y, row.fields[2][i], row.fields[3][i], luma[1], chroma[1]);
    store_luma(blend(luma[0], luma[1], weights), row.out[0] + x, row.stride);
    store_chroma(blend(chroma[0], chroma[1], weights), row.out[1] + x / 2, row.out[2] + x / 2,
                 row.stride / 2);
  }
}

void predict_luma_blocks(const BlockRow& row) {
  const int y = row.row * kBlock;
  for (int i = 0; i < row.columns; ++i) {
    const int x = i * kBlock;
    LumaBlock luma[2] = {};
    for (int r = 0; r < row.references; ++r) {
      luma[r] = predict_luma_block(row.planes[r][0], x, y, row.fields[2 * r][i],
                                   row.fields[2 * r + 1][i]);
      store_luma(luma[r], row.single[r] + x, row.stride);
    }
    store_luma(blend(luma[0], luma[1], weights_of(row, i)), row.out[0] + x, row.stride);
  }
}

}  // namespace
}  // namespace vireo
