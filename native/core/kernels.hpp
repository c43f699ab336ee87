// The loops that take the time, compiled once per instruction set. All of them are
// integer arithmetic modulo 2**32, so every build gives the same results.
#pragma once

#include <cstdint>
#include <vector>

#include "core/coolchic.hpp"

namespace vireo {

// A network ready to run: biases moved to the accumulators' fixed-point format.
struct IntegerMlp {
  struct Layer {
    int inputs, outputs;
    int shift;  // accumulator -> activation; unused in the last layer
    std::vector<std::int32_t> weights;  // [out][in]
    std::vector<std::int32_t> biases;
  };
  std::vector<Layer> layers;
  int accumulator_bits;  // fractional bits of the last layer's accumulators

  IntegerMlp(const QuantisedMlp& quantised, int input_bits);
};

constexpr int kLanes = 16;

struct Kernels {
  // Runs the network for kLanes samples; inputs[i] points to kLanes values of input i. The
  // last layer's accumulators go to out[o * kLanes].
  void (*mlp_lanes)(const IntegerMlp& mlp, const std::int16_t* const* inputs, std::int32_t* out);
  // One row of a plane doubled in size. `rows` points to the `taps` input rows that reach
  // it, newest first, each with `taps` samples of border on both sides; the kernel's rows
  // for them lie at kernel[j * kernel_stride]. `sums` is scratch of in_width + 1.
  void (*upsample_row)(const std::int16_t* const* rows, int taps, int in_width,
                       const std::int32_t* kernel, int kernel_stride, int shift,
                       std::int32_t* sums, std::int16_t* out, int out_width);
};

enum class Isa { kBaseline, kAvx2, kAvx512 };

// The kernels of the best instruction set that this machine has, or of the one asked for.
const Kernels& kernels();
bool has_isa(Isa isa);
void force_isa(Isa isa);  // for tests

}  // namespace vireo
