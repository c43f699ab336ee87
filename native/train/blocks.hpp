// Motion compensation of blocks: 4x4 luma samples and the 2x2 of each chroma plane that
// belong to them, by separable interpolation; and how a loss' gradient reaches a block's
// vectors and weights. Vectors of four floats serve every build: a block is as wide.
#pragma once

#include "train/kernels.hpp"
#include "train/latents.hpp"

namespace vireo::train::VIREO_ISA {

typedef float V4 __attribute__((vector_size(16)));
typedef float V4Loose __attribute__((vector_size(16), aligned(4), may_alias));

VIREO_INLINE V4 load4(const float* p) { return *reinterpret_cast<const V4Loose*>(p); }
VIREO_INLINE void store4(float* p, V4 v) { *reinterpret_cast<V4Loose*>(p) = v; }

constexpr int LUMA_TAPS = 8, CHROMA_TAPS = 4, PHASES = 64, TABLE = PHASES * LUMA_TAPS;
constexpr float FIELD_UNIT = 0.25f;  // luma samples per unit of a vector's latents

// A block's prediction from one reference, and its slopes along x and y.
struct Warped {
  V4 luma[3][4];    // [value, by x, by y][row]
  V4 chroma[3][2];  // lanes: U, V, U, V
};

static_assert(sizeof(Warped) == WARPED_FLOATS * sizeof(float));

VIREO_INLINE int clamp_to(int x, int low, int high) { return x < low ? low : x > high ? high : x; }

// ROWS rows of four floats from the TAPS taps around them; `step` floats lie between samples.
template <int TAPS, int ROWS, int STEP>
VIREO_INLINE void interpolate(const float* from, std::ptrdiff_t stride, const float* wx,
                              const float* dx, const float* wy, const float* dy, V4 (*out)[ROWS]) {
  V4 value[ROWS + TAPS - 1], slope[ROWS + TAPS - 1];
#pragma GCC unroll 11
  for (int r = 0; r < ROWS + TAPS - 1; ++r) {
    V4 a = {}, b = {};
#pragma GCC unroll 8
    for (int t = 0; t < TAPS; ++t) {
      const V4 s = load4(from + r * stride + t * STEP);
      a += s * wx[t];
      b += s * dx[t];
    }
    value[r] = a;
    slope[r] = b;
  }
#pragma GCC unroll 4
  for (int y = 0; y < ROWS; ++y) {
    V4 a = {}, b = {}, c = {};
#pragma GCC unroll 8
    for (int t = 0; t < TAPS; ++t) {
      a += value[y + t] * wy[t];
      b += slope[y + t] * wy[t];
      c += value[y + t] * dy[t];
    }
    out[0][y] = a;
    out[1][y] = b;
    out[2][y] = c;
  }
}

// A vector's component in 1/64 luma samples. A NaN becomes a number: the loss has it already
// by the rate.
VIREO_INLINE int in_64ths(float field) {
  const float limited = field > -65536.0f ? (field < 65536.0f ? field : 65536.0f) : -65536.0f;
  const float scaled = limited * (64 * FIELD_UNIT) + 0.5f;
  const int whole = static_cast<int>(scaled);
  return whole - (static_cast<float>(whole) > scaled);
}

VIREO_INLINE void warp_block(const Picture& t, const BlockReference& reference, int row,
                             int column, float field_x, float field_y, Warped& out) {
  const float* taps = t.parts->taps;
  const int x = in_64ths(field_x), y = in_64ths(field_y);
  {
    const int left = clamp_to(4 * column + (x >> 6) - 3, -BLOCK_PAD, t.width + BLOCK_PAD - 11);
    const int top = clamp_to(4 * row + (y >> 6) - 3, -BLOCK_PAD, t.height + BLOCK_PAD - 11);
    const float *wx = taps + (x & 63) * LUMA_TAPS, *wy = taps + (y & 63) * LUMA_TAPS;
    interpolate<LUMA_TAPS, 4, 1>(reference.luma + top * reference.luma_stride + left,
                                 reference.luma_stride, wx, wx + TABLE, wy, wy + TABLE, out.luma);
  }
  const int cx = (x + 1) >> 1, cy = (y + 1) >> 1;
  const int left = clamp_to(2 * column + (cx >> 6) - 1, -BLOCK_PAD, t.width / 2 + BLOCK_PAD - 5);
  const int top = clamp_to(2 * row + (cy >> 6) - 1, -BLOCK_PAD, t.height / 2 + BLOCK_PAD - 5);
  const float *wx = taps + 2 * TABLE + (cx & 63) * LUMA_TAPS;
  const float *wy = taps + 2 * TABLE + (cy & 63) * LUMA_TAPS;
  interpolate<CHROMA_TAPS, 2, 2>(reference.chroma + top * reference.chroma_stride + 2 * left,
                                 reference.chroma_stride, wx, wx + TABLE, wy, wy + TABLE,
                                 out.chroma);
}

VIREO_INLINE float total(V4 v) { return (v[0] + v[1]) + (v[2] + v[3]); }

VIREO_INLINE float limited(float x) { return x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x; }

// Gradient of `limited` that still passes where a descent step points inwards.
VIREO_INLINE float leaky_limited(float x, float gradient) {
  return (x < 0.0f && gradient > 0.0f) || (x > 1.0f && gradient < 0.0f) ? 0.0f : gradient;
}

// One row of blocks. `luma` has four rows of `luma_stride` floats, `chroma` two of
// `luma_stride` (interleaved): the prediction, and on the way back its gradient.
template <int REFS>
struct BlockRow {
  const Picture& t;
  Warped* warped;  // [block][REFS]
  float *luma, *chroma;
  std::ptrdiff_t stride;

