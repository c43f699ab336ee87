// Blocks of a picture, sampled between its samples (docs/bitstream.md, "Prediction").
#pragma once

#include "core/interpolation.hpp"
#include "core/kernels.hpp"
#include "core/prediction.hpp"
#include "core/simd.hpp"

namespace vireo {
namespace {

// What a block of `Side` samples needs of its reference, and how.
template <int Side, int Taps>
struct Window {
  static constexpr int before = Taps / 2 - 1;
  static constexpr int rows = Side + Taps - 1;
  static constexpr int load = Side == kBlock ? 16 : 8;  // samples of a row that are loaded
};
using LumaWindow = Window<kBlock, kLumaTaps>;
using ChromaWindow = Window<kBlock / 2, kChromaTaps>;

struct Source {
  const std::uint8_t* p;  // the window's first sample
  std::ptrdiff_t stride;
};

VIREO_INLINE int limit(int v, int low, int high) { return v < low ? low : v > high ? high : v; }

// Where a window at (x, y) lies outside the plane, the border is repeated; it has its own
// function because the blocks inside need the registers.
template <class W>
__attribute__((noinline)) Source border_window(const PlaneView& plane, int x, int y,
                                               std::uint8_t* room) {
  // Further out, nothing changes any more.
  x = limit(x, -W::rows, plane.width);
  y = limit(y, -W::rows, plane.height);
  for (int i = 0; i < W::rows; ++i) {
    const std::uint8_t* row =
        plane.samples + static_cast<std::ptrdiff_t>(limit(y + i, 0, plane.height - 1)) * plane.width;
    for (int j = 0; j < W::rows; ++j) room[i * W::load + j] = row[limit(x + j, 0, plane.width - 1)];
  }
  return {room, W::load};
}

// The window of a block at (x, y), in the plane or in `room`.
template <class W>
VIREO_INLINE Source window(const PlaneView& plane, int x, int y, std::uint8_t* room) {
  x -= W::before;
  y -= W::before;
  if (x >= 0 && y >= 0 && x <= plane.width - W::rows && y <= plane.height - W::rows) {
    // Loads that reach behind the row's end meet the next row, unless there is none.
    const std::uint8_t* p = plane.samples + static_cast<std::ptrdiff_t>(y) * plane.width + x;
    if (y < plane.height - W::rows || x <= plane.width - W::load) return {p, plane.width};
  }
  return border_window<W>(plane, x, y, room);
}

#if defined(__AVX2__)

VIREO_INLINE __m256i two_rows(const Source& s, int first, int second) {
  const auto row = [&](int i) VIREO_LAMBDA {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(s.p + i * s.stride));
  };
  return _mm256_inserti128_si256(_mm256_castsi128_si256(row(first)), row(second), 1);
}

typedef std::int32_t Unaligned __attribute__((aligned(1), may_alias));
VIREO_INLINE __m256i four_taps(const std::int8_t* taps) {
  return _mm256_set1_epi32(*reinterpret_cast<const Unaligned*>(taps));
}

// Pairs of rows that follow each other, from vectors of the rows 4 i, 4 i + 2 | 4 i + 1,
// 4 i + 3 (a lane holds two rows of four samples): 4 i, 4 i + 1 | 4 i + 1, 4 i + 2 and the
// two below.
VIREO_INLINE void pair_up(__m256i rows, __m256i below, __m256i& upper, __m256i& lower) {
  const __m256i next =
      _mm256_permute2x128_si256(rows, _mm256_alignr_epi8(below, rows, 8), 0x21);
  upper = _mm256_unpacklo_epi16(rows, next);
  lower = _mm256_unpackhi_epi16(rows, next);
}

// Four rows of four samples, as the rows 0, 2 | 1, 3.
typedef __m256i LumaBlock;
// Two rows, each of two samples of U and two of V.
typedef __m256i ChromaBlock;

VIREO_INLINE LumaBlock predict_luma(const Source& s, int fx, int fy) {
  const __m256i first = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6));
  const __m256i last = _mm256_add_epi8(first, _mm256_set1_epi8(4));
  const __m256i left = four_taps(kLumaFilters[fx]), right = four_taps(kLumaFilters[fx] + 4);
  const auto across = [&](int row, int other) VIREO_LAMBDA {
    const __m256i rows = two_rows(s, row, other);
    return _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_shuffle_epi8(rows, first), left),
                            _mm256_maddubs_epi16(_mm256_shuffle_epi8(rows, last), right));
  };
  const __m256i a = _mm256_hadd_epi16(across(0, 1), across(2, 3));
  const __m256i b = _mm256_hadd_epi16(across(4, 5), across(6, 7));
  const __m256i c = _mm256_hadd_epi16(across(8, 9), across(10, 10));
  __m256i rows[6];
  pair_up(a, b, rows[0], rows[1]);
  pair_up(b, c, rows[2], rows[3]);
  pair_up(c, c, rows[4], rows[5]);
  const __m256i taps = _mm256_broadcastsi128_si256(_mm_cvtepi8_epi16(
      _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kLumaFilters[fy]))));
  const __m256i down[4] = {_mm256_shuffle_epi32(taps, 0x00), _mm256_shuffle_epi32(taps, 0x55),
                           _mm256_shuffle_epi32(taps, 0xaa), _mm256_shuffle_epi32(taps, 0xff)};
  __m256i sums[2];
  for (int i = 0; i < 2; ++i) {
    sums[i] = _mm256_set1_epi32(kFractions / 2);
    for (int t = 0; t < 4; ++t)
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(rows[i + t], down[t]));
    sums[i] = _mm256_srai_epi32(sums[i], 6);
  }
  return _mm256_packs_epi32(sums[0], sums[1]);
}

