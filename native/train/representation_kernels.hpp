// What training and decoding of an NVRC network spend their time in, built once per instruction
// set. Features are planes, one for each channel, with a border of zeros of one sample.
#pragma once

#include <cstddef>
#include <string>

#include "train/kernels.hpp"

namespace vireo::train {

// Floats that kernels may read or write behind the last that is asked for.
constexpr int kBehind = 128;

// Channels of features: a channel's sample (y, x) is at channel * size + y * stride + x of
// `origin`; (-1, -1) to (height, width) are there.
struct FeaturePlanes {
  float* origin;
  int height, width;
  std::ptrdiff_t stride, size;

  float* row(int channel, int y) const { return origin + channel * size + y * stride; }
};

// A unit as ConvNeXt has it: a depthwise convolution of 3x3, normalisation over channels, a layer
// that makes them more, gelu, one that makes them fewer, and a way around where both ends are
// equally wide. The scale and shift of the normalisation are in the layer behind it.
struct Unit {
  int inputs, hidden, outputs;
  const float *depthwise, *depthwise_bias;  // [inputs, 9], [inputs]
  Layer expand, project;                    // packed

  bool has_way_around() const { return inputs == outputs; }
};

// Rows and columns of a picture that go through a unit at once.
struct Tile {
  int top, rows, left, columns;
};

// Floats of scratch that a unit's tiles of so many samples need.
std::size_t unit_scratch(const Unit& unit, int samples);

// How a stage's features come from those of fewer samples: in each direction `scale` times as
// many, between the two nearest ones, and a number for each of the places in a sample.
struct Enlarging {
  int scale;
  FeaturePlanes small, large;
  float* local;  // [scale, scale, channels]
  int channels;
};

constexpr std::size_t enlarging_scratch(int scale, int width) {
  return static_cast<std::size_t>(2 * scale + 16 * scale * scale + (scale + 1) * (width + kBehind) +
                                  1);
}

struct Head {
  Layer layer;
  float offset;  // that outputs get besides
};

inline std::size_t head_scratch(const Head& head, int width) {
  return static_cast<std::size_t>(width + 64) * 2 *
         static_cast<std::size_t>(head.layer.inputs + head.layer.outputs) + 4 * kBehind;
}

struct RepresentationKernels {
  const char* name;
  int lanes;  // of a partial sum of the gradients of parameters
  void (*pack)(const Layer&, const float* parameters);
  void (*unit_forward)(const Unit&, const Tile&, const FeaturePlanes& x, const FeaturePlanes& out,
                       float* scratch);
  // From the output's gradients: those of what the depthwise convolution made, and, added to
  // `unit_sums` floats, those of parameters.
  int (*unit_sums)(const Unit&);
  void (*unit_backward)(const Unit&, const Tile&, const FeaturePlanes& x,
                        const FeaturePlanes& d_out, const FeaturePlanes& d_made, float* sums,
                        float* scratch);
  // Gradients of [inputs, 9 and the bias], and weights and biases of both layers.
  void (*unit_reduce)(const Unit&, const float* sums, float* out);
  // A row of the input's gradients, of one channel.
  void (*depthwise_backward)(const Unit&, int channel, int y, const FeaturePlanes& d_made,
                             const FeaturePlanes& d_out, const FeaturePlanes& d_x);
  void (*enlarge)(const Enlarging&, int channel, float* scratch);
  // `small` and `local` get gradients.
  void (*enlarge_backward)(const Enlarging&, int channel, float* scratch);
  // Rows of outputs [height, width] each, behind each other by `size`.
  void (*head_forward)(const Head&, int y, const FeaturePlanes& x, float* out, std::ptrdiff_t size,
                       float* scratch);
  void (*head_backward)(const Head&, int y, const FeaturePlanes& x, const float* d_out,
                        std::ptrdiff_t size, const FeaturePlanes& d_x, float* sums, float* scratch);
  void (*reduce)(const float* sums, int count, float* out);  // of partial sums
};

// The fastest that this machine runs if none is named; throws std::invalid_argument for an unknown
// name.
const RepresentationKernels& choose_representation_kernels(const std::string& name);

namespace baseline { extern const RepresentationKernels representation_kernels; }
namespace avx2 { extern const RepresentationKernels representation_kernels; }
namespace avx512 { extern const RepresentationKernels representation_kernels; }

}  // namespace vireo::train
