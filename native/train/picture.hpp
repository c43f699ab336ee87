// From half-resolution planes to the loss and back, a row of chroma samples at a time: the
// last upsampling, the synthesis, inter coding, the distortion, and all their gradients.
// Luma samples are grouped by phase (row parity, column parity), so that the 2x2 means that
// chroma needs are sums of vectors, and the upsampling's phases need no interleaving.
#pragma once

#include "train/dense.hpp"
#include "train/upsampling.hpp"

namespace vireo::train::VIREO_ISA {

constexpr float SAMPLE_SCALE = 256.0f / 255.0f, FLOW_SCALE = 16.0f;

struct Sample {
  Vf value, by_x, by_y;  // in 0 ... 1, and its slopes
};

// Bilinear sample of a packed plane at (x, y) + flow. The position is split before the
// column is added, so that its fraction keeps its precision far from the left edge.
VIREO_INLINE Sample warp(const std::uint32_t* plane, int height, int width, Vf x, float y,
                         Vf flow_x, Vf flow_y) {
  const Vf whole_x = floor(flow_x), whole_y = floor(flow_y);
  const Vf fx = flow_x - whole_x, fy = flow_y - whole_y;
  // A NaN becomes -1 here: the index stays inside, the fraction carries the NaN on.
  const Vf last_x = splat(static_cast<float>(width - 1));
  const Vf last_y = splat(static_cast<float>(height - 1));
  const Vf column = smallest(largest(x + whole_x, splat(-1.0f)), last_x);
  const Vf row = smallest(largest(y + whole_y, splat(-1.0f)), last_y);
  const Vi index = (to_int(row) + 1) * (width + 1) + to_int(column) + 1;
  const Vu word = gather(plane, index);
  const Vf a = to_float((Vi)(word & 255u)), b = to_float((Vi)((word >> 8) & 255u));
  const Vf c = to_float((Vi)((word >> 16) & 255u)), d = to_float((Vi)(word >> 24));
  const Vf upper = a + fx * (b - a), lower = c + fx * (d - c);
  Sample s;
  s.value = (upper + fy * (lower - upper)) * (1.0f / 255.0f);
  s.by_x = ((b - a) + fy * ((d - c) - (b - a))) * (1.0f / 255.0f);
  s.by_y = (lower - upper) * (1.0f / 255.0f);
  return s;
}

// Gradient of a clamp to 0 ... 1 that still passes where a descent step points inwards.
VIREO_INLINE Vf leaky(Vf x, Vf gradient) {
  gradient = ((x < 0.0f) & (gradient > 0.0f)) ? Vf{} : gradient;
  return ((x > 1.0f) & (gradient < 0.0f)) ? Vf{} : gradient;
}

VIREO_INLINE Vf clamp01(Vf x) {
  x = x < 0.0f ? Vf{} : x;
  return x > 1.0f ? splat(1.0f) : x;
}

// Predictions of a plane from REFS references and their mix.
template <int REFS>
struct Prediction {
  Sample samples[REFS ? REFS : 1];
  Vf value;

  VIREO_MEMBER void make(const Picture& t, int plane, int height, int width, Vf x, float y,
                                const Vf* flows, Vf beta) {
    for (int r = 0; r < REFS; ++r) {
      samples[r] = warp(t.reference[r].planes[plane], height, width, x, y, flows[2 * r],
                        flows[2 * r + 1]);
    }
    value = samples[0].value;
    if constexpr (REFS == 2) value = beta * samples[0].value + (1.0f - beta) * samples[1].value;
  }

