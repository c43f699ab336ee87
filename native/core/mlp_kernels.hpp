// Multi-layer perceptrons (docs/bitstream.md, "Running a network").
#pragma once

#include "core/kernels.hpp"
#include "core/simd.hpp"

namespace vireo {
namespace {

constexpr int kMaxPairs = (kMaxWidth + 1) / 2;

// The sums of B outputs for V vectors of samples.
template <int V, int B>
VIREO_INLINE void sum_block(const Vec (*x)[V], int pairs, const std::int32_t* weights,
                            const std::int32_t* biases, Vec (&sum)[B][V]) {
  for (int b = 0; b < B; ++b)
    for (int v = 0; v < V; ++v) sum[b][v] = splat(biases[b]);
  for (int p = 0; p < pairs; ++p, weights += B)
    for (int b = 0; b < B; ++b) {
      const Vec weight = splat(weights[b]);
      for (int v = 0; v < V; ++v) sum[b][v] = multiply_add(sum[b][v], x[p][v], weight);
    }
}

// Activations of B outputs as pairs; a last one without a partner is paired with zeros.
template <int V, int B>
VIREO_INLINE void activate_block(const Vec (*x)[V], int pairs, const std::int32_t* weights,
                                 const std::int32_t* biases, int shift, Vec (*y)[V]) {
  Vec sum[B][V];
  sum_block<V, B>(x, pairs, weights, biases, sum);
  for (int b = 0; b < B; b += 2)
    for (int v = 0; v < V; ++v) {
      const Vec low = shift > 0 ? sum[b][v] >> shift : sum[b][v] << -shift;
      Vec high{};
      if (b + 1 < B) high = shift > 0 ? sum[b + 1][v] >> shift : sum[b + 1][v] << -shift;
      y[b / 2][v] = no_less_than_zero(narrow(low, high));
    }
}

template <int V, int B>
VIREO_INLINE void output_block(const Vec (*x)[V], int pairs, const std::int32_t* weights,
                               const std::int32_t* biases, std::int32_t* out, int stride) {
  Vec sum[B][V];
  sum_block<V, B>(x, pairs, weights, biases, sum);
  for (int b = 0; b < B; ++b)
    for (int v = 0; v < V; ++v) store(out + b * stride + v * kVector, sum[b][v]);
}

// Calls block(first output, its weights, count of outputs as a constant) for each block.
template <int N>
struct Count {
  static constexpr int value = N;
};
template <class Block>
VIREO_INLINE void for_blocks(const IntegerMlp::Layer& layer, int pairs, Block&& block) {
  const std::int32_t* w = layer.weights.data();
  int o = 0;
  for (; o + kMlpBlock <= layer.outputs; o += kMlpBlock, w += pairs * kMlpBlock)
    block(o, w, Count<kMlpBlock>{});
  static_assert(kMlpBlock == 4, "one case for each smaller block");
  switch (layer.outputs - o) {
    case 3: block(o, w, Count<3>{}); break;
    case 2: block(o, w, Count<2>{}); break;
    case 1: block(o, w, Count<1>{}); break;
    default: break;
  }
}

// Runs the network for V vectors of samples, whose inputs stand in `a` as pairs; `b` is
// scratch. Output o goes to out + o * stride.
template <int V>
VIREO_INLINE void run_mlp(const IntegerMlp& mlp, Vec (*a)[V], Vec (*b)[V], std::int32_t* out,
                          int stride) {
  const IntegerMlp::Layer* layer = mlp.layers.data();
  const IntegerMlp::Layer* last = layer + mlp.layers.size() - 1;
  for (; layer != last; ++layer) {
    const int pairs = (layer->inputs + 1) / 2;
    const std::int32_t* biases = layer->biases.data();
    const int shift = layer->shift;
    for_blocks(*layer, pairs, [&](int o, const std::int32_t* w, auto count) VIREO_LAMBDA {
      activate_block<V, decltype(count)::value>(a, pairs, w, biases + o, shift, b + o / 2);
    });
    auto* swap = a;
    a = b;
    b = swap;
  }
  const int pairs = (last->inputs + 1) / 2;
  const std::int32_t* biases = last->biases.data();
  for_blocks(*last, pairs, [&](int o, const std::int32_t* w, auto count) VIREO_LAMBDA {
    output_block<V, decltype(count)::value>(a, pairs, w, biases + o, out + o * stride, stride);
  });
}

// Inputs [input][sample] as pairs; returns the disjunction of all.
template <int V>
VIREO_INLINE Vec load_inputs(const std::int16_t* const* inputs, int count, int at, Vec (*x)[V]) {
  Vec all{};
  for (int i = 0; i < count; i += 2)
    for (int v = 0; v < V; ++v) {
      const Vec low = widen(inputs[i] + at + v * kVector);
      const Vec high = i + 1 < count ? widen(inputs[i + 1] + at + v * kVector) : Vec{};
      x[i / 2][v] = pair(low, high);
      all |= x[i / 2][v];
    }
  return all;
}

bool distributions(const ContextModel& model, const std::int16_t* const* inputs,
                   std::int32_t* centres, std::int32_t* indices) {
  constexpr int V = kLanes / kVector;
  Vec a[kMaxPairs][V], b[kMaxPairs][V];
  if (!any(load_inputs<V>(inputs, model.mlp.layers.data()->inputs, 0, a))) return false;
  alignas(64) std::int32_t sums[kMlpBlock * kLanes];  // two are used
  run_mlp<V>(model.mlp, a, b, sums, kLanes);
  const int bits = model.mlp.accumulator_bits;
  for (int l = 0; l < kLanes; l += kVector) {
    const Vec mean =
        clamp(round_shift(load(sums + l), bits - kMeanBits), -model.most, model.most);
    const Vec scale = clamp(round_shift(load(sums + kLanes + l), bits - kScaleBits), -kScaleZero,
                            kScales - 1 - kScaleZero) + kScaleZero;
    const Vec raised = mean + (1 << (kMeanBits - 1));
    store(centres + l, raised >> kMeanBits);
    store(indices + l, (scale << kMeanBits) + (raised & ((1 << kMeanBits) - 1)));
  }
  return true;
}

void synthesise(const IntegerMlp& mlp, const std::int16_t* const* inputs, int count,
                std::int32_t* sums) {
  constexpr int V = kVector == 16 ? 4 : 2;
  static_assert(V * kVector <= kSlack && kChunk % (V * kVector) == 0, "whole vectors");
  Vec a[kMaxPairs][V], b[kMaxPairs][V];
  for (int x = 0; x < count; x += V * kVector) {
    load_inputs<V>(inputs, mlp.layers.data()->inputs, x, a);
    run_mlp<V>(mlp, a, b, sums + x, kChunk);
  }
}

// As many multiply-adds as the machine does, for measure_peak.
std::int32_t multiply_adds(int rounds) {
  Vec sum[kPeakSums];
  for (int i = 0; i < kPeakSums; ++i) sum[i] = splat(rounds + i);
  const Vec weights = iota();
  for (int r = 0; r < rounds; ++r)
    for (Vec& s : sum) s = multiply_add(s, s, weights);
  for (int i = 1; i < kPeakSums; ++i) sum[0] += sum[i];
  return sum[0][0];
}

}  // namespace
}  // namespace vireo
