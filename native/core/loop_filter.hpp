// The loop filter: what moves a decoded picture's samples towards its source, by their
// differences from the samples around (docs/bitstream.md, "Loop filter").
#pragma once

#include <cstdint>
#include <vector>

#include "core/coolchic.hpp"

namespace vireo {

constexpr int kFilterBits = 10;   // fractional bits of weights
constexpr int kFilterReach = 3;   // rows and columns, at most
constexpr int kFilterTaps = 12;   // at most
constexpr int kFilterLimits = 3;  // at most
constexpr int kNoLimit = 255;     // of a difference

// A sample is compared with those at each place and opposite it. Differences are clamped to
// each limit in turn; with `taps` weights for each.
struct FilterShape {
  int taps;
  Offset places[kFilterTaps];
  int limits;
  std::int16_t limit[kFilterLimits];

  int weights() const { return taps * limits; }
};

constexpr FilterShape kLumaFilter{
    12,
    {{0, 1}, {0, 2}, {0, 3}, {1, -2}, {1, -1}, {1, 0}, {1, 1}, {1, 2}, {2, -1}, {2, 0}, {2, 1}, {3, 0}},
    3,
    {kNoLimit, 10, 3}};
constexpr FilterShape kChromaFilter{
    6, {{0, 1}, {0, 2}, {1, -1}, {1, 0}, {1, 1}, {2, 0}}, 2, {kNoLimit, 3}};

inline const FilterShape& filter_shape(GridKind kind) {
  return kind == kLuma ? kLumaFilter : kChromaFilter;
}

// A shape's weights ready to run.
struct FilterWeights {
  const FilterShape* shape;
  std::int32_t pairs[kFilterTaps * kFilterLimits];  // each twice, [place][limit]

  FilterWeights(const FilterShape& shape, const std::int32_t* weights);
};

Plane<std::uint8_t> filter_plane(const PlaneView& plane, const FilterWeights& weights);

// The least squares' normal equations of weights that move `decoded` towards `target`, in
// units of whole weights: sums over all samples.
struct FilterEquations {
  std::vector<std::int64_t> products;  // of the sums of differences by each other, [weight][weight]
  std::vector<std::int64_t> wanted;    // by what is missing, [weight]
};
FilterEquations filter_equations(const PlaneView& decoded, const PlaneView& target,
                                 const FilterShape& shape);

}  // namespace vireo
