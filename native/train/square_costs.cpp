#include "train/square_costs.hpp"

#include <cmath>

#include "core/prediction.hpp"

namespace vireo::train {
namespace {

constexpr float kLog2 = 0.69314718f;
// Of the search's lambda: up to the first a residual costs by the root of its size, from the second on by
// its size. At low rates little of what isn't predicted is coded well.
constexpr float kByRoot = 3e-3f, kBySize = 1.2e-2f;
constexpr int kBorder = 64;  // around references, in samples of luma

}  // namespace

MotionPictures::MotionPictures(const PictureView& picture, const std::vector<PictureView>& others,
                               float bit)
    : height(picture[0].height),
      width(picture[0].width),
      rows((height + kSquare - 1) / kSquare),
      columns((width + kSquare - 1) / kSquare),
      lambda(bit) {
  target.reserve(static_cast<std::size_t>(rows * columns * kSquareSamples));
  const auto add = [&](std::size_t plane, int y, int x) {
    const PlaneView& p = picture[plane];
    y = std::min(y, p.height - 1);
    x = std::min(x, p.width - 1);
    target.push_back(static_cast<std::int16_t>(64 * p.samples[y * p.width + x]));
  };
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; ++column) {
      for (int i = 0; i < kSquareLuma; ++i)
        add(0, row * kSquare + i / kSquare, column * kSquare + i % kSquare);
      for (int i = 0; i < kSquareLuma / 2; ++i) {
        const std::size_t plane = i % kSquare < kBlock ? 1 : 2;
        add(plane, row * kBlock + i / kSquare, column * kBlock + i % kBlock);
      }
    }
  for (const PictureView& other : others)
    references.push_back({Padded(other[0], kBorder), Padded(other[1], kBorder / 2),
                          Padded(other[2], kBorder / 2)});
}

SquareCosts::SquareCosts(const MotionPictures& pictures, const MotionFields& fields,
                         bool guides)
    : pictures_(&pictures),
      price_{pictures.lambda / (2 * kLog2),
             std::clamp(std::log2(pictures.lambda / kByRoot) / std::log2(kBySize / kByRoot), 0.0f, 1.0f),
             guides, pictures.lambda} {
  const auto squares = static_cast<std::size_t>(pictures.rows * pictures.columns);
  for (auto& p : predictions_) p.resize(pictures.target.size());
  weights_.resize(4 * squares);
  for (auto* v : {&details_, &mean_costs_, &unpredicted_}) v->resize(squares);
  for (auto* v : {&means_, &excesses_, &trial_means_}) v->resize(squares);
  activity_.resize(squares);
  for (auto& s : slopes_) s.resize(squares);
  by_beta_.resize(squares);
  for (int row = 0; row < pictures.rows; ++row)
    for (int column = 0; column < pictures.columns; ++column)
      unpredicted_[index(row, column)] = residual(row, column, mixture(row, column)).detail;
  update_blending(fields, pictures.everything());
  for (std::size_t r = 0; r < pictures.references.size(); ++r)
    update_vectors(fields, r, pictures.everything());
}

float SquareCosts::of(const Region& region) const {
  float sum = 0;
  for (int y = region.top; y < region.bottom; ++y)
    for (int x = region.left; x < region.right; ++x)
      sum += details_[index(y, x)] + mean_costs_[index(y, x)];
  return sum;
}

double SquareCosts::total() const {
  double sum = 0;
  for (const float c : details_) sum += c;
  for (const float c : mean_costs_) sum += c;
  return sum;
}

double SquareCosts::activity(const Region& region) const {
  double sum = 0;
  for (int y = region.top; y < region.bottom; ++y)
    for (int x = region.left; x < region.right; ++x) sum += activity_[index(y, x)];
  return sum;
}

Mixture SquareCosts::mixture(int row, int column) const {
  Mixture m{prediction(0, row, column), prediction(1, row, column), {}};
  std::copy_n(weights_.data() + 4 * index(row, column), 4, m.weights);
  return m;
}

void SquareCosts::blend(Mixture& mixture, const std::int32_t (&alpha)[4],
                        const std::int32_t (&beta)[4]) {
  for (int b = 0; b < 4; ++b)
    mixture.weights[b] = (alpha[b] * beta[b]) | (alpha[b] * (kBlendOne - beta[b])) << 16;
}

void SquareCosts::predict(std::size_t reference, int row, int column, const std::int32_t (&vx)[4],
                          const std::int32_t (&vy)[4], std::int16_t* out) const {
  PlaneView planes[3];
  for (std::size_t p = 0; p < 3; ++p) planes[p] = pictures_->references[reference][p].view();
  motion_kernels().predict(planes, column * kSquare + kBorder, row * kSquare + kBorder, vx, vy, out);
}

Residual SquareCosts::residual(int row, int column, const Mixture& m) const {
  return motion_kernels().residual(pictures_->target.data() + index(row, column) * kSquareSamples,
                                   m.first, m.second, m.weights, pictures_->height - row * kSquare,
                                   pictures_->width - column * kSquare, price_);
}

