// Compiled once per instruction set, with VIREO_ISA naming the build.
#include "train/motion_kernels.hpp"

#include <cmath>

#include "core/interpolation_kernels.hpp"

// Every function that takes a vector is inlined: what calling one would mean is no matter.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace vireo::train {
namespace {

typedef float Row __attribute__((vector_size(4 * kSquare)));
typedef std::int32_t RowOfInts __attribute__((vector_size(4 * kSquare)));

VIREO_INLINE Row splat_row(float x) { return x - Row{}; }

#if defined(__AVX2__)
VIREO_INLINE RowOfInts widen_row(const std::int16_t* p) {
  return (RowOfInts)_mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
VIREO_INLINE Row to_floats(RowOfInts v) { return (Row)_mm256_cvtepi32_ps((__m256i)v); }
VIREO_INLINE RowOfInts weighted(RowOfInts first, RowOfInts second, RowOfInts weights) {
  const __m256i pairs = _mm256_blend_epi16((__m256i)first, (__m256i)(second << 16), 0xaa);
  return (RowOfInts)_mm256_madd_epi16(pairs, (__m256i)weights);
}
VIREO_INLINE void transpose(Row (&r)[kSquare]) {
  Row a[kSquare], b[kSquare];
  for (int i = 0; i < 8; i += 2) {
    a[i] = (Row)_mm256_unpacklo_ps((__m256)r[i], (__m256)r[i + 1]);
    a[i + 1] = (Row)_mm256_unpackhi_ps((__m256)r[i], (__m256)r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; ++j) {
      b[i + 2 * j] = (Row)_mm256_shuffle_ps((__m256)a[i + j], (__m256)a[i + j + 2], 0x44);
      b[i + 2 * j + 1] = (Row)_mm256_shuffle_ps((__m256)a[i + j], (__m256)a[i + j + 2], 0xee);
    }
  for (int i = 0; i < 4; ++i) {
    r[i] = (Row)_mm256_permute2f128_ps((__m256)b[i], (__m256)b[i + 4], 0x20);
    r[i + 4] = (Row)_mm256_permute2f128_ps((__m256)b[i], (__m256)b[i + 4], 0x31);
  }
}
// Of the left four columns and the right four.
VIREO_INLINE void transpose_halves(Row (&r)[kBlock]) {
  Row a[kBlock];
  for (int i = 0; i < 4; i += 2) {
    a[i] = (Row)_mm256_unpacklo_ps((__m256)r[i], (__m256)r[i + 1]);
    a[i + 1] = (Row)_mm256_unpackhi_ps((__m256)r[i], (__m256)r[i + 1]);
  }
  for (int j = 0; j < 2; ++j) {
    r[2 * j] = (Row)_mm256_shuffle_ps((__m256)a[j], (__m256)a[j + 2], 0x44);
    r[2 * j + 1] = (Row)_mm256_shuffle_ps((__m256)a[j], (__m256)a[j + 2], 0xee);
  }
}
#else
VIREO_INLINE RowOfInts widen_row(const std::int16_t* p) {
  return RowOfInts{p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]};
}
VIREO_INLINE Row to_floats(RowOfInts v) { return __builtin_convertvector(v, Row); }
VIREO_INLINE RowOfInts weighted(const RowOfInts& first, const RowOfInts& second,
                                const RowOfInts& weights) {
  return first * (weights & 0xffff) + second * (weights >> 16);
}
VIREO_INLINE void transpose(Row (&r)[kSquare]) {
  Row t[kSquare];
  for (int i = 0; i < kSquare; ++i)
    for (int j = 0; j < kSquare; ++j) t[i][j] = r[j][i];
  for (int i = 0; i < kSquare; ++i) r[i] = t[i];
}
VIREO_INLINE void transpose_halves(Row (&r)[kBlock]) {
  Row t[kBlock];
  for (int i = 0; i < kBlock; ++i)
    for (int j = 0; j < kBlock; ++j) {
      t[j][i] = r[i][j];
      t[j][i + kBlock] = r[i][j + kBlock];
    }
  for (int i = 0; i < kBlock; ++i) r[i] = t[i];
}
#endif

// What a weighted sum lacks, and the half that rounds it.
VIREO_INLINE RowOfInts grey(const RowOfInts& weights) {
  return ((1 << kWeightBits) - (weights & 0xffff) - (weights >> 16)) * kGrey +
         (1 << (kWeightBits - 1));
}

// Down the columns: DCT-II, orthonormal.
VIREO_INLINE void transform(Row (&r)[kSquare]) {
  constexpr float c1 = 0.49039264f, c2 = 0.46193977f, c3 = 0.41573481f, c4 = 0.35355339f,
                  c5 = 0.27778512f, c6 = 0.19134172f, c7 = 0.09754516f;
  Row s[4], d[4];
  for (int i = 0; i < 4; ++i) {
    s[i] = r[i] + r[7 - i];
    d[i] = r[i] - r[7 - i];
  }
  const Row a = s[0] + s[3], b = s[1] + s[2], c = s[0] - s[3], e = s[1] - s[2];
  r[0] = (a + b) * c4;
  r[4] = (a - b) * c4;
  r[2] = c * c2 + e * c6;
  r[6] = c * c6 - e * c2;
  r[1] = d[0] * c1 + d[1] * c3 + d[2] * c5 + d[3] * c7;
  r[3] = d[0] * c3 - d[1] * c7 - d[2] * c1 - d[3] * c5;
  r[5] = d[0] * c5 - d[1] * c1 + d[2] * c7 + d[3] * c3;
  r[7] = d[0] * c7 - d[1] * c5 + d[2] * c3 - d[3] * c1;
}

VIREO_INLINE Row root(Row x) {
  for (int i = 0; i < kSquare; ++i) x[i] = std::sqrt(x[i]);
  return x;
}

// Down the columns of a block of U and one of V, side by side.
VIREO_INLINE void transform_chroma(Row (&r)[kBlock]) {
  constexpr float c1 = 0.65328148f, c3 = 0.27059805f;
  const Row a = r[0] + r[3], b = r[1] + r[2], c = r[0] - r[3], d = r[1] - r[2];
  r[0] = (a + b) * 0.5f;
  r[2] = (a - b) * 0.5f;
  r[1] = c * c1 + d * c3;
  r[3] = c * c3 - d * c1;
}

// The logarithm to base 2, straight between powers of two.
VIREO_INLINE Row log2_of(const Row& x) {
  return to_floats((RowOfInts)x) * (1.0f / (1 << 23)) - 127.0f;
}

// Curves of a row's coefficients: beyond the edge, `base` + `slope` log2(c).
struct RowOfCurves {
  Row edge, base, slope;

  void set(int column, const Curve& curve) {
    edge[column] = curve.edge;
    slope[column] = curve.slope;
    base[column] = curve.edge * curve.edge - curve.slope * log2_of(splat_row(curve.edge))[0];
  }
};

struct Curves {
  RowOfCurves luma[kSquare], chroma;

  Curves() {
    for (int column = 0; column < kSquare; ++column) {
      for (int row = 0; row < kSquare; ++row) luma[row].set(column, luma_detail(row + column));
      chroma.set(column, kChromaDetail);
    }
  }
};

VIREO_INLINE Row measured_cost(const Row& size, const RowOfCurves& curves) {
  const Row beyond = curves.base + curves.slope * log2_of(size);
  return size < curves.edge ? size * size : beyond;
}

Residual residual(const std::int16_t* target, const std::int16_t* first,
                  const std::int16_t* second, const std::int32_t* weights, int rows, int columns,
                  const CoefficientPrice& price) {
  constexpr float unit = 1.0f / (kFractions * 255);
  const auto left_over = [&](int row, const RowOfInts& w) VIREO_LAMBDA {
    const int at = row * kSquare;
    const RowOfInts sum = weighted(widen_row(first + at), widen_row(second + at), w);
    const RowOfInts prediction = (sum + grey(w)) >> kWeightBits;
    return to_floats(widen_row(target + at) - prediction) * unit;
  };
  Row r[kSquare], chroma[kBlock];
  for (int half = 0; half < 2; ++half) {
    const std::int32_t a = weights[2 * half], b = weights[2 * half + 1];
    for (int i = 4 * half; i < 4 * half + 4; ++i) r[i] = left_over(i, RowOfInts{a, a, a, a, b, b, b, b});
    for (int i = 2 * half; i < 2 * half + 2; ++i)
      chroma[i] = left_over(kSquare + i, RowOfInts{a, a, b, b, a, a, b, b});
  }
  if (rows < kSquare || columns < kSquare) {
    for (int i = 0; i < kSquare; ++i)
      for (int j = 0; j < kSquare; ++j)
        if (i >= rows || j >= columns) r[i][j] = 0;
    for (int i = 0; i < kBlock; ++i)
      for (int j = 0; j < kSquare; ++j)
        if (2 * i >= rows || 2 * (j % kBlock) >= columns) chroma[i][j] = 0;
  }
  transform(r);
  transpose(r);
  transform(r);
  transform_chroma(chroma);
  transpose_halves(chroma);
  transform_chroma(chroma);
  Residual result{0, {r[0][0], chroma[0][0], chroma[0][kBlock]}};
  r[0][0] = chroma[0][0] = chroma[0][kBlock] = 0;
  const auto size = [](const Row& c) VIREO_LAMBDA { return c < 0.0f ? -c : c; };
  Row total{};
  if (price.guides) {
    const Row least = splat_row(std::sqrt(price.floor)), share = splat_row(price.size_share);
    const auto add = [&](const Row& c) VIREO_LAMBDA {
      const Row by_root = 4.0f * root(least * size(c)) - 3.0f * least;
      const Row by_size = 2.0f * size(c) - least;
      total += size(c) < least ? c * c : least * (by_root + share * (by_size - by_root));
    };
    for (const Row& c : r) add(c);
    for (const Row& c : chroma) add(c);
  } else {
    static const Curves curves;  // here: at start-up a machine might not have these instructions
    const Row scale = splat_row(1 / std::sqrt(price.lambda));
    for (int i = 0; i < kSquare; ++i) total += measured_cost(size(r[i]) * scale, curves.luma[i]);
    for (const Row& c : chroma) total += measured_cost(size(c) * scale, curves.chroma);
    total *= price.lambda;
  }
  for (int j = 0; j < kSquare; ++j) result.detail += total[j];
  return result;
}

VIREO_INLINE float sum_of(const Row& r) {
  return ((r[0] + r[4]) + (r[2] + r[6])) + ((r[1] + r[5]) + (r[3] + r[7]));
}

Slopes slopes(const std::int16_t* target, const std::int16_t* first, const std::int16_t* second,
              const std::int32_t* weights, bool of_second) {
  constexpr float unit = 1.0f / (kFractions * 255);
  const std::int16_t* moved = of_second ? second : first;
  // Central differences, of the samples that have neighbours within the square.
  const RowOfInts inner = {0, -1, -1, -1, -1, -1, -1, 0};
  Row xx{}, xy{}, yy{}, xr{}, yr{}, energy{};
  for (int i = 1; i < kSquare - 1; ++i) {
    const std::int32_t left = weights[i / 4 * 2], right = weights[i / 4 * 2 + 1];
    const RowOfInts w = {left, left, left, left, right, right, right, right};
    const RowOfInts share = of_second ? w >> 16 : w & 0xffff;
    const RowOfInts sum =
        weighted(widen_row(first + i * kSquare), widen_row(second + i * kSquare), w) + grey(w);
    const std::int16_t* p = moved + i * kSquare;
    const Row r = to_floats((widen_row(target + i * kSquare) - (sum >> kWeightBits)) & inner) * unit;
    const Row scale = to_floats(share & inner) * (unit * 0.5f / (1 << kWeightBits));
    const Row x = to_floats(widen_row(p + 1) - widen_row(p - 1)) * scale;
    const Row y = to_floats(widen_row(p + kSquare) - widen_row(p - kSquare)) * scale;
    xx += x * x;
    xy += x * y;
    yy += y * y;
    xr += x * r;
    yr += y * r;
    energy += r * r;
  }
  constexpr float share = static_cast<float>(kSquareLuma) / 36;  // of the samples that count
  return {share * sum_of(xx), share * sum_of(xy), share * sum_of(yy),
          share * sum_of(xr), share * sum_of(yr), share * sum_of(energy)};
}

void predict(const PlaneView* planes, int x, int y, const std::int32_t* vx,
             const std::int32_t* vy, std::int16_t* out) {
  for (int b = 0; b < 4; ++b) {
    const int dx = (b & 1) * kBlock, dy = (b >> 1) * kBlock;
    LumaBlock luma;
    ChromaBlock chroma;
    predict_block(planes, x + dx, y + dy, vx[b], vy[b], luma, chroma);
    store_luma(luma, out + dy * kSquare + dx, kSquare);
    std::int16_t* u = out + kSquareLuma + dy / 2 * kSquare + dx / 2;
    store_chroma(chroma, u, u + kBlock, kSquare);
  }
}

int difference(const std::uint8_t* a, std::ptrdiff_t a_stride, const std::uint8_t* b,
               std::ptrdiff_t b_stride) {
  int sum = 0;
#if defined(__SSE2__)
  __m128i total = _mm_setzero_si128();
  for (int i = 0; i < kSquare; ++i, a += a_stride, b += b_stride)
    total = _mm_add_epi64(total,
                          _mm_sad_epu8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(a)),
                                       _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b))));
  sum = _mm_cvtsi128_si32(total);
#else
  for (int i = 0; i < kSquare; ++i, a += a_stride, b += b_stride)
    for (int j = 0; j < kSquare; ++j) sum += a[j] > b[j] ? a[j] - b[j] : b[j] - a[j];
#endif
  return sum;
}

}  // namespace

namespace VIREO_ISA {
extern const MotionKernels motion_kernels;
const MotionKernels motion_kernels{predict, residual, slopes, difference};
}  // namespace VIREO_ISA

}  // namespace vireo::train
