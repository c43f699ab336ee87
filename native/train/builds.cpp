// Which of the kernels' builds runs here.
#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "train/frame_trainer.hpp"
#include "train/motion_kernels.hpp"
#include "train/orthogonal.hpp"
#include "train/representation_kernels.hpp"

namespace vireo::train {

namespace baseline {
extern const MotionKernels motion_kernels;
}
#if defined(VIREO_X86_KERNELS)
namespace avx2 {
extern const MotionKernels motion_kernels;
}
#endif

namespace {

bool runs(const std::string& name) {
#if defined(VIREO_X86_KERNELS)
  if (name == "avx512") {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
  if (name == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return name == "baseline";
}

const Kernels* const BUILDS[] = {
#if defined(VIREO_X86_KERNELS)
    &avx512::kernels,
    &avx2::kernels,
#endif
    &baseline::kernels,
};

const RepresentationKernels* const REPRESENTATION_BUILDS[] = {
#if defined(VIREO_X86_KERNELS)
    &avx512::representation_kernels,
    &avx2::representation_kernels,
#endif
    &baseline::representation_kernels,
};

const OrthogonalKernel* const ORTHOGONAL_BUILDS[] = {
#if defined(VIREO_X86_KERNELS)
    &avx512::orthogonal_kernel,
    &avx2::orthogonal_kernel,
#endif
    &baseline::orthogonal_kernel,
};

template <class Builds>
const auto& chosen(const Builds& builds, const std::string& name) {
  for (const auto* build : builds) {
    if ((name.empty() || name == build->name) && runs(build->name)) return *build;
  }
  throw std::invalid_argument("this machine has no kernels named '" + name + "'");
}

}  // namespace

const MotionKernels& motion_kernels() {
#if defined(VIREO_X86_KERNELS)
  static const MotionKernels& best =
      runs("avx2") ? avx2::motion_kernels : baseline::motion_kernels;
  return best;
#else
  return baseline::motion_kernels;
#endif
}

const Kernels& choose_kernels(const std::string& name) { return chosen(BUILDS, name); }

const RepresentationKernels& choose_representation_kernels(const std::string& name) {
  return chosen(REPRESENTATION_BUILDS, name);
}

const OrthogonalKernel& choose_orthogonal_kernel(const std::string& name) {
  return chosen(ORTHOGONAL_BUILDS, name);
}

std::vector<std::string> available_kernels() {
  std::vector<std::string> names;
  for (const Kernels* build : BUILDS) {
    if (runs(build->name)) names.emplace_back(build->name);
  }
  return names;
}

double measure_peak(const std::string& isa) {
  using Clock = std::chrono::steady_clock;
  const Kernels& kernels = choose_kernels(isa);
  constexpr std::int64_t ROUNDS = 1000000;
  double best = 0;
  volatile float factor = 0.5f;
  for (int i = 0; i < 20; ++i) {
    float result = factor;
    const auto start = Clock::now();
    kernels.multiply_adds(ROUNDS, &result);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    factor = result > 0 ? 0.5f : 0.25f;  // the result is needed
    best = std::max(best, static_cast<double>(ROUNDS) * kernels.round / seconds);
  }
  return best;
}

}  // namespace vireo::train
