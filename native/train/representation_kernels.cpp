#include "train/representation_kernels.hpp"

#include <algorithm>
#include <cmath>

#include "train/dense.hpp"

#define VIREO_TEXT_OF(x) #x
#define VIREO_TEXT(x) VIREO_TEXT_OF(x)

namespace vireo::train::VIREO_ISA {

namespace {

constexpr float kLeastVariance = 1e-6f;
constexpr int kTaps = 9;

// Rows of lanes in a scratch memory.
struct Rows {
  float* memory;
  int lanes;

  float* operator[](int i) const { return memory + static_cast<std::ptrdiff_t>(i) * lanes; }
  Rows behind(int rows) const { return {(*this)[rows], lanes}; }
};

int lanes_of(const Tile& tile) { return whole_lanes(tile.rows * tile.columns); }

// Whether gradients of a layer with so many channels at its narrow end are vectors of channels,
// not of samples, whose partial sums would be as many again for each weight.
bool by_channel(int narrow) { return narrow >= 16 && whole_vectors(narrow) * 3 <= narrow * 4; }

// A layer's numbers of channels, and which end has more.
struct Ends {
  bool widens;
  int wide, narrow, stride;
  bool is_by_channel;

  explicit Ends(const Layer& layer)
      : widens(layer.outputs > layer.inputs),
        wide(std::max(layer.outputs, layer.inputs)),
        narrow(std::min(layer.outputs, layer.inputs)),
        stride(whole_vectors(narrow)),
        is_by_channel(by_channel(narrow)) {}
};

// Of a layer's gradients: partial sums of weights and biases as `outer` has them, or [wide, narrow
// in whole vectors] and a vector for each bias.
int layer_sums(const Layer& layer) {
  const Ends ends(layer);
  return ends.wide * (ends.is_by_channel ? ends.stride : ends.narrow * W) + layer.outputs * W;
}

// A unit's scratch: rows of lanes, and pointers to them.
struct UnitMemory {
  int lanes;
  float* inverse;  // of deviations
  float* turned;   // the narrow end of a layer, sample by sample
  float **made, **hidden, **slope, **end, **d_norm;

