// Which of the kernels' builds runs here.
#include <stdexcept>

#include "train/frame_trainer.hpp"

namespace vireo::train {

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

}  // namespace

const Kernels& choose_kernels(const std::string& name) {
  for (const Kernels* build : BUILDS) {
    if ((name.empty() || name == build->name) && runs(build->name)) return *build;
  }
  throw std::invalid_argument("this machine has no kernels named '" + name + "'");
}

std::vector<std::string> available_kernels() {
  std::vector<std::string> names;
  for (const Kernels* build : BUILDS) {
    if (runs(build->name)) names.emplace_back(build->name);
  }
  return names;
}

}  // namespace vireo::train
