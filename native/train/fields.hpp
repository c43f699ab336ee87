// Motion and blending as fields: a pyramid of latents that add up, one value per block.
// Doubling is bilinear between the samples' centres, the border repeated; latents of grids
// below SMOOTH_LEVEL hold for their whole cells.
#pragma once

#include "train/kernels.hpp"
#include "train/vec.hpp"

namespace vireo::train::VIREO_ISA {

VIREO_INLINE std::ptrdiff_t at_level(int samples, int level) {
  return (samples + (std::ptrdiff_t{1} << level) - 1) >> level;
}

// [h, w] to [to_h, to_w], at most twice as large; scratch: a row of w.
static inline void double_field(const float* from, std::ptrdiff_t h, std::ptrdiff_t w, float* to,
                                std::ptrdiff_t to_h, std::ptrdiff_t to_w, float* scratch) {
  for (std::ptrdiff_t y = 0; y < to_h; ++y) {
    const std::ptrdiff_t i = y / 2, far = y % 2 ? (i + 1 < h ? i + 1 : i) : (i ? i - 1 : 0);
    const float *near_row = from + i * w, *far_row = from + far * w;
    for (std::ptrdiff_t x = 0; x < w; ++x) scratch[x] = 0.75f * near_row[x] + 0.25f * far_row[x];
    float* out = to + y * to_w;
    for (std::ptrdiff_t x = 0; x < to_w; ++x) {
      const std::ptrdiff_t j = x / 2, side = x % 2 ? (j + 1 < w ? j + 1 : j) : (j ? j - 1 : 0);
      out[x] = 0.75f * scratch[j] + 0.25f * scratch[side];
    }
  }
}

// The transpose of double_field: `to` is overwritten.
static inline void halve_field(const float* from, std::ptrdiff_t from_h, std::ptrdiff_t from_w,
                               float* to, std::ptrdiff_t h, std::ptrdiff_t w, float* scratch) {
  clear(to, h * w);
  for (std::ptrdiff_t y = 0; y < from_h; ++y) {
    const std::ptrdiff_t i = y / 2, far = y % 2 ? (i + 1 < h ? i + 1 : i) : (i ? i - 1 : 0);
    clear(scratch, w);
    const float* in = from + y * from_w;
    for (std::ptrdiff_t x = 0; x < from_w; ++x) {
      const std::ptrdiff_t j = x / 2, side = x % 2 ? (j + 1 < w ? j + 1 : j) : (j ? j - 1 : 0);
      scratch[j] += 0.75f * in[x];
      scratch[side] += 0.25f * in[x];
    }
    for (std::ptrdiff_t x = 0; x < w; ++x) to[i * w + x] += 0.75f * scratch[x];
    for (std::ptrdiff_t x = 0; x < w; ++x) to[far * w + x] += 0.25f * scratch[x];
  }
}

// Scratch of both directions: two fields of blocks and a row.
static inline void field_forward(const Field& t, float* scratch) {
  const std::ptrdiff_t size = at_level(t.height, BLOCK_LEVEL) * at_level(t.width, BLOCK_LEVEL);
  float *current = scratch, *next = scratch + size, *row = scratch + 2 * size;
  const int coarsest = t.first + t.grids - 1;
  for (int level = coarsest; level >= BLOCK_LEVEL; --level) {
    const std::ptrdiff_t h = at_level(t.height, level), w = at_level(t.width, level);
    if (level == coarsest) {
      clear(current, h * w);
    } else {
      double_field(current, at_level(t.height, level + 1), at_level(t.width, level + 1), next, h, w,
                   row);
      float* swap = current;
      current = next;
      next = swap;
    }
    if (level < t.first || level < SMOOTH_LEVEL) continue;
    const Segment& s = t.segments[level - t.first];
    for (std::ptrdiff_t y = 0; y < h; ++y) {
      const float* from = t.quantised + s.origin + y * s.stride;
      for (std::ptrdiff_t x = 0; x < w; ++x) current[y * w + x] += from[x];
    }
  }
  const std::ptrdiff_t h = at_level(t.height, BLOCK_LEVEL), w = at_level(t.width, BLOCK_LEVEL);
  for (std::ptrdiff_t y = 0; y < h; ++y) {
    float* out = t.blocks + y * t.stride;
    __builtin_memcpy(out, current + y * w, static_cast<std::size_t>(w) * sizeof(float));
    for (int level = t.first; level < SMOOTH_LEVEL && level <= coarsest; ++level) {
      const Segment& s = t.segments[level - t.first];
      const int shift = level - BLOCK_LEVEL;
      const float* from = t.quantised + s.origin + (y >> shift) * s.stride;
      for (std::ptrdiff_t x = 0; x < w; ++x) out[x] += from[x >> shift];
    }
  }
}

static inline void field_backward(const Field& t, float* scratch) {
  const std::ptrdiff_t size = at_level(t.height, BLOCK_LEVEL) * at_level(t.width, BLOCK_LEVEL);
  float *current = scratch, *next = scratch + size, *row = scratch + 2 * size;
  for (std::ptrdiff_t y = 0, w = at_level(t.width, BLOCK_LEVEL);
       y < at_level(t.height, BLOCK_LEVEL); ++y) {
    __builtin_memcpy(current + y * w, t.blocks + y * t.stride,
                     static_cast<std::size_t>(w) * sizeof(float));
  }
  for (int level = BLOCK_LEVEL; level < t.first + t.grids; ++level) {
    const std::ptrdiff_t h = at_level(t.height, level), w = at_level(t.width, level);
    if (level > BLOCK_LEVEL) {
      halve_field(current, at_level(t.height, level - 1), at_level(t.width, level - 1), next, h, w,
                  row);
      float* swap = current;
      current = next;
      next = swap;
    }
    if (level < t.first || level < SMOOTH_LEVEL) continue;
    const Segment& s = t.segments[level - t.first];
    for (std::ptrdiff_t y = 0; y < h; ++y) {
      __builtin_memcpy(t.gradient + s.origin + y * s.stride, current + y * w,
                       static_cast<std::size_t>(w) * sizeof(float));
    }
  }
  // Sums over the cells of the grids that hold for whole cells.
  const std::ptrdiff_t h = at_level(t.height, BLOCK_LEVEL), w = at_level(t.width, BLOCK_LEVEL);
  for (int level = t.first; level < SMOOTH_LEVEL && level < t.first + t.grids; ++level) {
    const Segment& s = t.segments[level - t.first];
    const int shift = level - BLOCK_LEVEL;
    for (std::ptrdiff_t y = 0; y < s.height; ++y) {
      float* to = t.gradient + s.origin + y * s.stride;
      clear(to, s.width);
      for (std::ptrdiff_t i = y << shift; i < h && i < (y + 1) << shift; ++i) {
        const float* from = t.blocks + i * t.stride;
        for (std::ptrdiff_t x = 0; x < w; ++x) to[x >> shift] += from[x];
      }
    }
  }
}

}  // namespace vireo::train::VIREO_ISA
