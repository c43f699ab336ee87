// What the kernels work on: plain structures of pointers and numbers, so that the
// same sources can be compiled once per instruction set and called through a table.
//
// Lanes are neighbouring latents or pixels; every row length that a kernel walks is a
// multiple of LANES, and what lies beyond a picture's edge is masked. A task is a
// fixed part of a frame, whatever the number of threads; sums over a frame are summed
// per task and then in the order of tasks, so results don't depend on threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vireo::train {

constexpr int LANES = 16;
// Measured: 64 to 512 latents and a quarter as many chroma columns (of four luma phases
// each) are within 10 %; smaller tiles load and store the weights' sums more often.
constexpr int ARM_TILE = 256;
constexpr int PICTURE_TILE = 64;
constexpr int MAX_DEPTH = 8;       // layers per network
constexpr int MAX_WIDTH = 64;      // channels per layer, contexts, grids
constexpr int NOISE_TABLE = 512;   // cells of the noise's inverse distribution

constexpr std::ptrdiff_t round_up(std::ptrdiff_t n, std::ptrdiff_t step) {
  return (n + step - 1) / step * step;
}

// A linear layer. The packed weights are laid out by `Kernels::pack` for the build.
struct Layer {
  int inputs, outputs;
  int weight_at, bias_at;  // in the network's parameters: weight [out, in], bias [out]
  float* forward;          // (inputs + 1) * outputs floats: biases and weights by output block
  float* backward;         // (outputs + 1) * inputs floats: the transposed weights
};

struct Mlp {
  int depth;
  int parameters;
  int activations;  // sum of the layers' widths
  Layer layers[MAX_DEPTH];
};

// Part of one latent grid, in the linear order of the padded grids: position p is row
// p / stride, column p % stride; columns from `width` on are padding.
struct Segment {
  std::ptrdiff_t origin;      // of the grid in the arrays of latents
  std::ptrdiff_t begin, end;  // positions, multiples of 64
  std::ptrdiff_t stride;
  int height, width;
};

struct Quantise {
  Segment segment;
  const float *latents, *noise;  // explicit noise, or null to draw it
  float *quantised, *slope;      // slope null without gradients
  bool hard;
  float temperature;
  const float* noise_table;  // null for uniform noise
  std::uint32_t key[2];
};

struct Arm {
  Segment segment;
  const float* quantised;
  const Mlp* mlp;
  int contexts;
  const std::ptrdiff_t* offsets;
  std::ptrdiff_t halo;  // how far back contexts reach
  // The model's last input, where it has one more than contexts: what is at the same place of
  // a grid of the same shape, whose first position is here; null for zeros. The gradient is null
  // where that is given, not trained.
  const float* other;
  float* other_gradient;
  float weight;         // lambda / pixels
  bool latents, networks;
  float *gradient, *halo_gradient;  // per latent; what falls before the segment's begin
  float* parameter_gradient;        // this task's sums
  double* bits;
};

struct Adam {
  Segment segment;
  float* latents;
  float* gradient;             // ARM's on entry, the whole gradient on return
  const float* next_halo;      // of the task that follows in the grid, or null
  const float* upsampled;      // what came through the upsampling, or null
  const float* cross;          // what came from the grid that has this one as its other, or null
  const float* slope;
  float *first, *second;       // moments
  bool update;
  float beta1, beta2, step, epsilon;
  // A step is divided by the root of own times the latent's second moment, plus what is shared.
  float own, shared;
  double* sum;  // of the second moments
  std::ptrdiff_t halo;
};

// A channel at a coarse level, its border replicated `reach` samples wide on all sides.
struct Plane {
  float* origin;
  std::ptrdiff_t stride;
  int height, width;
};

struct Upsampling {
  int side;           // of the kernel
  int reach;          // samples that a tap reaches to either side: side / 4
  const float* taps;  // [2 reach + 1][2 reach + 1][4 phases], zero where there is no tap
  int size() const { return (2 * reach + 1) * (2 * reach + 1) * 4; }
};

// One grid's way up to half resolution, and the gradient's way down.
struct Chain {
  const Upsampling* upsampling;
  Segment grid;        // of the channel's latents, whole
  const float* quantised;
  int levels;          // planes[0] is half resolution, planes[levels - 1] the grid's own
  const Plane* planes;
  // Backward: slabs[t] holds rows first_row - reach ... of the gradient for task t.
  int slabs, slab_rows, channel, channels;
  const float* slab;
  std::ptrdiff_t slab_size, slab_stride;
  float* gradient;       // of the grid's latents, in the layout of the latents
  float* tap_gradient;   // [size()]
};

// The packed bilinear neighbourhood of a reference: byte 0 is the sample at (y, x), byte 1
// right of it, bytes 2 and 3 below; (height + 1) x (width + 1) words from (-1, -1).
struct Reference {
  const std::uint32_t* planes[3];
};

// What a picture with chroma of its own needs besides (null in Picture if it has none).
struct Parts {
  const Mlp* chroma;        // inputs: `inputs` planes at half resolution
  int inputs;
  const int* channels;      // per input, its channel among Picture::planes
  float* parameter_gradient;
};

struct Picture {
  int height, width;  // luma
  int first_row, rows;  // chroma rows of this task
  int grids, references;
  int channels;  // planes at half resolution: those of grids 1 ..., then chroma's
  const Mlp* mlp;
  const Upsampling* upsampling;
  const float* finest;  // quantised, at the grid's origin
  std::ptrdiff_t finest_stride;
  const Plane* planes;  // half-resolution planes of the channels
  const Parts* parts;
  const float* target;  // [H/2][Y00, Y01, Y10, Y11, U, V][lanes]
  const float* weights;  // with parts: [H/2][lanes], of the squared errors there
  const Reference* reference;
  const float* target_flows;  // [H/2][2 references][4 phases][lanes]
  float flow_weight;
  bool gradients, networks;  // by latents; by parameters too
  float* decoded;  // like target, or null
  float* signals;  // [H/2][outputs][4 phases][lanes], or null
  float* finest_gradient;
  float* slab;  // [rows + 2 reach][channels][slab_stride], column 0 is -reach
  std::ptrdiff_t slab_stride;
  float* parameter_gradient;
  float* tap_gradient;
  double* errors;  // sums of squared errors: Y, U, V, flow
};

struct Kernels {
  const char* name;
  // For measurements: the arithmetic's peak, in rounds of this many multiply-adds.
  int round;
  void (*multiply_adds)(std::int64_t rounds, float* result);
  void (*pack)(const Mlp&, const float* parameters);
  void (*quantise)(const Quantise&);
  void (*arm)(const Arm&, float* scratch);
  void (*adam)(const Adam&);
  void (*chain_forward)(const Chain&, float* scratch);
  void (*chain_backward)(const Chain&, float* scratch);
  void (*picture)(const Picture&, float* scratch);
  // Of a packed network, `lanes` a multiple of 64: its inputs are rows of lanes. Activations
  // come to stand in memory, layer after layer, a row per channel; `slopes` returns the slopes
  // of one output by each input, rows of lanes that follow them.
  void (*forward)(const Mlp&, const float* const* inputs, float* memory, int lanes);
  const float* (*slopes)(const Mlp&, const float* const* inputs, float* memory, int lanes,
                         int output);
  // Bits of whole values under Laplace distributions; all rows have room for 16 more.
  void (*laplace)(const float* value, const float* mean, const float* log2_scale, float* bits,
                  int lanes);
};

namespace baseline { extern const Kernels kernels; }
namespace avx2 { extern const Kernels kernels; }
namespace avx512 { extern const Kernels kernels; }

}  // namespace vireo::train