float SquareCosts::coefficient_cost(float coefficient, const Curve& curve) const {
  const float size = std::abs(coefficient);
  if (!price_.guides) {
    const float edge = curve.edge * std::sqrt(price_.lambda);
    if (size <= edge) return size * size;
    return edge * edge + price_.lambda * curve.slope * std::log2(size / edge);
  }
  const float least = std::sqrt(price_.floor);
  if (size <= least) return size * size;
  const float by_root = 4 * std::sqrt(least * size) - 3 * least, by_size = 2 * size - least;
  return least * (by_root + price_.size_share * (by_size - by_root));
}

float SquareCosts::cost(const Means& excess) const {
  return coefficient_cost(excess[0], kLumaMean) + coefficient_cost(excess[1], kChromaMean) +
         coefficient_cost(excess[2], kChromaMean);
}

Means SquareCosts::excess(const std::vector<Means>& means, int row, int column) const {
  const std::size_t at = index(row, column), stride = static_cast<std::size_t>(pictures_->columns);
  Means sum{};
  float count = 0;
  const auto add = [&](bool there, std::size_t neighbour) {
    if (!there) return;
    for (std::size_t p = 0; p < 3; ++p) sum[p] += means[neighbour][p];
    count += 1;
  };
  add(row > 0, at - stride);
  add(row + 1 < pictures_->rows, at + stride);
  add(column > 0, at - 1);
  add(column + 1 < pictures_->columns, at + 1);
  Means result = means[at];
  for (std::size_t p = 0; p < 3 && count > 0; ++p) result[p] -= sum[p] / count;
  return result;
}

Region SquareCosts::grown(const Region& region) const {
  return {std::max(region.top - 1, 0), std::min(region.bottom + 1, pictures_->rows),
          std::max(region.left - 1, 0), std::min(region.right + 1, pictures_->columns)};
}

void SquareCosts::update(const Region& region) {
  for (int row = region.top; row < region.bottom; ++row)
    for (int column = region.left; column < region.right; ++column) {
      const std::size_t at = index(row, column);
      const Residual r = residual(row, column, mixture(row, column));
      activity_[at] += std::abs(r.detail - details_[at]);
      for (std::size_t p = 0; p < 3; ++p) activity_[at] += std::abs(r.means[p] - means_[at][p]);
      details_[at] = r.detail;
      means_[at] = trial_means_[at] = r.means;
    }
  const Region all = grown(region);
  for (int row = all.top; row < all.bottom; ++row)
    for (int column = all.left; column < all.right; ++column) {
      const Means e = excess(means_, row, column);
      if (e == excesses_[index(row, column)]) continue;
      excesses_[index(row, column)] = e;
      mean_costs_[index(row, column)] = cost(e);
    }
}

void SquareCosts::update_vectors(const MotionFields& fields, std::size_t reference,
                                 const Region& region) {
  for (int row = region.top; row < region.bottom; ++row)
    for (int column = region.left; column < region.right; ++column) {
      std::int32_t vx[4], vy[4];
      fields.values(2 * reference, row, column, vx);
      fields.values(2 * reference + 1, row, column, vy);
      predict(reference, row, column, vx, vy,
              predictions_[reference].data() + index(row, column) * kSquareSamples);
    }
  update(region);
}

void SquareCosts::update_blending(const MotionFields& fields, const Region& region) {
  for (int row = region.top; row < region.bottom; ++row)
    for (int column = region.left; column < region.right; ++column) {
      std::int32_t alpha[4], beta[4];
      fields.blending(row, column, alpha, beta);
      Mixture m;
      blend(m, alpha, beta);
      std::copy_n(m.weights, 4, weights_.data() + 4 * index(row, column));
    }
  update(region);
}

const Slopes& SquareCosts::slopes(std::size_t reference, int row, int column) const {
  const std::size_t at = index(row, column);
  Cached<Slopes>& cached = slopes_[reference][at];
  if (cached.activity != activity_[at]) {
    const Mixture m = mixture(row, column);
    cached.value = motion_kernels().slopes(pictures_->target.data() + at * kSquareSamples, m.first,
                                           m.second, m.weights, reference == 1);
    cached.activity = activity_[at];
  }
  return cached.value;
}

float SquareCosts::saved_by_alpha(int row, int column) const {
  const std::size_t at = index(row, column);
  return std::max(details_[at] + mean_costs_[at] - unpredicted_[at], 0.0f);
}

float SquareCosts::saved_by_beta(int row, int column) const {
  const std::size_t at = index(row, column);
  Cached<float>& cached = by_beta_[at];
  if (cached.activity != activity_[at]) {
    const std::int32_t whole[4] = {kBlendOne, kBlendOne, kBlendOne, kBlendOne};
    float least = std::numeric_limits<float>::max();
    for (const std::int32_t b : {0, kBlendOne / 2, kBlendOne}) {
      Mixture m = mixture(row, column);
      blend(m, whole, {b, b, b, b});
      least = std::min(least, residual(row, column, m).detail);
    }
    cached = {activity_[at], std::max(details_[at] + mean_costs_[at] - least, 0.0f)};
  }
  return cached.value;
}

}  // namespace vireo::train