  VIREO_MEMBER const float* field(int f, int row) const {
    return t.parts->fields + f * t.parts->field_size + row * t.parts->field_stride;
  }

  VIREO_MEMBER void predict(int row) const {
    const int columns = (t.width + 3) / 4;
    const float *alphas = field(2 * REFS, row), *betas = field(2 * REFS + REFS - 1, row);
    for (int column = 0; column < columns; ++column) {
      Warped* w = warped + column * REFS;
      for (int r = 0; r < REFS; ++r) {
        warp_block(t, t.parts->reference[r], row, column, field(2 * r, row)[column],
                   field(2 * r + 1, row)[column], w[r]);
      }
      const float alpha = limited(1.25f + 0.5f * alphas[column]);
      const float beta = REFS == 2 ? limited(0.5f + 0.25f * betas[column]) : 1.0f;
      for (int y = 0; y < 4; ++y) {
        V4 v = w[0].luma[0][y] * (alpha * beta);
        if constexpr (REFS == 2) v += w[1].luma[0][y] * (alpha * (1.0f - beta));
        store4(luma + y * stride + 4 * column, v);
      }
      for (int y = 0; y < 2; ++y) {
        V4 v = w[0].chroma[0][y] * (alpha * beta);
        if constexpr (REFS == 2) v += w[1].chroma[0][y] * (alpha * (1.0f - beta));
        store4(chroma + y * stride + 4 * column, v);
      }
    }
  }

  // Rows below the picture hold no gradient: `luma` and `chroma` are zero there.
  VIREO_MEMBER void back(int row) const {
    const int columns = (t.width + 3) / 4;
    const float *alphas = field(2 * REFS, row), *betas = field(2 * REFS + REFS - 1, row);
    const auto out = [&](int f) {
      return t.parts->field_gradient + f * t.parts->field_size + row * t.parts->field_stride;
    };
    for (int column = 0; column < columns; ++column) {
      const Warped* w = warped + column * REFS;
      const float alpha_raw = 1.25f + 0.5f * alphas[column], alpha = limited(alpha_raw);
      const float beta_raw = REFS == 2 ? 0.5f + 0.25f * betas[column] : 1.0f;
      const float beta = limited(beta_raw);
      float by_value[REFS];
      for (int r = 0; r < REFS; ++r) {
        V4 luma_sums[3] = {}, chroma_sums[3] = {};
        for (int y = 0; y < 4; ++y) {
          const V4 g = load4(luma + y * stride + 4 * column);
          for (int i = 0; i < 3; ++i) luma_sums[i] += g * w[r].luma[i][y];
        }
        for (int y = 0; y < 2; ++y) {
          const V4 g = load4(chroma + y * stride + 4 * column);
          for (int i = 0; i < 3; ++i) chroma_sums[i] += g * w[r].chroma[i][y];
        }
        const float share = alpha * (r ? 1.0f - beta : beta);
        by_value[r] = total(luma_sums[0] + chroma_sums[0]);
        for (int i = 0; i < 2; ++i) {
          out(2 * r + i)[column] =
              share * FIELD_UNIT * total(luma_sums[1 + i] + 0.5f * chroma_sums[1 + i]);
        }
      }
      float by_alpha = beta * by_value[0];
      if constexpr (REFS == 2) {
        by_alpha += (1.0f - beta) * by_value[1];
        out(5)[column] =
            0.25f * leaky_limited(beta_raw, alpha * (by_value[0] - by_value[1]));
      }
      out(2 * REFS)[column] = 0.5f * leaky_limited(alpha_raw, by_alpha);
    }
  }
};

}  // namespace vireo::train::VIREO_ISA
