#include "core/upsampling.hpp"

#include <algorithm>

namespace vireo {
namespace {

constexpr int kRing = 8;  // at least the input rows that reach an output
static_assert(kRing >= kMaxKernel / 2, "a kernel's rows fit");

}  // namespace

GridUpsampler::GridUpsampler(const UpsamplingKernel& kernel, const Latents& latents, int grid,
                             int level, int top, int latent_bits)
    : kernel_(kernel),
      latents_(latents[static_cast<std::size_t>(grid)]),
      latent_bits_(latent_bits) {
  const auto width = static_cast<std::size_t>(latents_.width + kSlack);
  for (auto& row : latent_rows_) row.assign(width, 0);
  for (int k = level; k > top; --k) {
    const auto& in = latents[static_cast<std::size_t>(k)];
    Stage stage{in.height, in.width, first_row(), {}, {}, {}, true, {true, true, true, true}};
    stage.pairs.assign(kRing * pair_stride(stage), 0);
    stage.out.assign(2 * kOutRows * out_stride(stage), 0);
    stage.empty.assign(kRing, 1);
    stages_.push_back(std::move(stage));
  }
  zeros_.assign(static_cast<std::size_t>(latents[static_cast<std::size_t>(top)].width + kSlack), 0);
}

int GridUpsampler::first_row() const {
  return ((kernel_.taps - 1) >> 1) - 2 * (kernel_.pairs - 1);
}

std::size_t GridUpsampler::pair_stride(const Stage& stage) const {
  return static_cast<std::size_t>(stage.width + 2 * kernel_.taps + 2 * kSlack);
}

std::int32_t* GridUpsampler::pairs_of(Stage& stage, int i) const {
  return stage.pairs.data() + static_cast<std::size_t>(i & (kRing - 1)) * pair_stride(stage) +
         kernel_.taps;
}

std::size_t GridUpsampler::out_stride(const Stage& stage) const {
  return static_cast<std::size_t>(2 * (stage.width + kSlack));
}

std::int16_t* GridUpsampler::out_rows(Stage& stage, int i) const {
  return stage.out.data() + static_cast<std::size_t>(2 * (i & (kOutRows - 1))) * out_stride(stage);
}

DenseRow GridUpsampler::latent_row(int y) {
  std::int16_t* out = latent_rows_[y & 1].data();
  const bool any = kernels().scale_row(latents_.row(y), latent_bits_, latents_.width, out);
  return {out, !any};
}

DenseRow GridUpsampler::row_of(std::size_t count, int y) {
  if (count == 0) return latent_row(y);
  Stage& stage = stages_[count - 1];
  const int at = y + kernel_.taps - 1;
  while (stage.next <= at >> 1) advance(count - 1);
  if (stage.out_empty[(at >> 1) & (kOutRows - 1)]) return {zeros_.data(), true};
  return {out_rows(stage, at >> 1) + static_cast<std::size_t>(at & 1) * out_stride(stage), false};
}

void GridUpsampler::advance(std::size_t index) {
  Stage& stage = stages_[index];
  const bool first = stage.next == first_row();
  const int i = stage.next++;
  const auto slot = [](int row) { return static_cast<std::size_t>(row & (kRing - 1)); };
  const DenseRow row = row_of(index, std::clamp(i, 0, stage.height - 1));
  if (first) stage.above_empty = row.empty;
  std::int32_t* pairs = pairs_of(stage, i);
  if (row.empty && stage.above_empty) {
    if (!stage.empty[slot(i)]) std::fill_n(pairs - kernel_.taps, pair_stride(stage), 0);
    stage.empty[slot(i)] = 1;
  } else {
    kernels().pair_rows(row.values, pairs_of(stage, i - 1), stage.width, pairs);
    if (first) kernels().pair_rows(row.values, pairs, stage.width, pairs);
    std::fill_n(pairs - kernel_.taps, kernel_.taps, pairs[0]);
    std::fill_n(pairs + stage.width, kernel_.taps, pairs[stage.width - 1]);
    stage.empty[slot(i)] = 0;
  }
  stage.above_empty = row.empty;

  const std::int32_t* rows[kRing / 2];
  bool empty = true;
  for (int j = 0; j < kernel_.pairs; ++j) {
    rows[j] = pairs_of(stage, i - 2 * j);
    empty = empty && stage.empty[slot(i - 2 * j)];
  }
  stage.out_empty[i & (kOutRows - 1)] = empty;
  if (empty) return;
  std::int16_t* out = out_rows(stage, i);
  kernels().upsample_rows(kernel_, rows, stage.width, out, out + out_stride(stage));
}

}  // namespace vireo
