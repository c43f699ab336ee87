// One build of the kernels: CMake compiles this file once per instruction set, with
// VIREO_ISA naming the namespace. Nothing here may come from a header with external inline
// functions: the linker would keep one build's copy for all of them.
#include "train/kernels.hpp"

#include "train/arm.hpp"
#include "train/latents.hpp"
#include "train/picture.hpp"

#define VIREO_TEXT_(x) #x
#define VIREO_TEXT(x) VIREO_TEXT_(x)

namespace vireo::train::VIREO_ISA {

// Twelve chains of multiply-adds hide their latency and fit in registers of every build.
static void multiply_adds(std::int64_t rounds, float* result) {
  Vf chains[12];
  for (int i = 0; i < 12; ++i) chains[i] = splat(static_cast<float>(i));
  const Vf factor = splat(*result), term = splat(1.0f);
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (Vf& chain : chains) chain = chain * factor + term;
  }
  for (const Vf& chain : chains) *result += sum(chain);
}

static void mlp_forward(const Mlp& mlp, const float* const* inputs, float* memory, int lanes) {
  Activations a;
  a.place(mlp, memory, lanes);
  forward(mlp, inputs, a, lanes);
}

static const float* mlp_slopes(const Mlp& mlp, const float* const* inputs, float* memory, int lanes,
                               int output) {
  Activations a;
  a.place(mlp, memory, lanes);
  forward(mlp, inputs, a, lanes);
  const Layer& last = mlp.layers[mlp.depth - 1];
  for (int c = 0; c < last.outputs; ++c)
    for (int i = 0; i < lanes; i += W)
      store(a.rows[mlp.depth - 1][c] + i, splat(c == output ? 1.0f : 0.0f));
  float* slopes = memory + static_cast<std::ptrdiff_t>(mlp.activations) * lanes;
  float* rows[MAX_WIDTH];
  for (int c = 0; c < mlp.layers[0].inputs; ++c) rows[c] = slopes + c * lanes;
  backward(mlp, inputs, a, lanes, nullptr, rows);
  return slopes;
}

static void laplace_bits(const float* value, const float* mean, const float* log2_scale,
                         float* bits, int lanes) {
  for (int i = 0; i < lanes; i += W)
    store(bits + i, laplace(load(value + i), load(mean + i), load(log2_scale + i)).bits);
}

const Kernels kernels = {
    VIREO_TEXT(VIREO_ISA), 12 * W, multiply_adds, pack, quantise, arm,
    adam, chain_forward, chain_backward, picture,
    mlp_forward, mlp_slopes, laplace_bits,
};

}  // namespace vireo::train::VIREO_ISA
