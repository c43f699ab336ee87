#include "train/motion_fields.hpp"

#include <algorithm>
#include <cmath>

#include "core/prediction.hpp"
#include "train/motion_kernels.hpp"

namespace vireo::train {
namespace {

// Weights along an axis have this many fractional bits; a value has those of two, less four,
// since a vector's latent is 16 of the decoder's units.
constexpr int kReachBits = 12;
constexpr int kFieldBits = 2 * kReachBits - 4;
constexpr std::int64_t kAlphaZero = 80, kBetaZero = 32;  // of latents that are 0
constexpr int kSquareLog2 = 3;
static_assert(kSquare == 1 << kSquareLog2 && kSquare == 2 * kBlock, "a square is four blocks");

int cells(int size, int level) { return (size + (1 << level) - 1) >> level; }

}  // namespace

MotionFields::MotionFields(int height, int width, int references, int first, int grids,
                           const InheritedMotion& inherited)
    : height_(height),
      width_(width),
      first_(first),
      grids_(grids),
      alpha_(static_cast<std::size_t>(2 * references)),
      stride_(static_cast<std::size_t>(2 * cells(width, kSquareLog2))) {
  const auto blocks = static_cast<std::size_t>(2 * cells(height, kSquareLog2)) * stride_;
  for (int k = first; k <= coarsest(); ++k) {
    down_.push_back(reaches(height, k));
    across_.push_back(reaches(width, k));
  }
  for (std::size_t f = 0; f < static_cast<std::size_t>(3 * references); ++f) {
    const std::int64_t zero = f < alpha_ ? 0 : f == alpha_ ? kAlphaZero : kBetaZero;
    fields_.emplace_back(blocks, zero * (1 << kFieldBits));
    for (int k = first; k <= coarsest(); ++k) latents_.emplace_back(cells(height, k), cells(width, k));
  }
  for (std::size_t f = 0; f < inherited.size(); ++f) {
    const Plane<std::int32_t>& plane = inherited[f];
    std::int64_t* value = fields_[f].data();
    for (std::size_t i = 0; i < blocks; ++i, ++value) {
      const int row = std::min(static_cast<int>(i / stride_), plane.height - 1);
      const int column = std::min(static_cast<int>(i % stride_), plane.width - 1);
      *value = std::int64_t{plane.row(row)[column]} * (1 << kFieldBits);
    }
  }
}

std::vector<MotionFields::Reach> MotionFields::reaches(int size, int level) {
  const int count = cells(size, level), blocks = 2 * cells(size, kSquareLog2);
  std::vector<Reach> result;
  for (int i = 0; i < count; ++i) {
    std::vector<double> values(static_cast<std::size_t>(count));
    values[static_cast<std::size_t>(i)] = 1;
    for (int k = level - 1; k >= kBlockLog2; --k) {
      // Squares have all of their blocks, the picture's last ones too.
      const int n = k == kBlockLog2 ? blocks : cells(size, k);
      const int last = static_cast<int>(values.size()) - 1;
      const auto at = [&](int x) { return values[static_cast<std::size_t>(std::clamp(x, 0, last))]; };
      std::vector<double> finer;
      for (int x = 0; x < n; ++x)
        finer.push_back(level < kSmoothLevel ? at(x / 2)
                                             : 0.75 * at(x / 2) + 0.25 * at(x / 2 + (x & 1 ? 1 : -1)));
      values = std::move(finer);
    }
    values.resize(static_cast<std::size_t>(blocks), values.back());
    const auto used = [](double w) { return w > 0; };
    const auto begin = std::find_if(values.begin(), values.end(), used);
    const auto end = std::find_if(values.rbegin(), values.rend(), used).base();
    Reach reach{static_cast<int>(begin - values.begin()), {}};
    for (auto w = begin; w != end; ++w)
      reach.weights.push_back(static_cast<std::int32_t>(std::lround(*w * (1 << kReachBits))));
    result.push_back(std::move(reach));
  }
  return result;
}

std::int32_t MotionFields::rounded(std::size_t field, std::int64_t value) const {
  const auto v = static_cast<std::int32_t>((value + (1 << (kFieldBits - 1))) >> kFieldBits);
  return field < alpha_ ? v : std::clamp(v, 0, kBlendOne);
}

void MotionFields::add(std::size_t field, const Place& at, int change) {
  if (change == 0) return;
  std::int16_t& latent = latents_[field * static_cast<std::size_t>(grids_) + depth(at.level)].row(
      at.row)[at.column];
  latent = static_cast<std::int16_t>(latent + change);
  std::int64_t* row = fields_[field].data() + static_cast<std::size_t>(down(at).first) * stride_ +
                      static_cast<std::size_t>(across(at).first);
  for (const std::int32_t dy : down(at).weights) {
    const std::int64_t step = change * unit(field) * dy;
    std::int64_t* value = row;
    for (const std::int32_t dx : across(at).weights) *value++ += step * dx;
    row += stride_;
  }
}

Region MotionFields::reach(const Place& at) const {
  return {down(at).first / 2, (down(at).end() + 1) / 2, across(at).first / 2,
          (across(at).end() + 1) / 2};
}

Region MotionFields::cell(const Place& at) const {
  const int rows = cells(height_, kSquareLog2), columns = cells(width_, kSquareLog2);
  if (at.level < kSquareLog2) return {at.row / 2, at.row / 2 + 1, at.column / 2, at.column / 2 + 1};
  const int side = 1 << (at.level - kSquareLog2);
  return {at.row * side, std::min((at.row + 1) * side, rows), at.column * side,
          std::min((at.column + 1) * side, columns)};
}

float MotionFields::weight(const Place& at, int row, int column) const {
  const auto along = [](const Reach& reach, int square) {
    return static_cast<float>(reach.weight(2 * square) + reach.weight(2 * square + 1)) /
           (2 << kReachBits);
  };
  return along(down(at), row) * along(across(at), column);
}

void MotionFields::values(std::size_t field, int row, int column, std::int32_t (&out)[4]) const {
  const std::int64_t* at = fields_[field].data() + block(row, column);
  for (int i = 0; i < 4; i += 2, at += stride_) {
    out[i] = rounded(field, at[0]);
    out[i + 1] = rounded(field, at[1]);
  }
}

void MotionFields::blending(int row, int column, std::int32_t (&alpha)[4],
                            std::int32_t (&beta)[4]) const {
  values(this->alpha(), row, column, alpha);
  if (references() == 2)
    values(this->beta(), row, column, beta);
  else
    std::fill_n(beta, 4, kBlendOne);
}

void MotionFields::values_after(std::size_t field, const Place& at, int change, int row,
                                int column, std::int32_t (&out)[4]) const {
  const std::int64_t* value = fields_[field].data() + block(row, column);
  const std::int64_t left = across(at).weight(2 * column) * unit(field) * change;
  const std::int64_t right = across(at).weight(2 * column + 1) * unit(field) * change;
  for (int i = 0; i < 2; ++i, value += stride_) {
    const std::int32_t w = down(at).weight(2 * row + i);
    out[2 * i] = rounded(field, value[0] + w * left);
    out[2 * i + 1] = rounded(field, value[1] + w * right);
  }
}

std::int32_t MotionFields::middle(std::size_t field, const Region& region) const {
  const std::size_t at = block((region.top + region.bottom) / 2, (region.left + region.right) / 2);
  return rounded(field, fields_[field][at]);
}

}  // namespace vireo::train