  // Adds the flows' gradients (times `scale`) and beta's, for the prediction's gradient g.
  VIREO_MEMBER void back(Vf g, Vf beta, float scale, Vf* by_flows, Vf& by_beta) const {
    for (int r = 0; r < REFS; ++r) {
      const Vf share = REFS == 2 ? (r ? g * (1.0f - beta) : g * beta) : g;
      by_flows[2 * r] += share * samples[r].by_x * scale;
      by_flows[2 * r + 1] += share * samples[r].by_y * scale;
    }
    if constexpr (REFS == 2) by_beta += g * (samples[0].value - samples[1].value);
  }
};

struct Errors {
  Vf y, u, v, flow;
};

// Inter coding and distortion of n chroma columns from column `left`, their four luma phases
// in o[channel][phase * n + column]; leaves the outputs' gradients in o.
template <int REFS>
static inline void inter(const Picture& t, int row, int left, int n, float* const* o,
                         Errors& errors) {
  constexpr int X = 3 + 3 * REFS, F = 2 * REFS, ALPHA = F + 3, BETA = F + 4;
  const int half_height = t.height / 2, half_width = t.width / 2;
  const std::ptrdiff_t lanes = round_up(half_width, LANES);
  const float pixels = static_cast<float>(t.height) * static_cast<float>(t.width);
  // The chroma planes weigh a quarter of luma's, with a quarter of the samples: the same each.
  const float weight = 2.0f * 4.0f / 6.0f / pixels;
  const float flow_weight = 2.0f * t.flow_weight / pixels;
  for (int i = 0; i < n; i += W) {
    const Vi column = left + i + iota();
    const Vi valid = column < half_width;
    const Vf chroma_x = to_float(column);
    const float* target = t.target + row * 6 * lanes + left + i;

    // Means of the signals over the four phases, then chroma.
    Vf flow_mean[F + 1] = {}, residual_mean[2] = {}, alpha_mean = {}, beta_mean = {};
    for (int p = 0; p < 4; ++p) {
      const int at = p * n + i;
      for (int f = 0; f < F; ++f) flow_mean[f] += load(o[f] + at);
      for (int c = 0; c < 2; ++c) residual_mean[c] += load(o[F + 1 + c] + at);
      if constexpr (REFS >= 1) alpha_mean += clamp01(load(o[ALPHA] + at) + 0.5f);
      if constexpr (REFS == 2) beta_mean += clamp01(load(o[BETA] + at) + 0.5f);
    }
    for (int f = 0; f < F; ++f) flow_mean[f] *= FLOW_SCALE / 8.0f;
    alpha_mean *= 0.25f;
    beta_mean *= 0.25f;
    Vf by_flow[F + 1] = {}, by_residual[2], by_alpha = {}, by_beta = {};
    for (int c = 0; c < 2; ++c) {
      Prediction<REFS> prediction;
      Vf value = residual_mean[c] * (SAMPLE_SCALE / 4.0f);
      if constexpr (REFS >= 1) {
        prediction.make(t, 1 + c, half_height, half_width, chroma_x, static_cast<float>(row),
                        flow_mean, beta_mean);
        value += alpha_mean * prediction.value;
      }
      if (t.decoded) store(t.decoded + (target - t.target) + (4 + c) * lanes, value);
      const Vf e = masked(valid, value - load(target + (4 + c) * lanes));
      (c ? errors.v : errors.u) += e * e;
      const Vf g = e * weight;
      by_residual[c] = g * (SAMPLE_SCALE / 4.0f);
      if constexpr (REFS >= 1) {
        by_alpha += g * prediction.value * 0.25f;
        prediction.back(g * alpha_mean, beta_mean, FLOW_SCALE / 8.0f, by_flow, by_beta);
      }
    }
    by_beta *= 0.25f;

    for (int p = 0; p < 4; ++p) {
      const int at = p * n + i;
      Vf flow[F + 1], d_flow[F + 1], d_alpha = by_alpha, d_beta = by_beta;
      Vf alpha_raw = {}, beta_raw = {}, alpha = {}, beta = {};
      for (int f = 0; f < F; ++f) {
        flow[f] = load(o[f] + at) * FLOW_SCALE;
        d_flow[f] = by_flow[f];
      }
      const Vf residual = load(o[F] + at) * SAMPLE_SCALE;
      Vf value = residual;
      Prediction<REFS> prediction;
      if constexpr (REFS >= 1) {
        alpha_raw = load(o[ALPHA] + at) + 0.5f;
        alpha = clamp01(alpha_raw);
        if constexpr (REFS == 2) beta_raw = load(o[BETA] + at) + 0.5f;
        beta = clamp01(beta_raw);
        prediction.make(t, 0, t.height, t.width, 2.0f * chroma_x + static_cast<float>(p & 1),
                        static_cast<float>(2 * row + (p >> 1)), flow, beta);
        value += alpha * prediction.value;
      }
      if (t.signals) {
        float* out = t.signals + (row * X * 4 + p) * lanes + left + i;
        for (int f = 0; f < F; ++f) store(out + 4 * f * lanes, flow[f]);
        for (int c = 0; c < 3; ++c) {
          store(out + 4 * (F + c) * lanes, load(o[F + c] + at) * SAMPLE_SCALE);
        }
        if constexpr (REFS >= 1) store(out + 4 * ALPHA * lanes, alpha);
        if constexpr (REFS == 2) store(out + 4 * BETA * lanes, beta);
      }
      if (t.decoded) store(t.decoded + (target - t.target) + p * lanes, value);
      const Vf e = masked(valid, value - load(target + p * lanes));
      errors.y += e * e;
      if (t.flow_weight != 0.0f) {
        for (int f = 0; f < F; ++f) {
          const float* wanted = t.target_flows + ((row * F + f) * 4 + p) * lanes + left + i;
          const Vf miss = masked(valid, flow[f] - load(wanted));
          errors.flow += miss * miss;
          d_flow[f] += miss * (flow_weight * FLOW_SCALE);
        }
      }
      if (!t.gradients) continue;
      const Vf g = e * weight;
      store(o[F] + at, g * SAMPLE_SCALE);
      for (int c = 0; c < 2; ++c) store(o[F + 1 + c] + at, by_residual[c]);
      if constexpr (REFS >= 1) {
        d_alpha += g * prediction.value;
        prediction.back(g * alpha, beta, FLOW_SCALE, d_flow, d_beta);
        for (int f = 0; f < F; ++f) store(o[f] + at, d_flow[f]);
        store(o[ALPHA] + at, leaky(alpha_raw, d_alpha));
        if constexpr (REFS == 2) store(o[BETA] + at, leaky(beta_raw, d_beta));
      }
    }
  }
}

// What a synthesis that gives everything adds to the passes over a picture: inter coding
// sample by sample.
struct WholeHead {
  const Picture& t;
  Errors errors = {};

