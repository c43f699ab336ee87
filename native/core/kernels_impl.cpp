// Compiled once per instruction set, with VIREO_ISA naming the build. Nothing of the
// standard library is called here: a template instantiated with wider instructions
// could become the copy that the linker keeps for the whole program.
#include "core/crc32c_kernel.hpp"
#include "core/filter_kernels.hpp"
#include "core/mlp_kernels.hpp"
#include "core/picture_kernels.hpp"
#include "core/prediction_kernels.hpp"
#include "core/temporal_kernels.hpp"
#include "core/upsampling_kernels.hpp"

namespace vireo {

extern const Kernels VIREO_ISA;
const Kernels VIREO_ISA{
    distributions,  synthesise,       scale_row,  pair_rows,     upsample_rows,  luma_signals,
    chroma_signals, chroma_residuals, inter_code, add_residuals, predict_blocks,
    predict_luma_blocks, blur_row, magnitude_row, logarithm_row, temporal_row, filter_row, multiply_adds,
    kVector, kCrc32c,
};

}  // namespace vireo
