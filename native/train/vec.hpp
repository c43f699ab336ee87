// Vectors of floats as wide as the build's instruction set, and the functions that
// training needs on them. Relative errors are near 1e-7; NaN stays NaN, because the
// trainer's guard against broken steps relies on seeing it in the loss.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#ifndef VIREO_ISA
#define VIREO_ISA baseline
#endif

#define VIREO_INLINE static inline __attribute__((always_inline))
#define VIREO_MEMBER inline __attribute__((always_inline))

namespace vireo::train::VIREO_ISA {

#if defined(__AVX512F__)
constexpr int W = 16;
#elif defined(__AVX2__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif

typedef float Vf __attribute__((vector_size(4 * W)));
typedef std::int32_t Vi __attribute__((vector_size(4 * W)));
typedef std::uint32_t Vu __attribute__((vector_size(4 * W)));
typedef float VfLoose __attribute__((vector_size(4 * W), aligned(4), may_alias));

VIREO_INLINE Vf load(const float* p) { return *reinterpret_cast<const VfLoose*>(p); }
VIREO_INLINE void store(float* p, Vf v) { *reinterpret_cast<VfLoose*>(p) = v; }
VIREO_INLINE Vf splat(float x) { return x - Vf{}; }

VIREO_INLINE Vi iota() {
  Vi v;
  for (int i = 0; i < W; ++i) v[i] = i;
  return v;
}

VIREO_INLINE float sum(Vf v) {
  float total = 0;
  for (int i = 0; i < W; ++i) total += v[i];
  return total;
}

VIREO_INLINE Vf to_float(Vi v) { return __builtin_convertvector(v, Vf); }
VIREO_INLINE Vi to_int(Vf v) { return __builtin_convertvector(v, Vi); }

// The second operand wins when the first is NaN in `largest` and `smallest`.
VIREO_INLINE Vf largest(Vf a, Vf b) { return a > b ? a : b; }
VIREO_INLINE Vf smallest(Vf a, Vf b) { return a < b ? a : b; }
VIREO_INLINE Vf magnitude(Vf v) { return (Vf)((Vi)v & 0x7fffffff); }

VIREO_INLINE Vf root(Vf v) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_ps(0xffff, v);
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(v);
#else
  for (int i = 0; i < W; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

// To the nearest integer, ties to even: adding 1.5 * 2**23 drops the fraction.
VIREO_INLINE Vf nearest(Vf x) {
  const Vf rounded = (x + 12582912.0f) - 12582912.0f;
  return magnitude(x) < 4194304.0f ? rounded : x;
}

VIREO_INLINE Vf floor(Vf x) {
  const Vf r = nearest(x);
  return r > x ? r - 1.0f : r;
}

// 2**x; the polynomial is Cephes' for [-1/2, 1/2].
VIREO_INLINE Vf exp2(Vf x) {
  x = x < -126.0f ? splat(-126.0f) : x;
  x = x > 126.0f ? splat(126.0f) : x;
  const Vf n = (x + 12582912.0f) - 12582912.0f;
  const Vf f = x - n;
  Vf p = splat(1.535336188319500e-4f);
  p = p * f + 1.339887440266574e-3f;
  p = p * f + 9.618437357674640e-3f;
  p = p * f + 5.550332471162809e-2f;
  p = p * f + 2.402264791363012e-1f;
  p = p * f + 6.931472028550421e-1f;
  p = p * f + 1.0f;
  return p * (Vf)((to_int(n) + 127) << 23);
}

// Base-two logarithm of a positive normal number, as the series of 2 artanh((m - 1) / (m + 1)).
VIREO_INLINE Vf log2(Vf x) {
  const Vi bits = (Vi)x;
  const Vi e = (bits - 0x3f3504f3) >> 23;  // so that m lies in sqrt(1/2) ... sqrt(2)
  const Vf m = (Vf)(bits - (e << 23));
  const Vf t = (m - 1.0f) / (m + 1.0f);
  const Vf t2 = t * t;
  Vf p = splat(0.32059889f);
  p = p * t2 + 0.41219858f;
  p = p * t2 + 0.57707802f;
  p = p * t2 + 0.96179669f;
  p = p * t2 + 2.88539008f;
  return (to_float(e) + t * p) + (x - x);  // x - x keeps a NaN
}

// Hyperbolic tangent: the rational minimax approximation that Eigen uses.
VIREO_INLINE Vf tanh(Vf x) {
  x = x < -7.9053111f ? splat(-7.9053111f) : x;
  x = x > 7.9053111f ? splat(7.9053111f) : x;
  const Vf x2 = x * x;
  Vf p = splat(-2.76076847742355e-16f);
  p = p * x2 + 2.00018790482477e-13f;
  p = p * x2 + -8.60467152213735e-11f;
  p = p * x2 + 5.12229709037114e-08f;
  p = p * x2 + 1.48572235717979e-05f;
  p = p * x2 + 6.37261928875436e-04f;
  p = p * x2 + 4.89352455891786e-03f;
  Vf q = splat(1.19825839466702e-06f);
  q = q * x2 + 1.18534705686654e-04f;
  q = q * x2 + 2.26843463243900e-03f;
  q = q * x2 + 4.89352518554385e-03f;
  return x * p / q;
}

// GCC 12 warns about the undefined source of its own unmasked gathers.
VIREO_INLINE Vf gather(const float* table, Vi index) {
#if defined(__AVX512F__)
  return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), 0xffff, (__m512i)index, table, 4);
#elif defined(__AVX2__)
  return _mm256_i32gather_ps(table, (__m256i)index, 4);
#else
  Vf v;
  for (int i = 0; i < W; ++i) v[i] = table[index[i]];
  return v;
#endif
}

VIREO_INLINE Vu gather(const std::uint32_t* table, Vi index) {
#if defined(__AVX512F__)
  return (Vu)_mm512_mask_i32gather_epi32(_mm512_setzero_si512(), 0xffff, (__m512i)index, table,
                                         4);
#elif defined(__AVX2__)
  return (Vu)_mm256_i32gather_epi32(reinterpret_cast<const int*>(table), (__m256i)index, 4);
#else
  Vu v;
  for (int i = 0; i < W; ++i) v[i] = table[index[i]];
  return v;
#endif
}

// 2 W samples of a row, its even columns and its odd ones.
VIREO_INLINE void split(const float* row, Vf& even, Vf& odd) {
  const Vf a = load(row), b = load(row + W);
#if defined(__AVX512F__)
  even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#elif defined(__AVX2__)
  even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
  odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
  even = __builtin_shufflevector(a, b, 0, 2, 4, 6);
  odd = __builtin_shufflevector(a, b, 1, 3, 5, 7);
#endif
}

VIREO_INLINE void join(float* row, Vf even, Vf odd) {
#if defined(__AVX512F__)
  store(row, __builtin_shufflevector(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22,
   7, 23));
  store(row + W, __builtin_shufflevector(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29,
   14, 30, 15, 31));
#elif defined(__AVX2__)
  store(row, __builtin_shufflevector(even, odd, 0, 8, 1, 9, 2, 10, 3, 11));
  store(row + W, __builtin_shufflevector(even, odd, 4, 12, 5, 13, 6, 14, 7, 15));
#else
  store(row, __builtin_shufflevector(even, odd, 0, 4, 1, 5));
  store(row + W, __builtin_shufflevector(even, odd, 2, 6, 3, 7));
#endif
}

VIREO_INLINE void clear(float* p, std::ptrdiff_t n) {
  __builtin_memset(p, 0, static_cast<std::size_t>(n) * sizeof(float));
}

}  // namespace vireo::train::VIREO_ISA