  UnitMemory(const Unit& unit, int lane_count, float* scratch) : lanes(lane_count) {
    const int rows = 2 * unit.inputs + 2 * unit.hidden + unit.outputs;
    inverse = scratch + static_cast<std::ptrdiff_t>(rows) * lanes;
    turned = inverse + lanes + kBehind;
    made = reinterpret_cast<float**>(
        turned + lanes * whole_vectors(std::max(unit.inputs, unit.outputs)));
    for (int i = 0; i < rows; ++i) made[i] = scratch + static_cast<std::ptrdiff_t>(i) * lanes;
    hidden = made + unit.inputs;
    slope = hidden + unit.hidden;
    end = slope + unit.hidden;
    d_norm = end + unit.outputs;
  }
};

VIREO_INLINE Vf inverse_of(Vf x) {  // to two units in the last place
#if defined(__AVX512F__)
  const Vf r = (Vf)_mm512_maskz_rcp14_ps(0xffff, (__m512)x);
  return r * (2.0f - x * r);
#elif defined(__AVX2__)
  Vf r = (Vf)_mm256_rcp_ps((__m256)x);
  r = r * (2.0f - x * r);
  return r * (2.0f - x * r);
#else
  return 1.0f / x;
#endif
}

// The distribution function of the normal distribution and its density: Abramowitz and Stegun,
// 7.1.26, to 1.5e-7.
VIREO_INLINE void normal(Vf x, Vf& below, Vf& density) {
  const Vf t = inverse_of(1.0f + magnitude(x) * (0.3275911f * 0.70710678f));
  const Vf bell = exp2(x * x * -0.72134752f);
  Vf p = splat(0.5f * 1.061405429f);
  p = p * t - 0.5f * 1.453152027f;
  p = p * t + 0.5f * 1.421413741f;
  p = p * t - 0.5f * 0.284496736f;
  p = p * t + 0.5f * 0.254829592f;
  const Vf tail = p * t * bell;
  below = x < 0.0f ? tail : 1.0f - tail;
  density = bell * 0.39894228f;
}

// What nine taps add, the first of them at `from`.
VIREO_INLINE Vf with_taps(Vf total, const Vf* w, const float* from, std::ptrdiff_t stride) {
#pragma GCC unroll 3
  for (int r = 0; r < 3; ++r, from += stride) {
    total += w[3 * r] * load(from);
    total += w[3 * r + 1] * load(from + 1);
    total += w[3 * r + 2] * load(from + 2);
  }
  return total;
}

void convolve(const float* weight, float bias, const float* above, std::ptrdiff_t stride,
              int columns, float* out) {
  Vf w[kTaps];
#pragma GCC unroll 9
  for (int k = 0; k < kTaps; ++k) w[k] = splat(weight[k]);
  for (int x = 0; x < columns; x += W)
    store(out + x, with_taps(splat(bias), w, above + x, stride));
}

// What the depthwise convolution makes of a tile, normalised, and the inverse deviations.
void normalised(const Unit& unit, const Tile& tile, const FeaturePlanes& x,
                const UnitMemory& memory) {
  const int lanes = memory.lanes, samples = tile.rows * tile.columns;
  for (int c = 0; c < unit.inputs; ++c) {
    float* made = memory.made[c];
    for (int r = 0; r < tile.rows; ++r)
      convolve(unit.depthwise + c * kTaps, unit.depthwise_bias[c],
               x.row(c, tile.top + r - 1) + tile.left - 1, x.stride, tile.columns,
               made + r * tile.columns);
    std::fill(made + samples, made + lanes, 0.0f);
  }
  const float share = 1.0f / static_cast<float>(unit.inputs);
  for (int at = 0; at < lanes; at += W) {
    Vf mean = Vf{}, squares = Vf{};
    for (int c = 0; c < unit.inputs; ++c) mean += load(memory.made[c] + at);
    mean *= share;
    for (int c = 0; c < unit.inputs; ++c) {
      const Vf d = load(memory.made[c] + at) - mean;
      squares += d * d;
    }
    const Vf inverse = 1.0f / root(squares * share + kLeastVariance);
    store(memory.inverse + at, inverse);
    for (int c = 0; c < unit.inputs; ++c) {
      float* made = memory.made[c] + at;
      store(made, (load(made) - mean) * inverse);
    }
  }
}

// What is hidden, and with `slopes` how it answers to what goes into the gelu.
template <bool slopes>
void expanded(const Unit& unit, const Tile& tile, const FeaturePlanes& x,
              const UnitMemory& memory) {
  normalised(unit, tile, x, memory);
  product<Tail::linear>(unit.expand.forward, unit.inputs, unit.hidden, memory.made, memory.hidden,
                        memory.lanes);
  for (int c = 0; c < unit.hidden; ++c) {
    float *hidden = memory.hidden[c], *slope = memory.slope[c];
    for (int at = 0; at < memory.lanes; at += W) {
      const Vf value = load(hidden + at);
      Vf below, density;
      normal(value, below, density);
      store(hidden + at, value * below);
      if constexpr (slopes) store(slope + at, below + value * density);
    }
  }
}

void unit_forward(const Unit& unit, const Tile& tile, const FeaturePlanes& x,
                  const FeaturePlanes& out, float* scratch) {
  const UnitMemory memory(unit, lanes_of(tile), scratch);
  float** end = memory.end;
  expanded<false>(unit, tile, x, memory);
  product<Tail::linear>(unit.project.forward, unit.hidden, unit.outputs, memory.hidden, end,
                        memory.lanes);
  for (int c = 0; c < unit.outputs; ++c)
    for (int r = 0; r < tile.rows; ++r) {
      const float* from = end[c] + r * tile.columns;
      float* to = out.row(c, tile.top + r) + tile.left;
      if (unit.has_way_around()) {
        const float* around = x.row(c, tile.top + r) + tile.left;
        for (int i = 0; i < tile.columns; ++i) to[i] = from[i] + around[i];
      } else {
        std::copy_n(from, tile.columns, to);
      }
    }
}

// Adds the gradients of a channel's depthwise convolution, a vector of partial sums for each.
void depthwise_sums(const Tile& tile, const FeaturePlanes& x, const FeaturePlanes& d_made, int c,
                    float* sums) {
  Vf total[kTaps + 1];
#pragma GCC unroll 10
  for (int k = 0; k <= kTaps; ++k) total[k] = load(sums + k * W);
  const auto add = [&](Vf g, const float* at) {
    total[kTaps] += g;
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r, at += x.stride) {
      total[3 * r] += g * load(at);
      total[3 * r + 1] += g * load(at + 1);
      total[3 * r + 2] += g * load(at + 2);
    }
  };
  const int whole = tile.columns / W * W;
  for (int r = 0; r < tile.rows; ++r) {
    const float* g = d_made.row(c, tile.top + r) + tile.left;
    const float* above = x.row(c, tile.top + r - 1) + tile.left - 1;
    for (int i = 0; i < whole; i += W) add(load(g + i), above + i);
    if (whole < tile.columns) {
      const Vi place = iota();
      const Vf last = load(g + whole);
      add(place < tile.columns - whole ? last : Vf{}, above + whole);
    }
  }
#pragma GCC unroll 10
  for (int k = 0; k <= kTaps; ++k) store(sums + k * W, total[k]);
}

// Adds a layer's gradients from those of its outputs: `layer_sums`.
void layer_gradients(const Layer& layer, const float* const* g, const float* const* x, int lanes,
                     float* turned, float* sums) {
  const Ends ends(layer);
  if (!ends.is_by_channel) return outer(layer, g, x, lanes, sums - layer.weight_at * W);
  turn(ends.widens ? x : g, ends.narrow, lanes, turned);
  add_products(ends.widens ? g : x, ends.wide, turned, ends.stride, lanes, sums);
  float* biases = sums + ends.wide * ends.stride;
  for (int o = 0; o < layer.outputs; ++o) {
    Vf total = load(biases + o * W);
    for (int at = 0; at < lanes; at += W) total += load(g[o] + at);
    store(biases + o * W, total);
  }
}

// Weights [outputs, inputs] and biases of what `layer_gradients` added.
float* layer_reduce(const Layer& layer, const float* sums, float* out) {
  const Ends ends(layer);
  const int weights = ends.wide * ends.narrow;
  float* behind = out + weights + layer.outputs;
  if (!ends.is_by_channel) {
    reduce(sums, weights + layer.outputs, out);
    return behind;
  }
  for (int m = 0; m < ends.wide; ++m)
    for (int n = 0; n < ends.narrow; ++n)
      out[ends.widens ? m * ends.narrow + n : n * ends.wide + m] = sums[m * ends.stride + n];
  reduce(sums + ends.wide * ends.stride, layer.outputs, out + weights);
  return behind;
}

int unit_sums(const Unit& unit) {
  return unit.inputs * (kTaps + 1) * W + layer_sums(unit.expand) +
         layer_sums(unit.project);
}

void unit_reduce(const Unit& unit, const float* sums, float* out) {
  const int depthwise = unit.inputs * (kTaps + 1);
  reduce(sums, depthwise, out);
  sums += depthwise * W;
  out = layer_reduce(unit.expand, sums, out + depthwise);
  layer_reduce(unit.project, sums + layer_sums(unit.expand), out);
}

void unit_backward(const Unit& unit, const Tile& tile, const FeaturePlanes& x,
                   const FeaturePlanes& d_out, const FeaturePlanes& d_made, float* sums,
                   float* scratch) {
  float* d_expand = sums + unit.inputs * (kTaps + 1) * W;
  float* d_project = d_expand + layer_sums(unit.expand);
  const int lanes = lanes_of(tile), samples = tile.rows * tile.columns;
  const UnitMemory memory(unit, lanes, scratch);
  float **made = memory.made, **hidden = memory.hidden, **slope = memory.slope;
  float **end = memory.end, **d_norm = memory.d_norm;
  expanded<true>(unit, tile, x, memory);
  for (int c = 0; c < unit.outputs; ++c) {
    for (int r = 0; r < tile.rows; ++r)
      std::copy_n(d_out.row(c, tile.top + r) + tile.left, tile.columns, end[c] + r * tile.columns);
    std::fill(end[c] + samples, end[c] + lanes, 0.0f);
  }
  layer_gradients(unit.project, end, hidden, lanes, memory.turned, d_project);
  // From here on what was hidden is the gradient of what went into the gelu.
  product<Tail::linear>(unit.project.backward, unit.outputs, unit.hidden, end, hidden, lanes);
  for (int c = 0; c < unit.hidden; ++c)
    for (int at = 0; at < lanes; at += W)
      store(hidden[c] + at, load(hidden[c] + at) * load(slope[c] + at));
  layer_gradients(unit.expand, hidden, made, lanes, memory.turned, d_expand);
  product<Tail::linear>(unit.expand.backward, unit.hidden, unit.inputs, hidden, d_norm, lanes);
  const float share = 1.0f / static_cast<float>(unit.inputs);
  for (int at = 0; at < lanes; at += W) {
    Vf mean = Vf{}, along = Vf{};
    for (int c = 0; c < unit.inputs; ++c) {
      const Vf g = load(d_norm[c] + at);
      mean += g;
      along += g * load(made[c] + at);
    }
    mean *= share;
    along *= share;
    const Vf inverse = load(memory.inverse + at);
    for (int c = 0; c < unit.inputs; ++c) {
      const Vf g = load(d_norm[c] + at);
      store(d_norm[c] + at, (g - mean - load(made[c] + at) * along) * inverse);
    }
  }
  for (int c = 0; c < unit.inputs; ++c) {
    for (int r = 0; r < tile.rows; ++r)
      std::copy_n(d_norm[c] + r * tile.columns, tile.columns,
                  d_made.row(c, tile.top + r) + tile.left);
    depthwise_sums(tile, x, d_made, c, sums + c * (kTaps + 1) * W);
  }
}

void depthwise_backward(const Unit& unit, int channel, int y, const FeaturePlanes& d_made,
                        const FeaturePlanes& d_out, const FeaturePlanes& d_x) {
  float turned[kTaps];
  std::reverse_copy(unit.depthwise + channel * kTaps, unit.depthwise + (channel + 1) * kTaps,
                    turned);
  Vf w[kTaps];
#pragma GCC unroll 9
  for (int k = 0; k < kTaps; ++k) w[k] = splat(turned[k]);
  float* out = d_x.row(channel, y);
  const float* above = d_made.row(channel, y - 1) - 1;
  const float* around = unit.has_way_around() ? d_out.row(channel, y) : nullptr;
  const auto at = [&](int x) {
    return with_taps(around ? load(around + x) : Vf{}, w, above + x, d_made.stride);
  };
  int x = 0;
  for (; x + W <= d_x.width; x += W) store(out + x, at(x));
  if (x < d_x.width) {  // the border stays 0
    float last[W];
    store(last, at(x));
    std::copy_n(last, d_x.width - x, out + x);
  }
}

// Where the places of an enlarged sample are: how far behind its middle (before, if below 0).
float shift_of(int place, int scale) {
  return (static_cast<float>(place) + 0.5f) / static_cast<float>(scale) - 0.5f;
}

int within(int i, int size) { return std::clamp(i, 0, size - 1); }

// Every so many samples of a row, and back; rows have kBehind more.
VIREO_INLINE void take_apart(const float* row, int scale, int width, float* const* parts) {
  if (scale == 2) {
    for (int x = 0; x < width; x += W) {
      Vf even, odd;
      split(row + 2 * x, even, odd);
      store(parts[0] + x, even);
      store(parts[1] + x, odd);
    }
    return;
  }
  for (int place = 0; place < scale; ++place)
    for (int x = 0; x < width; ++x) parts[place][x] = row[x * scale + place];
}

VIREO_INLINE void put_together(float* row, int scale, int width, const float* const* parts) {
  int x = 0;
  if (scale == 2)
    for (; x + W <= width; x += W) join(row + 2 * x, load(parts[0] + x), load(parts[1] + x));
  for (; x < width; ++x)
    for (int place = 0; place < scale; ++place) row[x * scale + place] = parts[place][x];
}

// Memory of a channel that is enlarged: a row from -1 to its width, and one for each place.
struct EnlargingMemory {
  float* row;
  float** parts;
  float* sums;  // [scale, scale, W]

