// Motion and blending in the configurations with fields: the latents themselves, found by what
// they and the residual would cost.
#pragma once

#include <cstdint>
#include <vector>

#include "core/coolchic.hpp"

namespace vireo::train {

struct MotionSettings {
  // What a bit costs, in squared differences of one sample, samples between 0 and 1.
  float lambda;
  int first, grids;  // of a field's grids
  const std::uint16_t* probabilities;  // of motion's decisions, as in vireo::Parts
  const InheritedMotion* inherited = nullptr;  // what vectors may begin with
  bool always = false;  // they do
};

struct FoundMotion {
  Latents latents;
  bool inherits;  // whether vectors begin with what is inherited
  double cost;    // the search's own
};

// The fields' grids in the order of a frame's latents: x0, y0, alpha from one reference, x0,
// y0, x1, y1, alpha, beta from two, the finest grid of each first.
FoundMotion search_motion(const PictureView& target, const std::vector<PictureView>& references,
                          const MotionSettings& settings);

}  // namespace vireo::train
