// Vectors of 32-bit integers as wide as the build's instruction set, for the kernels. All
// of it is arithmetic modulo 2**32, so a wider vector changes no result.
//
// The unit of work is a lane that holds a pair of 16-bit integers, the first one in the
// low half: one instruction multiplies two pairs and adds the products. Its sum is exact
// modulo 2**32 for all operands, so what wraps around does so as the format says.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define VIREO_INLINE inline __attribute__((always_inline))
#define VIREO_LAMBDA __attribute__((always_inline))

namespace vireo {
namespace {

#if defined(__AVX512BW__)
constexpr int kVector = 16;
#elif defined(__AVX2__)
constexpr int kVector = 8;
#else
constexpr int kVector = 4;
#endif

typedef std::int32_t Vec __attribute__((vector_size(4 * kVector)));
typedef std::int32_t VecLoose __attribute__((vector_size(4 * kVector), aligned(4), may_alias));

VIREO_INLINE Vec splat(std::int32_t x) { return x - Vec{}; }
VIREO_INLINE Vec load(const std::int32_t* p) { return *reinterpret_cast<const VecLoose*>(p); }
VIREO_INLINE void store(std::int32_t* p, Vec v) { *reinterpret_cast<VecLoose*>(p) = v; }
VIREO_INLINE void store(std::int16_t* p, Vec pairs) { *reinterpret_cast<VecLoose*>(p) = pairs; }

VIREO_INLINE Vec iota() {
  Vec v;
  for (int i = 0; i < kVector; ++i) v[i] = i;
  return v;
}

VIREO_INLINE Vec smallest(Vec a, Vec b) { return a < b ? a : b; }
VIREO_INLINE Vec largest(Vec a, Vec b) { return a > b ? a : b; }
VIREO_INLINE Vec clamp(Vec v, std::int32_t low, std::int32_t high) {
  return smallest(largest(v, splat(low)), splat(high));
}

// RS of the specification.
VIREO_INLINE Vec round_shift(Vec v, int shift) {
  return shift <= 0 ? v << -shift : (v + (1 << (shift - 1))) >> shift;
}

// Lanes 0 + 1, 2 + 3, … of two vectors that follow each other.
VIREO_INLINE Vec sum_neighbours(Vec a, Vec b) {
#if defined(__AVX512BW__)
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
         __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14) +
         __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
  return __builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7);
#endif
}

// Pairs of 16-bit integers, lane by lane.
typedef std::int16_t Halves __attribute__((vector_size(4 * kVector)));
VIREO_INLINE Vec subtract_pairs(Vec a, Vec b) { return (Vec)((Halves)a - (Halves)b); }
VIREO_INLINE Vec clamp_pairs(Vec pairs, std::int16_t limit) {
  const Halves most = limit - Halves{}, least = -most, v = (Halves)pairs;
  const Halves floored = v > least ? v : least;
  return (Vec)(floored < most ? floored : most);
}

VIREO_INLINE Vec pair(Vec low, Vec high) { return (low & 0xffff) | (high << 16); }

// __builtin_convertvector would say `widen` and `store_bytes` for all builds, but GCC 12
// takes bytes one by one for it. Some of its AVX-512 intrinsics leave an operand undefined,
// and its warnings notice; the masked ones don't.
#if defined(__AVX512BW__)

VIREO_INLINE Vec widen(const std::int16_t* p) {
  return (Vec)_mm512_maskz_cvtepi16_epi32(
      0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
VIREO_INLINE Vec widen(const std::uint8_t* p) {
  return (Vec)_mm512_maskz_cvtepu8_epi32(0xffff,
                                         _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
VIREO_INLINE void store_bytes(std::uint8_t* p, Vec v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)v));
}

VIREO_INLINE Vec multiply_add(Vec sum, Vec pairs, Vec weights) {
#if defined(__AVX512VNNI__)
  return (Vec)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)pairs, (__m512i)weights);
#else
  return sum + (Vec)_mm512_madd_epi16((__m512i)pairs, (__m512i)weights);
#endif
}
// Both clamped to 16 bits, as pairs.
VIREO_INLINE Vec narrow(Vec low, Vec high) {
  const __m512i order = _mm512_maskz_broadcast_i32x4(
      0xffff, _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
  return (Vec)_mm512_shuffle_epi8(_mm512_packs_epi32((__m512i)low, (__m512i)high), order);
}
VIREO_INLINE Vec no_less_than_zero(Vec pairs) {
  return (Vec)_mm512_max_epi16((__m512i)pairs, _mm512_setzero_si512());
}
VIREO_INLINE bool any(Vec v) { return _mm512_test_epi32_mask((__m512i)v, (__m512i)v) != 0; }
VIREO_INLINE Vec gather(const std::uint8_t* p, Vec index) {
  return (Vec)_mm512_mask_i32gather_epi32(__m512i{}, 0xffff, (__m512i)index, p, 1);
}
// Pairs of neighbours in a window of samples, by the column of the first.
constexpr int kWindow = 32;
typedef __m512i WindowIndex;
VIREO_INLINE WindowIndex window_index(Vec column) {
  return (__m512i)(column | ((column + 1) << 16));
}
VIREO_INLINE Vec window_pairs(const std::uint8_t* window, WindowIndex index) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(window));
  return (Vec)_mm512_maskz_permutexvar_epi16(0xffffffff, index,
                                             _mm512_maskz_cvtepu8_epi16(0xffffffff, bytes));
}
#define VIREO_GATHER 1
#define VIREO_WINDOW 1

