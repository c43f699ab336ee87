// Compiled once per instruction set, with VIREO_ISA naming the build. Nothing of the
// standard library is called here: a template instantiated with wider instructions
// could become the copy that the linker keeps for the whole program.
#include <cstddef>

#include "core/kernels.hpp"

namespace vireo {
namespace {

inline std::int32_t relu(std::int32_t x) { return x < 0 ? 0 : x > 32767 ? 32767 : x; }

void mlp_lanes(const IntegerMlp& mlp, const std::int16_t* const* inputs, std::int32_t* out) {
  alignas(64) std::int32_t a[kMaxWidth][kLanes];
  alignas(64) std::int32_t b[kMaxWidth][kLanes];
  auto* x = a;
  auto* y = b;
  const IntegerMlp::Layer* layers = mlp.layers.data();
  const auto count = mlp.layers.size();
  for (int i = 0; i < layers[0].inputs; ++i)
    for (int l = 0; l < kLanes; ++l) x[i][l] = inputs[i][l];
  for (std::size_t n = 0; n < count; ++n) {
    const IntegerMlp::Layer& layer = layers[n];
    const std::int32_t* w = layer.weights.data();
    const std::int32_t* bias = layer.biases.data();
    for (int o = 0; o < layer.outputs; ++o) {
      alignas(64) std::int32_t sum[kLanes];
      for (int l = 0; l < kLanes; ++l) sum[l] = bias[o];
      for (int i = 0; i < layer.inputs; ++i) {
        const std::int32_t weight = *w++;
        for (int l = 0; l < kLanes; ++l) sum[l] += weight * x[i][l];
      }
      if (n + 1 == count) {
        for (int l = 0; l < kLanes; ++l) out[o * kLanes + l] = sum[l];
      } else if (layer.shift > 0) {
        const std::int32_t half = 1 << (layer.shift - 1);
        for (int l = 0; l < kLanes; ++l)
          y[o][l] = relu((sum[l] + half) >> layer.shift);
      } else {
        for (int l = 0; l < kLanes; ++l)
          y[o][l] = relu(round_shift(sum[l], layer.shift));
      }
    }
    auto* swap = x;
    x = y;
    y = swap;
  }
}

void upsample_row(const std::int16_t* const* rows, int taps, int in_width,
                  const std::int32_t* kernel, int kernel_stride, int shift, std::int32_t* sums,
                  std::int16_t* out, int out_width) {
  // A kernel sample v reaches output X from input i where X + taps - 1 = 2 i + v.
  for (int parity = 0; parity < 2; ++parity) {
    const int v0 = (parity + taps - 1) & 1;
    const int right = (parity + taps - 1) >> 1;
    for (int p = 0; p < in_width; ++p) sums[p] = 0;
    for (int j = 0; j < taps; ++j)
      for (int k = 0; k < taps; ++k) {
        const std::int32_t weight = kernel[j * kernel_stride + v0 + 2 * k];
        const std::int16_t* x = rows[j] + taps + right - k;
        for (int p = 0; p < in_width; ++p) sums[p] += weight * x[p];
      }
    const int count = (out_width + 1 - parity) / 2;
    for (int p = 0; p < count; ++p) {
      const std::int32_t v = round_shift(sums[p], shift);
      out[2 * p + parity] = static_cast<std::int16_t>(v < -32768 ? -32768 : v > 32767 ? 32767 : v);
    }
  }
}

}  // namespace

extern const Kernels VIREO_ISA;
const Kernels VIREO_ISA{mlp_lanes, upsample_row};

}  // namespace vireo