  void place(float*& /*memory*/) {}
  void finish() {}
  VIREO_MEMBER void tile(int row, int left, int n, float* const* output) {
    switch (t.references) {
      case 0: inter<0>(t, row, left, n, output, errors); break;
      case 1: inter<1>(t, row, left, n, output, errors); break;
      default: inter<2>(t, row, left, n, output, errors);
    }
  }
};

// Chroma with a synthesis of its own at half resolution; nothing to predict, since the target
// is what prediction has left.
struct PartsHead {
  static constexpr int TILE = PICTURE_TILE;
  const Picture& t;
  Errors errors = {};
  std::ptrdiff_t lanes = round_up(t.width / 2, LANES);
  float* acc = nullptr;
  Activations a = {};
  float* by_inputs[MAX_WIDTH] = {};

  void place(float*& memory) {
    const Mlp& mlp = *t.parts->chroma;
    const auto take = [&](std::ptrdiff_t n) {
      float* p = memory;
      memory += n;
      return p;
    };
    acc = take(mlp.parameters * W);
    clear(acc, mlp.parameters * W);
    a.place(mlp, take(mlp.activations * TILE), TILE);
    for (int c = 0; c < t.parts->inputs; ++c) by_inputs[c] = take(TILE);
  }

  // The error of n columns of one plane, whose residual becomes the loss' gradient.
  VIREO_MEMBER void code(int left, int n, float* residual, const float* target,
                         const float* weights, Vf& error) const {
    const float weight =
        2.0f * 4.0f / 6.0f / (static_cast<float>(t.height) * static_cast<float>(t.width));
    for (int i = 0; i < n; i += W) {
      const Vi valid = left + i + iota() < t.width / 2;
      const Vf value = load(residual + i) * SAMPLE_SCALE;
      if (t.decoded) store(t.decoded + (target - t.target) + i, value);
      const Vf e = masked(valid, value - load(target + i));
      const Vf weighed = e * load(weights + i);
      error += e * weighed;
      store(residual + i, weighed * (weight * SAMPLE_SCALE));
    }
  }

