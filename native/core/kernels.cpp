#include "core/kernels.hpp"

#include <algorithm>

#include "core/stopwatch.hpp"

namespace vireo {

extern const Kernels kKernelsBaseline;
#if VIREO_X86_KERNELS
extern const Kernels kKernelsAvx2;
extern const Kernels kKernelsAvx512;
extern const Kernels kKernelsAvx512Vnni;
#endif

namespace {

const Kernels& kernels_of(Isa isa) {
#if VIREO_X86_KERNELS
  if (isa == Isa::kAvx512Vnni) return kKernelsAvx512Vnni;
  if (isa == Isa::kAvx512) return kKernelsAvx512;
  if (isa == Isa::kAvx2) return kKernelsAvx2;
#endif
  (void)isa;
  return kKernelsBaseline;
}

Isa best_isa() {
  for (const Isa isa : {Isa::kAvx512Vnni, Isa::kAvx512, Isa::kAvx2})
    if (has_isa(isa)) return isa;
  return Isa::kBaseline;
}

// Two 16-bit integers, the first one in the low half.
std::int32_t weight_pair(std::int32_t low, std::int32_t high) {
  return static_cast<std::int32_t>((static_cast<std::uint32_t>(low) & 0xFFFF) |
                                   static_cast<std::uint32_t>(high) << 16);
}

const Kernels*& current() {
  static const Kernels* chosen = &kernels_of(best_isa());
  return chosen;
}

}  // namespace

bool has_isa(Isa isa) {
#if VIREO_X86_KERNELS
  if (isa == Isa::kAvx512Vnni)
    return has_isa(Isa::kAvx512) && __builtin_cpu_supports("avx512vnni");
  if (isa == Isa::kAvx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (isa == Isa::kAvx2) return __builtin_cpu_supports("avx2");
#endif
  return isa == Isa::kBaseline;
}

const Kernels& kernels() { return *current(); }

void force_isa(Isa isa) { current() = &kernels_of(isa); }

double measure_peak() {
  constexpr int rounds = 1000000;
  constexpr int tries = 20;
  double best = 0;
  for (int i = 0; i < tries; ++i) {
    Stopwatch watch(true);
    volatile std::int32_t result = kernels().multiply_adds(rounds + i);  // is needed
    (void)result;
    best = std::max(best, rounds / watch.lap());
  }
  return best * kPeakSums * 2 * kernels().lanes;
}

IntegerMlp::IntegerMlp(const QuantisedMlp& quantised, int input_bits) {
  const std::int32_t* p = quantised.parameters.data();
  int bits = input_bits;
  for (std::size_t l = 0; l < quantised.layers(); ++l) {
    const int inputs = quantised.widths[l], outputs = quantised.widths[l + 1];
    Layer layer{inputs, outputs, 0, {}, {}};
    const int sum_bits = bits + quantised.weight_bits;
    for (int first = 0; first < outputs; first += kMlpBlock)
      for (int i = 0; i < inputs; i += 2)
        for (int o = first; o < std::min(first + kMlpBlock, outputs); ++o)
          layer.weights.push_back(
              weight_pair(p[o * inputs + i], i + 1 < inputs ? p[o * inputs + i + 1] : 0));
    p += inputs * outputs;
    for (int o = 0; o < outputs; ++o)
      layer.biases.push_back(round_shift(*p++, quantised.bias_bits - sum_bits));
    if (l + 1 < quantised.layers()) {
      bits = quantised.hidden_bits[l];
      layer.shift = sum_bits - bits;
      if (layer.shift > 0)
        for (std::int32_t& b : layer.biases) b += 1 << (layer.shift - 1);
    }
    accumulator_bits = sum_bits;
    layers.push_back(std::move(layer));
  }
}

UpsamplingKernel::UpsamplingKernel(const std::vector<std::int32_t>& samples, int side, int bits)
    : taps(side / 2), pairs((taps + 1) / 2), shift(bits) {
  const auto at = [&](int row, int column) {
    return row < side ? samples[static_cast<std::size_t>(row * side + column)] : 0;
  };
  for (int row = 0; row < 2; ++row)
    for (int column = 0; column < 2; ++column)
      for (int j = 0; j < pairs; ++j)
        for (int k = 0; k < taps; ++k) {
          const int u = row + 4 * j, v = ((column + taps - 1) & 1) + 2 * k;
          weights.push_back(weight_pair(at(u, v), at(u + 2, v)));
        }
}

}  // namespace vireo
