// The autoregressive model and the rate: contexts, network, bits and all their gradients
// in one pass over tiles of neighbouring latents. In training all latents are known, so
// a context is the latents' array itself, shifted.
#pragma once

#include "train/dense.hpp"
#include "train/latents.hpp"

namespace vireo::train::VIREO_ISA {

constexpr float LOG2_E = 1.44269504f, LN_2 = 0.69314718f;
constexpr float LOG2_SCALE_LOW = -5.0f, LOG2_SCALE_HIGH = 4.875f, MAX_BITS = 24.0f;

struct Bits {
  Vf bits, by_value, by_log2_scale;  // gradient by the mean is minus that by the value
};

// Bits under a Laplace distribution integrated over 1, and their gradient.
VIREO_INLINE Bits laplace(Vf value, Vf mean, Vf log2_scale) {
  Vf clamped = log2_scale < LOG2_SCALE_LOW ? splat(LOG2_SCALE_LOW) : log2_scale;
  clamped = clamped > LOG2_SCALE_HIGH ? splat(LOG2_SCALE_HIGH) : clamped;
  const Vf s = exp2(-clamped);  // one over the scale
  const Vf difference = value - mean;
  const Vf d = magnitude(difference);
  const Vi inside = d < 0.5f;

  // Inside half a step of the mean, P = 1 - exp(-s/2) cosh(d s).
  const Vf edge = exp2(s * (-0.5f * LOG2_E));
  const Vf near = inside ? d : splat(0.5f);
  const Vf grow = exp2(near * s * LOG2_E);
  const Vf shrink = 1.0f / grow;
  const Vf even = 0.5f * edge * (grow + shrink), odd = 0.5f * edge * (grow - shrink);
  // Outside, P = exp(-(d - 1/2) s) (1 - exp(-s)) / 2.
  const Vf decay = edge * edge;
  const Vf excess = d - 0.5f;

  const Vf p = inside ? 1.0f - even : 1.0f - decay;
  const Vf share = inside ? p : 0.5f * p;
  Bits r;
  r.bits = (inside ? Vf{} : excess * s * LOG2_E) - log2(share);
  const Vf inverse = LOG2_E / p;
  const Vf by_distance = inside ? inverse * s * odd : s * LOG2_E;
  const Vf by_s =
      inside ? inverse * (d * odd - 0.5f * even) : excess * LOG2_E - inverse * decay;
  Vf by_scale = by_s * s * -LN_2;
  by_scale = ((log2_scale < LOG2_SCALE_LOW) & (by_scale > 0.0f)) ? Vf{} : by_scale;
  by_scale = ((log2_scale > LOG2_SCALE_HIGH) & (by_scale < 0.0f)) ? Vf{} : by_scale;
  const Vi capped = r.bits > MAX_BITS;
  r.bits = capped ? splat(MAX_BITS) : r.bits;
  const Vf signed_distance = difference < 0.0f ? -by_distance : by_distance;
  r.by_value = capped ? Vf{} : signed_distance;
  r.by_log2_scale = capped ? Vf{} : by_scale;
  return r;
}

// Scratch: halo + segment, parameters * W, activations, inputs' gradients and zeros of a tile.
static inline void arm(const Arm& t, float* scratch) {
  const Mlp& mlp = *t.mlp;
  const std::ptrdiff_t length = t.segment.end - t.segment.begin;
  const bool gradients = t.latents || t.networks;

  float* spread = scratch;  // gradients by latent, from the halo on
  float* acc = spread + t.halo + length;
  float* memory = acc + mlp.parameters * W;
  Activations a;
  a.place(mlp, memory, ARM_TILE);
  float* context_gradient[MAX_WIDTH];
  const int inputs = mlp.layers[0].inputs;  // contexts, and perhaps one more
  for (int c = 0; c < inputs; ++c) {
    context_gradient[c] = memory + (mlp.activations + c) * ARM_TILE;
  }
  const float* zeros = memory + (mlp.activations + inputs) * ARM_TILE;
  if (inputs > t.contexts) clear(memory + (mlp.activations + inputs) * ARM_TILE, ARM_TILE);
  if (t.latents) clear(spread, t.halo + length);
  if (t.networks) clear(acc, mlp.parameters * W);

  const Inside inside(t.segment);
  alignas(64) std::int32_t mask[ARM_TILE];
  const float* context[MAX_WIDTH];
  double total = 0;
  for (std::ptrdiff_t p = t.segment.begin; p < t.segment.end; p += ARM_TILE) {
    const int n = static_cast<int>(
        t.segment.end - p < ARM_TILE ? t.segment.end - p : std::ptrdiff_t{ARM_TILE});
    const float* value = t.quantised + t.segment.origin + p;
    float* gradient = spread + t.halo + (p - t.segment.begin);
    for (int c = 0; c < t.contexts; ++c) context[c] = value + t.offsets[c];
    if (inputs > t.contexts) context[t.contexts] = t.other ? t.other + p : zeros;
    inside.fill(p, n, mask);
    forward(mlp, context, a, n);

    float* mean = a.rows[mlp.depth - 1][0];
    float* log2_scale = a.rows[mlp.depth - 1][1];
    Vf bits = Vf{};
    for (int i = 0; i < n; i += W) {
      const Bits b = laplace(load(value + i), load(mean + i), load(log2_scale + i));
      const Vi valid = load_mask(mask + i);
      bits += masked(valid, b.bits);
      const Vf by_value = masked(valid, b.by_value * t.weight);
      store(mean + i, -by_value);
      store(log2_scale + i, masked(valid, b.by_log2_scale * t.weight));
      if (t.latents) store(gradient + i, load(gradient + i) + by_value);
    }
    total += sum(bits);
    if (!gradients) continue;

    backward(mlp, context, a, n, t.networks ? acc : nullptr,
             t.latents ? context_gradient : nullptr);
    if (!t.latents) continue;
    if (t.other_gradient) {
      const float* from = context_gradient[t.contexts];
      for (int i = 0; i < n; i += W) store(t.other_gradient + p + i, load(from + i));
    }
    for (int c = 0; c < t.contexts; ++c) {
      float* to = gradient + t.offsets[c];
      for (int i = 0; i < n; i += W) store(to + i, load(to + i) + load(context_gradient[c] + i));
    }
  }
  *t.bits = total;
  if (t.networks) reduce(acc, mlp.parameters, t.parameter_gradient);
  if (!t.latents) return;
  for (std::ptrdiff_t i = 0; i < t.halo; i += W) store(t.halo_gradient + i, load(spread + i));
  float* out = t.gradient + t.segment.origin + t.segment.begin;
  for (std::ptrdiff_t i = 0; i < length; i += W) store(out + i, load(spread + t.halo + i));
}

}  // namespace vireo::train::VIREO_ISA
