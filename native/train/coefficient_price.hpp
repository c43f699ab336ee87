// What a coefficient of a square's residual costs in the motion search.
#pragma once

namespace vireo::train {

// In squares of samples between 0 and 1, with lambda for a bit.
struct CoefficientPrice {
  // The guide ties the search to what is better, far from its end too. A coefficient c costs c^2 up to
  // the distortion D that coded ones are left with, and from there on 4 sqrt(D^1.5 |c|) - 3 D, or in
  // part 2 sqrt(D) |c| - D. (Its logarithm, which is what an ideal code would spend, lets a search be
  // content with squares that are far off.)
  float floor;       // D
  float size_share;  // of the latter
  bool guides;  // else a coefficient costs what those of coded squares were found to (`Curve`)
  float lambda;
};

// Of coefficients in units of sqrt(lambda): c^2 up to an edge, and from there on
// edge^2 + slope log2(c / edge), in units of lambda. By 110,592 squares of P and B frames of a training
// set, at six qualities: their errors and bits over the coefficients of what was predicted (there in
// units of what a bit costs in coding, 3/4 of the search's lambda; docs/results/standard.md).
struct Curve {
  float edge, slope;
};
constexpr Curve kLumaMean{1.6f, 0.5f}, kChromaMean{1.2f, 0.5f}, kChromaDetail{2.1f, 1.0f};
// By the sum of a coefficient's frequencies, 0 ... 14.
constexpr Curve luma_detail(int frequency) {
  return frequency < 4 ? Curve{2.0f, 0.6f} : frequency < 6 ? Curve{2.2f, 1.5f} : Curve{2.35f, 2.0f};
}

}  // namespace vireo::train
