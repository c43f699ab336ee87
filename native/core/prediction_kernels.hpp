// Inter prediction block by block (docs/bitstream.md, "Prediction").
#pragma once

#include "core/interpolation_kernels.hpp"

namespace vireo {
namespace {

#if defined(__AVX2__)

// The two, weighted and added up; the weights are a pair.
VIREO_INLINE __m256i blend(__m256i a, __m256i b, std::int32_t weights) {
  const __m256i w = _mm256_set1_epi32(weights), half = _mm256_set1_epi32(1 << (kWeightBits - 1));
  const __m256i low = _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), w);
  const __m256i high = _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), w);
  return _mm256_packs_epi32(_mm256_srai_epi32(_mm256_add_epi32(low, half), kWeightBits),
                            _mm256_srai_epi32(_mm256_add_epi32(high, half), kWeightBits));
}

#else

template <int Side, int Planes>
VIREO_INLINE Samples<Side, Planes> blend(const Samples<Side, Planes>& a,
                                         const Samples<Side, Planes>& b, std::int32_t weights) {
  const std::int32_t first = weights & 0xffff, second = weights >> 16;
  Samples<Side, Planes> result;
  for (int p = 0; p < Planes; ++p)
    for (int i = 0; i < Side; ++i)
      for (int x = 0; x < Side; ++x)
        result.values[p][i][x] = static_cast<std::int16_t>(
            (first * a.values[p][i][x] + second * b.values[p][i][x] + (1 << (kWeightBits - 1))) >>
            kWeightBits);
  return result;
}

#endif

// A block at (x, y) from one reference.
VIREO_INLINE void predict_block(const PlaneView* planes, int x, int y, std::int32_t vx,
                                std::int32_t vy, LumaBlock& luma, ChromaBlock& chroma) {
  std::uint8_t room[3][LumaWindow::rows * LumaWindow::load];
  const Source s = window<LumaWindow>(planes[0], x + (vx >> 6), y + (vy >> 6), room[0]);
  // In chroma samples, half as much: (v + 1) >> 1, for every v.
  const std::int32_t cx = (vx >> 1) + (vx & 1), cy = (vy >> 1) + (vy & 1);
  const int at_x = x / 2 + (cx >> 6), at_y = y / 2 + (cy >> 6);
  const Source u = window<ChromaWindow>(planes[1], at_x, at_y, room[1]);
  const Source v = window<ChromaWindow>(planes[2], at_x, at_y, room[2]);
  constexpr int fraction = kFractions - 1;
  luma = predict_luma(s, vx & fraction, vy & fraction);
  chroma = predict_chroma(u, v, cx & fraction, cy & fraction);
}

void predict_blocks(const BlockRow& row) {
  const int y = row.row * kBlock;
  const std::int32_t* alphas = row.fields[2 * row.references];
  const std::int32_t* betas = row.fields[2 * row.references + 1];
  for (int i = 0; i < row.columns; ++i) {
    const int x = i * kBlock;
    const std::int32_t alpha = alphas[i], beta = row.references == 2 ? betas[i] : kBlendOne;
    const std::int32_t first = alpha * beta, second = alpha * (kBlendOne - beta);
    LumaBlock luma[2] = {};
    ChromaBlock chroma[2] = {};
    if (first)
      predict_block(row.planes[0], x, y, row.fields[0][i], row.fields[1][i], luma[0], chroma[0]);
    if (second)
      predict_block(row.planes[1], x, y, row.fields[2][i], row.fields[3][i], luma[1], chroma[1]);
    const std::int32_t weights = first | (second << 16);
    store_luma(blend(luma[0], luma[1], weights), row.out[0] + x, row.stride);
    store_chroma(blend(chroma[0], chroma[1], weights), row.out[1] + x / 2, row.out[2] + x / 2,
                 row.stride / 2);
  }
}

}  // namespace
}  // namespace vireo
