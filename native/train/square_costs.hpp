// A picture's squares as its fields predict them, and what their residuals would cost.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/coolchic.hpp"
#include "train/motion_fields.hpp"
#include "train/motion_kernels.hpp"
#include "train/padded.hpp"

namespace vireo::train {

// What does not change in a search.
struct MotionPictures {
  int height, width;
  int rows, columns;                 // squares
  std::vector<std::int16_t> target;  // square by square, in 1/64 sample value
  std::vector<std::array<Padded, 3>> references;
  float lambda;

  MotionPictures(const PictureView& target, const std::vector<PictureView>& references, float lambda);
  Region everything() const { return {0, rows, 0, columns}; }
};

// What a square's prediction is mixed from: the sum of two, by a block's pair of weights.
struct Mixture {
  const std::int16_t *first, *second;
  std::int32_t weights[4];
};

// Costs are squares of samples between 0 and 1, with lambda for a bit; those of residuals are of
// the coefficients of transforms, either by the price that guides a search or by the one that was
// measured (CoefficientPrice).
class SquareCosts {
 public:
  SquareCosts(const MotionPictures& pictures, const MotionFields& fields, bool guides);

  // A coefficient that costs more than this is coded with it as its distortion.
  float floor() const { return price_.floor; }

  float of(const Region& region) const;
  // Of all squares.
  double total() const;
  // Grows by what costs change, in either direction.
  double activity(const Region& region) const;

  Mixture mixture(int row, int column) const;
  // Puts another prediction or other blending into a mixture.
  void replace(Mixture& mixture, std::size_t reference, const std::int16_t* prediction) const {
    (reference == 0 ? mixture.first : mixture.second) = prediction;
  }
  static void blend(Mixture& mixture, const std::int32_t (&alpha)[4], const std::int32_t (&beta)[4]);
  void predict(std::size_t reference, int row, int column, const std::int32_t (&vx)[4],
               const std::int32_t (&vy)[4], std::int16_t* out) const;

  // By how much the cost would change if some of the region's squares did: hypothesis(row,
  // column, mixture) says what a square would be mixed from, or false if it would stay as it
  // is. Infinite if it is more than `limit`, or seems so.
  template <class Hypothesis>
  float trial(const Region& region, Hypothesis&& hypothesis, float limit) const;

  // The fields have changed in a region: vectors to a reference, or blending.
  void update_vectors(const MotionFields& fields, std::size_t reference, const Region& region);
  void update_blending(const MotionFields& fields, const Region& region);

  // How a square's residual answers to a shift of a reference.
  const Slopes& slopes(std::size_t reference, int row, int column) const;
  // What other blending could save in a square, at most: no prediction at all, or another
  // mixture of two.
  float saved_by_alpha(int row, int column) const;
  float saved_by_beta(int row, int column) const;

 private:
  // A value that holds as long as a square's activity is the same.
  template <class T>
  struct Cached {
    double activity = -1;
    T value;
  };

  std::size_t index(int row, int column) const {
    return static_cast<std::size_t>(row * pictures_->columns + column);
  }
  const std::int16_t* prediction(std::size_t reference, int row, int column) const {
    return predictions_[reference].data() + index(row, column) * kSquareSamples;
  }
  Residual residual(int row, int column, const Mixture& m) const;
  float coefficient_cost(float coefficient, const Curve& curve) const;
  // What means' neighbours don't tell of them; that is what they cost.
  Means excess(const std::vector<Means>& means, int row, int column) const;
  float cost(const Means& excess) const;
  // The region and the squares whose means' costs it touches.
  Region grown(const Region& region) const;
  void update(const Region& region);

  const MotionPictures* pictures_;
  CoefficientPrice price_;
  std::vector<std::int16_t> predictions_[2];
  std::vector<std::int32_t> weights_;  // four a square
  std::vector<float> details_, mean_costs_;
  std::vector<Means> means_, excesses_;
  std::vector<double> activity_;
  std::vector<float> unpredicted_;  // details of the target itself
  mutable std::vector<Means> trial_means_;  // equal to means_ between trials
  mutable std::vector<Cached<Slopes>> slopes_[2];
  mutable std::vector<Cached<float>> by_beta_;
};

template <class Hypothesis>
float SquareCosts::trial(const Region& region, Hypothesis&& hypothesis, float limit) const {
  constexpr float infinite = std::numeric_limits<float>::max();
  // Where one quarter of the squares says that so many bits are lost, the others aren't asked.
  constexpr float refusal = 32;
  float rest = 0;  // of what squares cost that have not been looked at
  for (int y = region.top; y < region.bottom; ++y)
    for (int x = region.left; x < region.right; ++x) rest += details_[index(y, x)];
  float change = 0;
  bool over = false, any = false;
  for (int quarter = 0; quarter < 4 && !over; ++quarter) {
    const int down = quarter & 1, across = (quarter & 1) ^ (quarter >> 1);
    for (int row = region.top + down; row < region.bottom && !over; row += 2)
      for (int column = region.left + across; column < region.right && !over; column += 2) {
        const std::size_t at = index(row, column);
        rest -= details_[at];
        Mixture m;
        if (!hypothesis(row, column, m)) continue;
        const Residual r = residual(row, column, m);
        trial_means_[at] = r.means;
        any = true;
        change += r.detail - details_[at];
        over = change - rest > limit;
      }
    over = over || change > refusal * pictures_->lambda;
  }
  if (!any) return 0;
  if (over) {
    change = infinite;
  } else {
    const Region all = grown(region);
    for (int y = all.top; y < all.bottom; ++y)
      for (int x = all.left; x < all.right; ++x) {
        const Means e = excess(trial_means_, y, x);
        if (e != excesses_[index(y, x)]) change += cost(e) - mean_costs_[index(y, x)];
      }
  }
  for (int y = region.top; y < region.bottom; ++y)
    std::copy_n(means_.data() + index(y, region.left), region.right - region.left,
                trial_means_.data() + index(y, region.left));
  return change;
}

}  // namespace vireo::train
