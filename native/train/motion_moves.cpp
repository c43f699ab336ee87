#include "train/motion_moves.hpp"

#include <algorithm>
#include <utility>

namespace vireo::train {

namespace {

constexpr float kLeastMeasured = 9e-4f;  // lambda from which on the measured price is taken

}  // namespace

MotionMoves::MotionMoves(const PictureView& target, const std::vector<PictureView>& references,
                         const MotionSettings& settings)
    : pictures_(target, references, settings.lambda),
      lambda_(settings.lambda),
      first_(settings.first),
      grids_(settings.grids),
      state_(make_state({})),
      bits_(state_.fields, settings.probabilities) {
  for (const PictureView& r : references) matches_.push_back(match_blocks(target[0], r[0]));
}

MotionState MotionMoves::make_state(const InheritedMotion& inherited) const {
  MotionFields fields(pictures_.height, pictures_.width,
                      static_cast<int>(pictures_.references.size()), first_, grids_, inherited);
  SquareCosts costs(pictures_, fields, true);
  MotionState state{std::move(fields), std::move(costs), {}, {}};
  state.seen.resize(state.fields.count());
  for (int k = first_; k <= state.fields.coarsest(); ++k) {
    const std::size_t cells = state.fields.grid(0, k).samples.size();
    for (auto& field : state.seen) field.emplace_back(cells, -1);
    state.chosen.emplace_back(cells, -1);
  }
  return state;
}

void MotionMoves::begin(const InheritedMotion& inherited) {
  bits_.reset(true);
  state_ = make_state(inherited);
}

void MotionMoves::leave_guide() {
  if (state_.fields.references() == 1 || lambda_ < kLeastMeasured) return;
  state_.costs = SquareCosts(pictures_, state_.fields, false);
  for (auto& field : state_.seen)
    for (auto& grid : field) std::fill(grid.begin(), grid.end(), -1);
}

void MotionMoves::predict_nothing() {
  MotionFields& fields = state_.fields;
  fields.for_places(fields.coarsest(),
                    [&](const Place& at) { fields.add(fields.alpha(), at, kNothing); });
  state_.costs.update_blending(fields, pictures_.everything());
}

}  // namespace vireo::train