  EnlargingMemory(const Enlarging& e, float* scratch) {
    const int room = e.small.width + kBehind;
    parts = reinterpret_cast<float**>(scratch);
    sums = scratch + 2 * e.scale;
    row = sums + e.scale * e.scale * W + 1;
    for (int place = 0; place < e.scale; ++place) parts[place] = row + (place + 1) * room;
  }
};

void enlarge(const Enlarging& e, int channel, float* scratch) {
  const int width = e.small.width, s = e.scale;
  const EnlargingMemory memory(e, scratch);
  float* row = memory.row;
  for (int y = 0; y < e.large.height; ++y) {
    const int i = y / s, k = y % s;
    const float down = shift_of(k, s), part = std::abs(down);
    const float* near = e.small.row(channel, i);
    const float* far = e.small.row(channel, within(down < 0 ? i - 1 : i + 1, e.small.height));
    for (int x = 0; x < width; ++x) row[x] = near[x] + (far[x] - near[x]) * part;
    row[-1] = row[0];
    row[width] = row[width - 1];
    for (int place = 0; place < s; ++place) {
      const float right = shift_of(place, s), share = std::abs(right);
      const float* beside = row + (right < 0 ? -1 : 1);
      const float local = e.local[(k * s + place) * e.channels + channel];
      float* own = memory.parts[place];
      for (int x = 0; x < width; ++x) own[x] = row[x] + (beside[x] - row[x]) * share + local;
    }
    put_together(e.large.row(channel, y), s, width, memory.parts);
  }
}

void enlarge_backward(const Enlarging& e, int channel, float* scratch) {
  const int width = e.small.width, s = e.scale;
  const EnlargingMemory memory(e, scratch);
  for (int y = 0; y < e.small.height; ++y) std::fill_n(e.small.row(channel, y), width, 0.0f);
  std::fill_n(memory.sums, s * s * W, 0.0f);
  float* row = memory.row;
  for (int y = 0; y < e.large.height; ++y) {
    take_apart(e.large.row(channel, y), s, width, memory.parts);
    std::fill_n(row - 1, width + 2, 0.0f);
    const int i = y / s, k = y % s;
    for (int place = 0; place < s; ++place) {
      const float right = shift_of(place, s), share = std::abs(right);
      float* g = memory.parts[place];
      std::fill_n(g + width, W, 0.0f);
      float* sum = memory.sums + (k * s + place) * W;
      Vf total = load(sum);
      for (int x = 0; x < width; x += W) total += load(g + x);
      store(sum, total);
      for (int x = 0; x < width; ++x) row[x] += (1 - share) * g[x];
      if (right == 0) continue;
      float* beside = row + (right < 0 ? -1 : 1);
      for (int x = 0; x < width; ++x) beside[x] += share * g[x];
    }
    row[0] += row[-1];
    row[width - 1] += row[width];
    const float down = shift_of(k, s), part = std::abs(down);
    float* near = e.small.row(channel, i);
    for (int x = 0; x < width; ++x) near[x] += (1 - part) * row[x];
    if (down == 0) continue;
    float* far = e.small.row(channel, within(down < 0 ? i - 1 : i + 1, e.small.height));
    for (int x = 0; x < width; ++x) far[x] += part * row[x];
  }
  for (int place = 0; place < s * s; ++place)
    e.local[place * e.channels + channel] = sum(load(memory.sums + place * W));
}

void head_forward(const Head& head, int y, const FeaturePlanes& x, float* out, std::ptrdiff_t size,
                  float* scratch) {
  const int lanes = whole_lanes(x.width);
  const Rows made{scratch, lanes};
  float** pointers = reinterpret_cast<float**>(made[head.layer.outputs]);
  for (int c = 0; c < head.layer.outputs; ++c) pointers[c] = made[c];
  float** in = pointers + head.layer.outputs;
  for (int c = 0; c < head.layer.inputs; ++c) in[c] = x.row(c, y);
  product<Tail::linear>(head.layer.forward, head.layer.inputs, head.layer.outputs, in, pointers,
                        lanes);
  for (int c = 0; c < head.layer.outputs; ++c) {
    float* to = out + c * size + static_cast<std::ptrdiff_t>(y) * x.width;
    for (int i = 0; i < x.width; ++i) to[i] = made[c][i] + head.offset;
  }
}

void head_backward(const Head& head, int y, const FeaturePlanes& x, const float* d_out,
                   std::ptrdiff_t size, const FeaturePlanes& d_x, float* sums, float* scratch) {
  const int lanes = whole_lanes(x.width);
  const Rows given{scratch, lanes}, made = given.behind(head.layer.outputs);
  float** pointers = reinterpret_cast<float**>(made[head.layer.inputs]);
  float **g = pointers, **to = g + head.layer.outputs, **in = to + head.layer.inputs;
  for (int c = 0; c < head.layer.outputs; ++c) {
    g[c] = given[c];
    const float* from = d_out + c * size + static_cast<std::ptrdiff_t>(y) * x.width;
    std::copy_n(from, x.width, g[c]);
    std::fill(g[c] + x.width, g[c] + lanes, 0.0f);
  }
  for (int c = 0; c < head.layer.inputs; ++c) {
    to[c] = made[c];
    in[c] = x.row(c, y);
  }
  outer(head.layer, g, in, lanes, sums);
  product<Tail::linear>(head.layer.backward, head.layer.outputs, head.layer.inputs, g, to, lanes);
  for (int c = 0; c < head.layer.inputs; ++c) std::copy_n(to[c], x.width, d_x.row(c, y));
}

}  // namespace

const RepresentationKernels representation_kernels = {
    VIREO_TEXT(VIREO_ISA), W, pack_layer, unit_forward, unit_sums, unit_backward, unit_reduce,
    depthwise_backward, enlarge, enlarge_backward, head_forward, head_backward, reduce,
};

}  // namespace vireo::train::VIREO_ISA