  VIREO_MEMBER void tile(int row, int left, int n, float* const* output) {
    const float* target = t.target + row * 6 * lanes + left;
    const float* weights = t.weights + row * lanes + left;
    for (int p = 0; p < 4; ++p)
      code(left, n, output[0] + p * n, target + p * lanes, weights, errors.y);
    // The chroma synthesis works on whole tiles; lanes beyond n get no gradient.
    const float* inputs[MAX_WIDTH];
    for (int c = 0; c < t.parts->inputs; ++c) {
      const Plane& plane = t.planes[t.parts->channels[c]];
      inputs[c] = plane.origin + row * plane.stride + left;
    }
    const Mlp& mlp = *t.parts->chroma;
    forward(mlp, inputs, a, TILE);
    float* const* residual = a.rows[mlp.depth - 1];
    for (int c = 0; c < 2; ++c) {
      clear(residual[c] + n, TILE - n);
      code(left, n, residual[c], target + (4 + c) * lanes, weights, c ? errors.v : errors.u);
    }
    if (!t.gradients) return;
    backward(mlp, inputs, a, TILE, t.networks ? acc : nullptr, by_inputs);
    const int reach = t.upsampling->reach;
    for (int c = 0; c < t.parts->inputs; ++c) {
      float* to = t.slab + reach + left +
                  ((row - t.first_row + reach) * t.channels + t.parts->channels[c]) * t.slab_stride;
      for (int i = 0; i < n; i += W) store(to + i, load(to + i) + load(by_inputs[c] + i));
    }
  }