VIREO_INLINE ChromaBlock predict_chroma(const Source& u, const Source& v, int fx, int fy) {
  const auto row = [&](int i) VIREO_LAMBDA {
    return _mm_unpacklo_epi64(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(u.p + i * u.stride)),
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(v.p + i * v.stride)));
  };
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 2, 3, 1, 2, 3, 4, 8, 9, 10, 11, 9, 10, 11, 12));
  const __m256i taps = four_taps(kChromaFilters[fx]);
  const auto across = [&](int i, int other) VIREO_LAMBDA {
    const __m256i rows = _mm256_inserti128_si256(_mm256_castsi128_si256(row(i)), row(other), 1);
    return _mm256_maddubs_epi16(_mm256_shuffle_epi8(rows, order), taps);
  };
  const __m256i a = _mm256_hadd_epi16(across(0, 1), across(2, 3));
  const __m256i last = across(4, 4);
  const __m256i b = _mm256_hadd_epi16(last, last);
  __m256i upper, lower;
  pair_up(a, b, upper, lower);
  const __m256i down = _mm256_broadcastsi128_si256(
      _mm_cvtepi8_epi16(_mm_cvtsi32_si128(*reinterpret_cast<const Unaligned*>(kChromaFilters[fy]))));
  const __m256i sum = _mm256_add_epi32(
      _mm256_set1_epi32(kFractions / 2),
      _mm256_add_epi32(_mm256_madd_epi16(upper, _mm256_shuffle_epi32(down, 0x00)),
                       _mm256_madd_epi16(lower, _mm256_shuffle_epi32(down, 0x55))));
  const __m256i samples = _mm256_srai_epi32(sum, 6);
  return _mm256_packs_epi32(samples, samples);
}

VIREO_INLINE void store_luma(LumaBlock b, std::int16_t* y, std::size_t stride) {
  const __m128i even = _mm256_castsi256_si128(b), odd = _mm256_extracti128_si256(b, 1);
  const auto row = [&](std::size_t i) VIREO_LAMBDA {
    return reinterpret_cast<__m128i*>(y + i * stride);
  };
  _mm_storel_epi64(row(0), even);
  _mm_storel_epi64(row(1), odd);
  _mm_storel_epi64(row(2), _mm_unpackhi_epi64(even, even));
  _mm_storel_epi64(row(3), _mm_unpackhi_epi64(odd, odd));
}

VIREO_INLINE void store_chroma(ChromaBlock b, std::int16_t* u, std::int16_t* v,
                               std::size_t stride) {
  const __m128i rows[2] = {_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1)};
  for (int i = 0; i < 2; ++i, u += stride, v += stride) {
    *reinterpret_cast<Unaligned*>(u) = _mm_cvtsi128_si32(rows[i]);
    *reinterpret_cast<Unaligned*>(v) = _mm_extract_epi32(rows[i], 1);
  }
}

