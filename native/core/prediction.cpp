#include "core/prediction.hpp"

#include <algorithm>
#include <cassert>
#include <functional>

#include "core/kernels.hpp"

namespace vireo {
namespace {

constexpr int kFieldBits = 8;   // fractional bits of a field on its way up
constexpr int kVectorShift = 4; // a vector's latent is a quarter sample, a vector 1/64
constexpr int kAlphaShift = 3, kBetaShift = 4;
constexpr std::int32_t kAlphaZero = 80, kBetaZero = 32;  // of latents that are 0

int size_at(int size, int grid) { return (size + (1 << grid) - 1) >> grid; }

// Twice as large and cropped: bilinear, samples in the middle of their cells.
Plane<std::int32_t> doubled(const Plane<std::int32_t>& in, int height, int width) {
  Plane<std::int32_t> out(height, width);
  std::vector<std::int32_t> padded(static_cast<std::size_t>(in.width) + 2);
  for (int y = 0; y < height; ++y) {
    const std::int32_t* near = in.row(y >> 1);
    const std::int32_t* far = in.row(std::clamp((y >> 1) + (y & 1 ? 1 : -1), 0, in.height - 1));
    for (int x = 0; x < in.width; ++x) padded[static_cast<std::size_t>(x) + 1] = 3 * near[x] + far[x];
    padded.front() = padded[1];
    padded.back() = padded[static_cast<std::size_t>(in.width)];
    std::int32_t* row = out.row(y);
    const std::int32_t* p = padded.data() + 1;
    for (int x = 0; x < width / 2; ++x) {
      row[2 * x] = (3 * p[x] + p[x - 1] + 8) >> 4;
      row[2 * x + 1] = (3 * p[x] + p[x + 1] + 8) >> 4;
    }
    if (width & 1) row[width - 1] = (3 * p[width / 2] + p[width / 2 - 1] + 8) >> 4;
  }
  return out;
}

Plane<std::int32_t> dense_field(const Plane<std::int16_t>* grids, int count, int first, int height,
                                int width) {
  Plane<std::int32_t> field(grids[count - 1].height, grids[count - 1].width);
  for (int k = first + count - 1;; --k) {
    if (k >= first && k >= kSmoothLevel) {
      const std::int16_t* q = grids[k - first].samples.data();
      for (std::int32_t& v : field.samples) v += *q++ * (1 << kFieldBits);
    }
    if (k == kBlockLog2) break;
    field = doubled(field, size_at(height, k - 1), size_at(width, k - 1));
  }
  for (int k = first; k < std::min(first + count, kSmoothLevel); ++k) {
    const int shift = k - kBlockLog2;
    for (int y = 0; y < field.height; ++y) {
      const std::int16_t* q = grids[k - first].row(y >> shift);
      std::int32_t* row = field.row(y);
      for (int x = 0; x < field.width; ++x) row[x] += q[x >> shift] * (1 << kFieldBits);
    }
  }
  return field;
}

}  // namespace

BlockFields block_fields(const Latents& fields, int count_fields, int grids_per_field,
                         int motion_first, int height, int width,
                         const InheritedMotion& inherited) {
  BlockFields result{size_at(height, kBlockLog2), size_at(width, kBlockLog2), {}};
  const int vectors = count_fields / 3 * 2;
  for (int f = 0; f < count_fields; ++f) {
    Plane<std::int32_t> field =
        dense_field(fields.data() + f * grids_per_field, grids_per_field, motion_first, height, width);
    if (f < vectors) {
      for (std::int32_t& v : field.samples) v = round_shift(v, kVectorShift);
      if (!inherited.empty())
        std::transform(field.samples.begin(), field.samples.end(),
                       inherited[static_cast<std::size_t>(f)].samples.begin(),
                       field.samples.begin(), std::plus<>());
    } else if (f == vectors) {
      for (std::int32_t& v : field.samples)
        v = std::clamp(kAlphaZero + round_shift(v, kAlphaShift), 0, kBlendOne);
    } else {
      for (std::int32_t& v : field.samples)
        v = std::clamp(kBetaZero + round_shift(v, kBetaShift), 0, kBlendOne);
    }
    result.values.push_back(std::move(field));
  }
  return result;
}

BlockFields frame_fields(const Architecture& architecture, const Latents& latents, int references,
                         const InheritedMotion& inherited) {
  const Parts& parts = *architecture.parts;
  const auto first = static_cast<std::ptrdiff_t>(architecture.latent_grids(0).size());
  const Latents fields(latents.begin() + first, latents.end());
  return block_fields(fields, 3 * references, parts.motion_grids, parts.motion_first,
                      latents[0].height, latents[0].width, inherited);
}

Predictor::Predictor(const BlockFields& fields, const std::vector<PictureView>& references,
                     int height, int width)
    : fields_(fields),
      references_(references),
      stride_(static_cast<std::size_t>((width + kSlack - 1) / kSlack * kSlack)) {
  assert(fields.rows == size_at(height, kBlockLog2) && fields.columns == size_at(width, kBlockLog2));
  (void)height;
}

BlockRow Predictor::block_row(int number) const {
  BlockRow row{};
  row.row = number;
  row.columns = fields_.columns;
  row.references = static_cast<int>(references_.size());
  for (std::size_t f = 0; f < fields_.values.size(); ++f)
    row.fields[f] = fields_.values[f].row(number);
  for (std::size_t r = 0; r < references_.size(); ++r)
    for (std::size_t c = 0; c < 3; ++c) row.planes[r][c] = references_[r][c];
  row.stride = stride_;
  return row;
}

void Predictor::rows(int number, std::int16_t* y, std::int16_t* u, std::int16_t* v) const {
  BlockRow row = block_row(number);
  row.out[0] = y;
  row.out[1] = u;
  row.out[2] = v;
  kernels().predict_blocks(row);
}

void Predictor::luma_rows(int number, std::int16_t* y,
                          const std::array<std::int16_t*, 2>& single) const {
  BlockRow row = block_row(number);
  row.out[0] = y;
  row.single[0] = single[0];
  row.single[1] = single[1];
  kernels().predict_luma_blocks(row);
}

}  // namespace vireo