  void finish() {
    if (t.networks) reduce(acc, t.parts->chroma->parameters, t.parts->parameter_gradient);
  }
};

// One task, some rows of chroma samples. Scratch: as FrameTrainer::scratch_size counts it.
template <class Head>
static inline void picture_with(const Picture& t, float* scratch) {
  const Mlp& mlp = *t.mlp;
  const Upsampling& u = *t.upsampling;
  const int reach = u.reach, half = t.width / 2, coarse = t.grids - 1;
  const int lanes = static_cast<int>(round_up(half, LANES));
  const int wide = static_cast<int>(round_up(half + 2 * reach, LANES));
  const int phase_stride = PLANE_MARGIN + wide;
  constexpr int TILE = 4 * PICTURE_TILE;

  float* acc = scratch;  // parameters, then taps
  float* tap_acc = acc + mlp.parameters * W;
  float* phase_rows = tap_acc + u.size() * W;  // gradients of a row: [grids][4][phase_stride]
  float* memory = phase_rows + t.grids * 4 * phase_stride;
  Activations a;
  a.place(mlp, memory, TILE);
  memory += mlp.activations * TILE;
  float *dense[MAX_WIDTH], *by_dense[MAX_WIDTH];
  for (int c = 0; c < t.grids; ++c, memory += 2 * TILE) {
    dense[c] = memory;
    by_dense[c] = memory + TILE;
  }
  const float** rows = reinterpret_cast<const float**>(memory);  // [coarse][2 reach + 1]
  const float** phases = rows + coarse * (2 * reach + 1);        // [coarse][4]
  float* const* output = a.rows[mlp.depth - 1];
  float* const end = memory;
  memory += round_up(2 * coarse * (2 * reach + 5), LANES);  // the pointers
  Head head{t};
  head.place(memory);
  if (t.gradients) {
    clear(acc, end - acc);
    clear(t.slab, (t.rows + 2 * reach) * t.channels * t.slab_stride);
    for (int c = 0; c < coarse; ++c) {
      for (int p = 0; p < 4; ++p) {
        phases[4 * c + p] = phase_rows + (4 * (c + 1) + p) * phase_stride + PLANE_MARGIN;
      }
    }
  }

  for (int row = t.first_row; row < t.first_row + t.rows; ++row) {
    const float* finest = t.finest + 2 * row * t.finest_stride;
    for (int c = 0; c < coarse; ++c) {
      for (int r = 0; r <= 2 * reach; ++r) {
        rows[c * (2 * reach + 1) + r] = t.planes[c].origin + (row + r - reach) * t.planes[c].stride;
      }
    }
    for (int left = 0; left < lanes; left += PICTURE_TILE) {
      const int n = lanes - left < PICTURE_TILE ? lanes - left : PICTURE_TILE;
      for (int i = 0; i < n; i += W) {
        for (int py = 0; py < 2; ++py) {
          Vf even, odd;
          split(finest + py * t.finest_stride + 2 * (left + i), even, odd);
          store(dense[0] + 2 * py * n + i, even);
          store(dense[0] + (2 * py + 1) * n + i, odd);
        }
      }
      for (int c = 0; c < coarse; ++c) {
        float* out[4];
        const float* sources[MAX_WIDTH];
        for (int p = 0; p < 4; ++p) out[p] = dense[c + 1] + p * n;
        for (int r = 0; r <= 2 * reach; ++r) sources[r] = rows[c * (2 * reach + 1) + r] + left;
        with_window(u, [&](const auto& win) { double_row(win, u.taps, sources, n, out); });
      }
      forward(mlp, dense, a, 4 * n);
      head.tile(row, left, n, output);
      if (!t.gradients) continue;
      backward(mlp, dense, a, 4 * n, t.networks ? acc : nullptr, by_dense);
      for (int c = 0; c < t.grids; ++c) {
        for (int p = 0; p < 4; ++p) {
          float* to = phase_rows + (4 * c + p) * phase_stride + PLANE_MARGIN + left;
          for (int i = 0; i < n; i += W) store(to + i, load(by_dense[c] + p * n + i));
        }
      }
    }
    if (!t.gradients) continue;

    for (int py = 0; py < 2; ++py) {
      const float* even = phase_rows + 2 * py * phase_stride + PLANE_MARGIN;
      const float* odd = even + phase_stride;
      float* to = t.finest_gradient + (2 * row + py) * t.finest_stride;
      int x = 0;
      for (; x + W <= half; x += W) join(to + 2 * x, load(even + x), load(odd + x));
      for (; x < half; ++x) {
        to[2 * x] = even[x];
        to[2 * x + 1] = odd[x];
      }
    }
    for (int c = 0; c < coarse; ++c) {
      float* targets[MAX_WIDTH];
      for (int r = 0; r <= 2 * reach; ++r) {
        targets[r] = t.slab + ((row - t.first_row + r) * t.channels + c) * t.slab_stride;
      }
      with_window(u, [&](const auto& win) {
        halve_row(win, u.taps, phases + 4 * c, wide, targets);
      });
    }
    if (!t.networks) continue;
    with_window(u, [&](const auto& win) { tap_row(win, rows, phases, coarse, lanes, tap_acc); });
  }
  const Errors& e = head.errors;
  const Vf sums[4] = {e.y, e.u, e.v, e.flow};
  for (int i = 0; i < 4; ++i) t.errors[i] = sum(sums[i]);
  head.finish();
  if (!t.networks) return;
  reduce(acc, mlp.parameters, t.parameter_gradient);
  for (int i = 0; i < u.size(); ++i) t.tap_gradient[i] = sum(load(tap_acc + i * W));
}

static inline void picture(const Picture& t, float* scratch) {
  if (t.parts)
    picture_with<PartsHead>(t, scratch);
  else
    picture_with<WholeHead>(t, scratch);
}

}  // namespace vireo::train::VIREO_ISA