#else

template <int Side, int Planes>
struct Samples {
  std::int16_t values[Planes][Side][Side];
};
using LumaBlock = Samples<kBlock, 1>;
using ChromaBlock = Samples<kBlock / 2, 2>;

template <int Side, int Taps>
VIREO_INLINE void filter(const Source& s, const std::int8_t* across, const std::int8_t* down,
                         std::int16_t (*out)[Side]) {
  constexpr int rows = Side + Taps - 1;
  std::int16_t middle[rows][Side];
  for (int i = 0; i < rows; ++i)
    for (int x = 0; x < Side; ++x) {
      std::int32_t sum = 0;
      for (int t = 0; t < Taps; ++t) sum += across[t] * s.p[i * s.stride + x + t];
      middle[i][x] = static_cast<std::int16_t>(sum);
    }
  for (int i = 0; i < Side; ++i)
    for (int x = 0; x < Side; ++x) {
      std::int32_t sum = kFractions / 2;
      for (int t = 0; t < Taps; ++t) sum += down[t] * middle[i + t][x];
      out[i][x] = static_cast<std::int16_t>(limit(sum >> 6, -32768, 32767));
    }
}

VIREO_INLINE LumaBlock predict_luma(const Source& s, int fx, int fy) {
  LumaBlock block;
  filter<kBlock, kLumaTaps>(s, kLumaFilters[fx], kLumaFilters[fy], block.values[0]);
  return block;
}

VIREO_INLINE ChromaBlock predict_chroma(const Source& u, const Source& v, int fx, int fy) {
  ChromaBlock block;
  filter<kBlock / 2, kChromaTaps>(u, kChromaFilters[fx], kChromaFilters[fy], block.values[0]);
  filter<kBlock / 2, kChromaTaps>(v, kChromaFilters[fx], kChromaFilters[fy], block.values[1]);
  return block;
}

template <int Side>
VIREO_INLINE void store_square(const std::int16_t (*values)[Side], std::int16_t* out,
                               std::size_t stride) {
  for (int i = 0; i < Side; ++i, out += stride)
    for (int x = 0; x < Side; ++x) out[x] = values[i][x];
}
VIREO_INLINE void store_luma(const LumaBlock& b, std::int16_t* y, std::size_t stride) {
  store_square(b.values[0], y, stride);
}
VIREO_INLINE void store_chroma(const ChromaBlock& b, std::int16_t* u, std::int16_t* v,
                               std::size_t stride) {
  store_square(b.values[0], u, stride);
  store_square(b.values[1], v, stride);
}

#endif

// Luma of a block at (x, y) from one reference.
VIREO_INLINE LumaBlock predict_luma_block(const PlaneView& plane, int x, int y, std::int32_t vx,
                                          std::int32_t vy) {
  std::uint8_t room[LumaWindow::rows * LumaWindow::load];
  const Source s = window<LumaWindow>(plane, x + (vx >> 6), y + (vy >> 6), room);
  constexpr int fraction = kFractions - 1;
  return predict_luma(s, vx & fraction, vy & fraction);
}

// A block at (x, y) from one reference.
VIREO_INLINE void predict_block(const PlaneView* planes, int x, int y, std::int32_t vx,
                                std::int32_t vy, LumaBlock& luma, ChromaBlock& chroma) {
  std::uint8_t room[2][LumaWindow::rows * LumaWindow::load];
  // In chroma samples, half as much: (v + 1) >> 1, for every v.
  const std::int32_t cx = (vx >> 1) + (vx & 1), cy = (vy >> 1) + (vy & 1);
  const int at_x = x / 2 + (cx >> 6), at_y = y / 2 + (cy >> 6);
  const Source u = window<ChromaWindow>(planes[1], at_x, at_y, room[0]);
  const Source v = window<ChromaWindow>(planes[2], at_x, at_y, room[1]);
  constexpr int fraction = kFractions - 1;
  luma = predict_luma_block(planes[0], x, y, vx, vy);
  chroma = predict_chroma(u, v, cx & fraction, cy & fraction);
}

}  // namespace
}  // namespace vireo
