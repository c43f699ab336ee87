#include "core/kernels.hpp"

namespace vireo {

extern const Kernels kKernelsBaseline;
#if VIREO_X86_KERNELS
extern const Kernels kKernelsAvx2;
extern const Kernels kKernelsAvx512;
#endif

namespace {

const Kernels& kernels_of(Isa isa) {
#if VIREO_X86_KERNELS
  if (isa == Isa::kAvx512) return kKernelsAvx512;
  if (isa == Isa::kAvx2) return kKernelsAvx2;
#endif
  (void)isa;
  return kKernelsBaseline;
}

Isa best_isa() {
  if (has_isa(Isa::kAvx512)) return Isa::kAvx512;
  return has_isa(Isa::kAvx2) ? Isa::kAvx2 : Isa::kBaseline;
}

const Kernels*& current() {
  static const Kernels* chosen = &kernels_of(best_isa());
  return chosen;
}

}  // namespace

bool has_isa(Isa isa) {
#if VIREO_X86_KERNELS
  if (isa == Isa::kAvx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (isa == Isa::kAvx2) return __builtin_cpu_supports("avx2");
#endif
  return isa == Isa::kBaseline;
}

const Kernels& kernels() { return *current(); }

void force_isa(Isa isa) { current() = &kernels_of(isa); }

IntegerMlp::IntegerMlp(const QuantisedMlp& quantised, int input_bits) {
  const std::int32_t* p = quantised.parameters.data();
  int bits = input_bits;
  for (std::size_t l = 0; l < quantised.layers(); ++l) {
    Layer layer{quantised.widths[l], quantised.widths[l + 1], 0, {}, {}};
    const int sum_bits = bits + quantised.weight_bits;
    layer.weights.assign(p, p + layer.inputs * layer.outputs);
    p += layer.inputs * layer.outputs;
    for (int o = 0; o < layer.outputs; ++o)
      layer.biases.push_back(round_shift(*p++, quantised.bias_bits - sum_bits));
    if (l + 1 < quantised.layers()) {
      bits = quantised.hidden_bits[l];
      layer.shift = sum_bits - bits;
    }
    accumulator_bits = sum_bits;
    layers.push_back(std::move(layer));
  }
}

}  // namespace vireo
