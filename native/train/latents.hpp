// What happens to each latent alone: quantisation, and Adam's update.
#pragma once

#include "train/kernels.hpp"
#include "train/vec.hpp"

namespace vireo::train::VIREO_ISA {

// All ones where a lane is a latent, zero where it is padding.
struct Inside {
  std::ptrdiff_t stride, end;
  int width;
  explicit Inside(const Segment& s) : stride(s.stride), end(s.height * s.stride), width(s.width) {}

  // Fills mask for positions p ... p + n - 1.
  void fill(std::ptrdiff_t p, int n, std::int32_t* mask) const {
    __builtin_memset(mask, 0xff, static_cast<std::size_t>(n) * sizeof(*mask));
    for (std::ptrdiff_t gap = p / stride * stride + width; gap < p + n; gap += stride) {
      const std::ptrdiff_t from = gap > p ? gap - p : 0;
      std::ptrdiff_t to = gap + stride - width - p;
      if (to > n) to = n;
      for (std::ptrdiff_t i = from; i < to; ++i) mask[i] = 0;
    }
    for (std::ptrdiff_t i = end > p ? end - p : 0; i < n; ++i) mask[i] = 0;
  }
};

VIREO_INLINE Vi load_mask(const std::int32_t* mask) {
  return (Vi)load(reinterpret_cast<const float*>(mask));
}

VIREO_INLINE Vf masked(Vi mask, Vf v) { return (Vf)(mask & (Vi)v); }

// Wellons' lowbias32.
VIREO_INLINE Vu mix(Vu x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}

// Noise in -1/2 ... 1/2 of a position: a hash as a uniform number, through the inverse
// of Kumaraswamy's distribution (equal cells of probability, linear between).
VIREO_INLINE Vf draw(Vu position, const std::uint32_t* key, const float* table) {
  const Vu bits = mix(mix(position ^ key[0]) + key[1]);
  const Vf uniform = (to_float((Vi)(bits >> 8)) + 0.5f) * (1.0f / 16777216.0f);
  if (!table) return uniform - 0.5f;
  const Vf at = uniform * static_cast<float>(NOISE_TABLE);
  const Vi cell = to_int(at);
  const Vf low = gather(table, cell), high = gather(table + 1, cell);
  return low + (at - to_float(cell)) * (high - low);
}

static inline void quantise(const Quantise& t) {
  const Inside inside(t.segment);
  const std::ptrdiff_t origin = t.segment.origin;
  const float inverse = 1.0f / t.temperature;
  const float scale = 0.5f / tanh(splat(0.5f * inverse))[0];
  std::int32_t mask[64];
  for (std::ptrdiff_t p = t.segment.begin; p < t.segment.end; p += 64) {
    inside.fill(p, 64, mask);
    for (int i = 0; i < 64; i += W) {
      const std::ptrdiff_t at = origin + p + i;
      const Vi valid = load_mask(mask + i);
      const Vf x = load(t.latents + at);
      Vf value, slope;
      if (t.hard) {
        value = nearest(x);
        slope = splat(1.0f);
      } else {
        const Vf noise = t.noise ? load(t.noise + at)
                                 : draw((Vu)(static_cast<std::int32_t>(at) + iota()), t.key,
                                        t.noise_table);
        // The soft rounding of x, and that of the result with noise; slopes multiply.
        const Vf centre = floor(x) + 0.5f;
        const Vf first = tanh((x - centre) * inverse);
        const Vf noisy = centre + scale * first + noise;
        const Vf noisy_centre = floor(noisy) + 0.5f;
        const Vf second = tanh((noisy - noisy_centre) * inverse);
        value = noisy_centre + scale * second;
        slope = (1.0f - first * first) * (1.0f - second * second) *
                (scale * inverse * scale * inverse);
      }
      store(t.quantised + at, masked(valid, value));
      if (t.slope) store(t.slope + at, masked(valid, slope));
    }
  }
}

// Collects a latent's gradient from all its sources; then Adam, as PyTorch has it but for what
// latents share.
// Padding has slope zero, hence gradient and moments zero, and stays zero.
static inline void adam(const Adam& t) {
  const std::ptrdiff_t origin = t.segment.origin;
  const std::ptrdiff_t begin = origin + t.segment.begin, end = origin + t.segment.end;
  if (t.next_halo) {
    for (std::ptrdiff_t i = 0; i < t.halo; i += W) {
      float* g = t.gradient + end - t.halo + i;
      store(g, load(g) + load(t.next_halo + i));
    }
  }
  Vf sum = splat(0.0f);
  for (std::ptrdiff_t at = begin; at < end; at += W) {
    Vf g = load(t.gradient + at);
    if (t.upsampled) g += load(t.upsampled + at);
    if (t.cross) g += load(t.cross + at);
    g *= load(t.slope + at);
    if (!t.update) {
      store(t.gradient + at, g);
      continue;
    }
    const Vf m = load(t.first + at) * t.beta1 + g * (1 - t.beta1);
    const Vf v = load(t.second + at) * t.beta2 + g * g * (1 - t.beta2);
    store(t.first + at, m);
    store(t.second + at, v);
    sum += v;
    const Vf x = load(t.latents + at);
    store(t.latents + at, x - t.step * m / (root(v * t.own + t.shared) + t.epsilon));
  }
  if (!t.update) return;
  *t.sum = 0;
  for (int i = 0; i < W; ++i) *t.sum += double{sum[i]};
}

}  // namespace vireo::train::VIREO_ISA
