// Inter prediction of the configurations with fields (docs/bitstream.md, "Fields" and
// "Prediction"): latents are motion and blending themselves, one value per block.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/coolchic.hpp"
#include "core/kernels.hpp"

namespace vireo {

constexpr int kBlock = 4;          // luma samples, the side of a block; half as many of chroma
constexpr int kBlockLog2 = 2;
// Grids of a field from this level on are interpolated; a latent of a finer one holds for all
// of its cell, so that motion can end at an object's edge.
constexpr int kSmoothLevel = 5;
constexpr int kBlendOne = 64;      // alpha and beta that stand for one
constexpr std::int32_t kMaxInherited = 1 << 17;  // of what vectors begin with, in 1/64 sample
constexpr int kWeightBits = 12;    // of alpha times beta
constexpr std::int32_t kGrey = 128 * 64;  // in 1/64: what there is where nothing is predicted
// The sum of two, by their pair of weights, lacks this.
inline std::int32_t grey_and_half(std::int32_t weights) {
  return ((1 << kWeightBits) - (weights & 0xffff) - (weights >> 16)) * kGrey +
         (1 << (kWeightBits - 1));
}

// One value per block and field: x0, y0 (and x1, y1) in 1/64 luma sample, then alpha (and
// beta), 0 ... kBlendOne.
struct BlockFields {
  int rows = 0, columns = 0;
  std::vector<Plane<std::int32_t>> values;
};

// Fields of a picture from their grids: of each of three fields (P) or six (B),
// `grids_per_field` grids, finest first, the finest one 2**motion_first times smaller than
// the picture, motion_first >= kBlockLog2. Vectors are added to what is inherited.
BlockFields block_fields(const Latents& fields, int count_fields, int grids_per_field,
                         int motion_first, int height, int width,
                         const InheritedMotion& inherited = {});

// Those of a frame, whose latents these are.
BlockFields frame_fields(const Architecture& architecture, const Latents& latents, int references,
                         const InheritedMotion& inherited = {});

// What keeps a picture of this size from inheriting that motion, from so many references; null if
// nothing does.
inline const char* inherited_fault(const InheritedMotion& inherited, std::size_t references,
                                   int height, int width) {
  if (inherited.empty()) return nullptr;
  if (inherited.size() != 2 * references) return "inherited motion has two planes per reference";
  for (const Plane<std::int32_t>& plane : inherited) {
    if (plane.height != (height + kBlock - 1) / kBlock || plane.width != (width + kBlock - 1) / kBlock)
      return "inherited motion has one value per block";
    for (const std::int32_t v : plane.samples)
      if (v > kMaxInherited || v < -kMaxInherited)
        return "inherited motion is in -131072 ... 131072";
  }
  return nullptr;
}

// Predicts a picture of even size, a row of blocks at a time. Fields and references have to
// outlive it; any vector is allowed.
class Predictor {
 public:
  Predictor(const BlockFields& fields, const std::vector<PictureView>& references, int height,
            int width);

  // Samples from the start of a row in `y` to the start of the next one; in `u` and `v`, half.
  std::size_t stride() const { return stride_; }

  // Samples, in 1/64, of kBlock luma rows and kBlock / 2 chroma rows, also where a last block
  // reaches beyond the picture.
  void rows(int block_row, std::int16_t* y, std::int16_t* u, std::int16_t* v) const;
  // The same of luma alone, and what each reference alone predicts, unblended.
  void luma_rows(int block_row, std::int16_t* y, const std::array<std::int16_t*, 2>& single) const;

 private:
  BlockRow block_row(int row) const;

  const BlockFields& fields_;
  const std::vector<PictureView>& references_;
  std::size_t stride_;
};

}  // namespace vireo
