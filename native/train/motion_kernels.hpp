// What the motion search spends its time in, built once per instruction set.
#pragma once

#include <array>
#include <cstdint>

#include "core/coolchic.hpp"
#include "train/coefficient_price.hpp"

namespace vireo::train {

// The side of the squares whose cost is estimated: four blocks of the prediction.
constexpr int kSquare = 8;
constexpr int kSquareLuma = kSquare * kSquare;
// Luma in raster order, then rows of chroma: four samples of U, four of V.
constexpr int kSquareSamples = kSquareLuma + kSquareLuma / 2;

// Of a square's Y, U and V, as coefficients of orthonormal transforms.
using Means = std::array<float, 3>;

// A square's residual, samples between 0 and 1: what coding it costs apart from its means, in
// squares of samples.
struct Residual {
  float detail;
  Means means;
};

// How a square's luma residual answers to a shift of one of its predictions, in its own units
// (samples between 0 and 1, shifts in samples): sums of products of slopes, of slopes and the
// residual, and the residual's energy.
struct Slopes {
  float xx, xy, yy, xr, yr, energy;
};

struct MotionKernels {
  // Predicts the square at (x, y), even, from the planes Y, U, V, in 1/64 sample value; the
  // vectors of its four blocks, in raster order, are in 1/64 sample of luma.
  void (*predict)(const PlaneView* planes, int x, int y, const std::int32_t* vx,
                  const std::int32_t* vy, std::int16_t* out);
  // What is left of `target` (1/64 sample value) after the prediction, which is the
  // sum of the two weighted by a block's pair of weights (4096 is one, the first one in the low
  // half). Of a square at the border, the first `rows` and `columns` of luma count, both even.
  Residual (*residual)(const std::int16_t* target, const std::int16_t* first,
                       const std::int16_t* second, const std::int32_t* weights, int rows,
                       int columns, const CoefficientPrice& price);
  // Of the prediction from the first reference, or the second one.
  Slopes (*slopes)(const std::int16_t* target, const std::int16_t* first,
                   const std::int16_t* second, const std::int32_t* weights, bool of_second);
  // Sum of absolute differences of two squares.
  int (*difference)(const std::uint8_t* a, std::ptrdiff_t a_stride, const std::uint8_t* b,
                    std::ptrdiff_t b_stride);
};

const MotionKernels& motion_kernels();

}  // namespace vireo::train
