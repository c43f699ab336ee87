// From the synthesis' results to samples (docs/bitstream.md, "Synthesis", "Inter coding").
#pragma once

#include "core/kernels.hpp"
#include "core/simd.hpp"

namespace vireo {
namespace {

constexpr int kFlowBits = 6;          // flows are in 1/64 sample
constexpr int kFlowUnitBits = 4;      // one unit of the synthesis is 16 luma samples
constexpr int kResidualBits = 6;      // residuals and predictions are in 1/64 sample value
constexpr int kResidualUnitBits = 8;  // one unit of the synthesis is 256 sample values
constexpr int kBlendBits = 12;        // alpha and beta are in 1/4096
constexpr std::int32_t kMaxFlow = 1 << 20;
constexpr std::int32_t kMaxResidual = 32767;

VIREO_INLINE void shift_row(const std::int32_t* sums, int shift, std::int32_t offset,
                            std::int32_t low, std::int32_t high, int count, std::int32_t* out) {
  for (int x = 0; x < count; x += kVector)
    store(out + x, clamp(round_shift(load(sums + x), shift) + offset, low, high));
}

// Where each signal stands among the synthesis' outputs: paper, equation 2.
void luma_signals(const std::int32_t* sums, int references, int bits, int count,
                  Signals& signals) {
  for (int f = 0; f < 2 * references; ++f, sums += kChunk)
    shift_row(sums, bits - kFlowBits - kFlowUnitBits, 0, -kMaxFlow, kMaxFlow, count,
              signals.flow[f]);
  shift_row(sums, bits - kResidualBits - kResidualUnitBits, 0, -kMaxResidual, kMaxResidual, count,
            signals.residual);
  sums += 3 * kChunk;
  for (int r = 0; r < references; ++r, sums += kChunk)
    shift_row(sums, bits - kBlendBits, 1 << (kBlendBits - 1), 0, 1 << kBlendBits, count,
              r ? signals.beta : signals.alpha);
}

// Sums of 2 by 2 values, RS by `shift`.
VIREO_INLINE void sum_row(const std::int32_t* top, const std::int32_t* bottom, int shift,
                          int count, std::int32_t* out) {
  for (int x = 0; x < count; x += kVector) {
    const Vec left = load(top + 2 * x) + load(bottom + 2 * x);
    const Vec right = load(top + 2 * x + kVector) + load(bottom + 2 * x + kVector);
    store(out + x, round_shift(sum_neighbours(left, right), shift));
  }
}

// The means of four luma samples' signals; a luma sample of motion is half a chroma one.
void chroma_signals(const Signals& top, const Signals& bottom, int references, int count,
                    Signals& signals) {
  for (int f = 0; f < 2 * references; ++f)
    sum_row(top.flow[f], bottom.flow[f], 3, count, signals.flow[f]);
  if (references >= 1) sum_row(top.alpha, bottom.alpha, 2, count, signals.alpha);
  if (references == 2) sum_row(top.beta, bottom.beta, 2, count, signals.beta);
}

void chroma_residuals(const std::int32_t* top, const std::int32_t* bottom, int bits, int count,
                      std::int32_t* residuals) {
  sum_row(top, bottom, 0, count, residuals);
  shift_row(residuals, bits + 2 - kResidualBits - kResidualUnitBits, 0, -kMaxResidual,
            kMaxResidual, count, residuals);
}

void add_residuals(const std::int32_t* sums, const std::int16_t* predictions, int bits, int count,
                   std::uint8_t* out) {
  const int shift = bits - kResidualBits - kResidualUnitBits;
  for (int x = 0; x < count; x += kVector) {
    const Vec residual = clamp(round_shift(load(sums + x), shift), -kMaxResidual, kMaxResidual);
    const Vec sum = residual + widen(predictions + x);
    store_bytes(out + x, clamp(round_shift(sum, kResidualBits), 0, 255));
  }
}

// Each lane's bytes at index and behind it, as a pair.
VIREO_INLINE Vec neighbours(const PlaneView& plane, Vec index) {
#if VIREO_GATHER
  // Four bytes are loaded; at the end of the plane, those before.
  const Vec at = smallest(index, splat(plane.height * plane.width - 4));
  const Vec bytes = gather(plane.samples, at) >> ((index - at) << 3);
  return (bytes & 0xff) | ((bytes & 0xff00) << 8);
#else
  Vec pairs;
  for (int l = 0; l < kVector; ++l)
    pairs[l] = plane.samples[index[l]] | plane.samples[index[l] + 1] << 16;
  return pairs;
#endif
}

VIREO_INLINE Vec adjacent(const std::uint8_t* p) { return widen(p) | (widen(p + 1) << 16); }

// The same for all lanes where they lie near each other, as they do where motion is smooth:
// then a few rows of a window hold them all. False if they don't.
VIREO_INLINE bool near(const PlaneView& plane, Vec x0, Vec y0, Vec& top, Vec& bottom) {
#if VIREO_WINDOW
  constexpr int before = (kWindow - kVector) / 2;  // columns to the left of the first lane's
  const int left = x0[0] < before ? 0 : x0[0] - before;
  const Vec column = x0 - left;
  const Vec down = y0 - y0[0];
  if (any((column < 0) | (column > kWindow - 2) | (down < -1) | (down > 1))) return false;
  const bool above = any(down < 0), below = any(down > 0);
  const int bottom_row = y0[0] + 1 + below;
  if ((plane.height - bottom_row) * plane.width < left + kWindow) return false;  // past the end
  const std::uint8_t* p = plane.samples + (y0[0] - above) * plane.width + left;
  const WindowIndex index = window_index(column);
  Vec rows[4];
  for (int i = 0; i < 2 + above + below; ++i) rows[i] = window_pairs(p + i * plane.width, index);
  top = rows[above];
  bottom = rows[above + 1];
  if (above) {
    top = down < 0 ? rows[0] : top;
    bottom = down < 0 ? rows[1] : bottom;
  }
  if (below) {
    top = down > 0 ? rows[above + 1] : top;
    bottom = down > 0 ? rows[above + 2] : bottom;
  }
  return true;
#else
  return (void)plane, (void)x0, (void)y0, (void)top, (void)bottom, false;
#endif
}

// Four neighbours, as pairs from two rows, weighted by where between them a place lies.
VIREO_INLINE Vec weigh(Vec top, Vec bottom, Vec fx, Vec fy) {
  constexpr int one = 1 << kFlowBits;
  const Vec across = (one - fx) | (fx << 16), down = (one - fy) | (fy << 16);
  const Vec upper = multiply_add(Vec{}, top, across);
  const Vec lower = multiply_add(Vec{}, bottom, across);
  return multiply_add(splat(one / 2), upper | (lower << 16), down) >>
         (2 * kFlowBits - kResidualBits);
}

// Bilinear interpolation at (x, y) + flow, x being the first lane's; in 1/64 sample value. A
// place beyond the border has the border's value: it is the same as the place on the border.
VIREO_INLINE Vec interpolate(const PlaneView& plane, int x, int y, Vec flow_x, Vec flow_y) {
  constexpr int one = 1 << kFlowBits;
  const int left = x + (flow_x[0] >> kFlowBits), above = y + (flow_y[0] >> kFlowBits);
  const Vec differences = ((flow_x ^ flow_x[0]) | (flow_y ^ flow_y[0])) >> kFlowBits;
  if (!any(differences) && left >= 0 && left + kVector < plane.width && above >= 0 &&
      above + 1 < plane.height) {
    const std::uint8_t* p = plane.samples + above * plane.width + left;
    return weigh(adjacent(p), adjacent(p + plane.width), flow_x & (one - 1), flow_y & (one - 1));
  }
  const Vec at_x = clamp(flow_x + ((iota() + x) << kFlowBits), 0, (plane.width - 1) << kFlowBits);
  const Vec at_y = clamp(flow_y + (y << kFlowBits), 0, (plane.height - 1) << kFlowBits);
  const Vec x0 = smallest(at_x >> kFlowBits, splat(plane.width - 2));
  const Vec y0 = smallest(at_y >> kFlowBits, splat(plane.height - 2));
  const Vec fx = at_x - (x0 << kFlowBits), fy = at_y - (y0 << kFlowBits);
  const Vec index = y0 * plane.width + x0;
  Vec top, bottom;
  if (!near(plane, x0, y0, top, bottom)) {
    top = neighbours(plane, index);
    bottom = neighbours(plane, index + plane.width);
  }
  return weigh(top, bottom, fx, fy);
}

// The same for planes that have no two rows or columns.
inline Vec interpolate_small(const PlaneView& plane, int x, int y, Vec flow_x, Vec flow_y) {
  constexpr int one = 1 << kFlowBits;
  const auto limit = [](int v, int size) { return v < 0 ? 0 : v >= size ? size - 1 : v; };
  Vec result;
  for (int l = 0; l < kVector; ++l) {
    const int at_x = (x + l) * one + flow_x[l], at_y = y * one + flow_y[l];
    const int fx = at_x & (one - 1), fy = at_y & (one - 1);
    const int x0 = limit(at_x >> kFlowBits, plane.width);
    const int x1 = limit((at_x >> kFlowBits) + 1, plane.width);
    const std::uint8_t* top = plane.samples + limit(at_y >> kFlowBits, plane.height) * plane.width;
    const std::uint8_t* bottom =
        plane.samples + limit((at_y >> kFlowBits) + 1, plane.height) * plane.width;
    const int upper = top[x0] * (one - fx) + top[x1] * fx;
    const int lower = bottom[x0] * (one - fx) + bottom[x1] * fx;
    result[l] = (upper * (one - fy) + lower * fy + one / 2) >> (2 * kFlowBits - kResidualBits);
  }
  return result;
}

VIREO_INLINE Vec predict(const PlaneView& plane, int x, int y, Vec flow_x, Vec flow_y) {
  if (plane.width < 2 || plane.height < 2) return interpolate_small(plane, x, y, flow_x, flow_y);
  return interpolate(plane, x, y, flow_x, flow_y);
}

template <int References>
VIREO_INLINE void inter_code_row(const Signals& signals, const PlaneView* planes, int x, int y,
                                 int count, std::uint8_t* out) {
  constexpr std::int32_t one = 1 << kBlendBits;
  for (int i = 0; i < count; i += kVector) {
    // Every factor and term has 16 bits: see the specification's clamps.
    Vec prediction{}, alpha{};
    if (References >= 1) {
      alpha = load(signals.alpha + i);
      prediction = predict(planes[0], x + i, y, load(signals.flow[0] + i), load(signals.flow[1] + i));
    }
    if (References == 2) {
      const Vec other =
          predict(planes[1], x + i, y, load(signals.flow[2] + i), load(signals.flow[3] + i));
      const Vec beta = load(signals.beta + i);
      prediction = multiply_add(splat(one / 2), prediction | (other << 16),
                                beta | ((one - beta) << 16)) >> kBlendBits;
    }
    const Vec sum = multiply_add(splat(1 << (kBlendBits + kResidualBits - 1)),
                                 pair(load(signals.residual + i), prediction), alpha << 16 | one);
    store_bytes(out + i, clamp(sum >> (kBlendBits + kResidualBits), 0, 255));
  }
}

void inter_code(const Signals& signals, const PlaneView* planes, int references, int x, int y,
                int count, std::uint8_t* out) {
  switch (references) {
    case 0: inter_code_row<0>(signals, planes, x, y, count, out); break;
    case 1: inter_code_row<1>(signals, planes, x, y, count, out); break;
    default: inter_code_row<2>(signals, planes, x, y, count, out); break;
  }
}

}  // namespace
}  // namespace vireo