#elif defined(__AVX2__)

VIREO_INLINE Vec widen(const std::int16_t* p) {
  return (Vec)_mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
VIREO_INLINE Vec widen(const std::uint8_t* p) {
  return (Vec)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
VIREO_INLINE void store_bytes(std::uint8_t* p, Vec v) {
  const __m256i words = _mm256_packus_epi32((__m256i)v, (__m256i)v);
  const __m256i bytes = _mm256_packus_epi16(words, words);
  const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes),
                                          _mm256_extracti128_si256(bytes, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), both);
}
VIREO_INLINE Vec multiply_add(Vec sum, Vec pairs, Vec weights) {
  return sum + (Vec)_mm256_madd_epi16((__m256i)pairs, (__m256i)weights);
}
VIREO_INLINE Vec narrow(Vec low, Vec high) {
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
  return (Vec)_mm256_shuffle_epi8(_mm256_packs_epi32((__m256i)low, (__m256i)high), order);
}
VIREO_INLINE Vec no_less_than_zero(Vec pairs) {
  return (Vec)_mm256_max_epi16((__m256i)pairs, _mm256_setzero_si256());
}
VIREO_INLINE bool any(Vec v) { return !_mm256_testz_si256((__m256i)v, (__m256i)v); }
VIREO_INLINE Vec gather(const std::uint8_t* p, Vec index) {
  return (Vec)_mm256_i32gather_epi32(reinterpret_cast<const int*>(p), (__m256i)index, 1);
}
constexpr int kWindow = 16;
typedef __m128i WindowIndex;
VIREO_INLINE WindowIndex window_index(Vec column) {
  const __m256i bytes = (__m256i)(column | ((column + 1) << 8));  // in the low half
  const __m256i halves = _mm256_packus_epi32(bytes, bytes);
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(halves, 0x08));
}
VIREO_INLINE Vec window_pairs(const std::uint8_t* window, WindowIndex index) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(window));
  return (Vec)_mm256_cvtepu8_epi16(_mm_shuffle_epi8(bytes, index));
}
#define VIREO_GATHER 1
#define VIREO_WINDOW 1

#else

VIREO_INLINE Vec widen(const std::int16_t* p) { return Vec{p[0], p[1], p[2], p[3]}; }
VIREO_INLINE Vec widen(const std::uint8_t* p) { return Vec{p[0], p[1], p[2], p[3]}; }
VIREO_INLINE void store_bytes(std::uint8_t* p, Vec v) {
  for (int i = 0; i < kVector; ++i) p[i] = static_cast<std::uint8_t>(v[i]);
}
VIREO_INLINE bool any(Vec v) { return (v[0] | v[1] | v[2] | v[3]) != 0; }

#if defined(__SSE2__)

VIREO_INLINE Vec multiply_add(Vec sum, Vec pairs, Vec weights) {
  return sum + (Vec)_mm_madd_epi16((__m128i)pairs, (__m128i)weights);
}
VIREO_INLINE Vec narrow(Vec low, Vec high) {
  const __m128i words = _mm_packs_epi32((__m128i)low, (__m128i)high);
  return (Vec)_mm_unpacklo_epi16(words, _mm_srli_si128(words, 8));
}
VIREO_INLINE Vec no_less_than_zero(Vec pairs) {
  return (Vec)_mm_max_epi16((__m128i)pairs, _mm_setzero_si128());
}

#else

VIREO_INLINE Vec low_half(Vec pairs) { return (pairs << 16) >> 16; }
VIREO_INLINE Vec multiply_add(Vec sum, Vec pairs, Vec weights) {
  return sum + low_half(pairs) * low_half(weights) + (pairs >> 16) * (weights >> 16);
}
VIREO_INLINE Vec narrow(Vec low, Vec high) {
  return pair(clamp(low, -32768, 32767), clamp(high, -32768, 32767));
}
VIREO_INLINE Vec no_less_than_zero(Vec pairs) {
  return pair(largest(low_half(pairs), Vec{}), largest(pairs >> 16, Vec{}));
}

#endif
#endif

}  // namespace
}  // namespace vireo
