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

const Kernels kernels = {
    VIREO_TEXT(VIREO_ISA), pack, quantise, arm, adam, chain_forward, chain_backward, picture,
};

}  // namespace vireo::train::VIREO_ISA
