// From latents to a picture: upsampling, synthesis, inter coding (docs/bitstream.md,
// "Reconstruction"; paper, section 2).
#include <algorithm>

#include "core/coolchic.hpp"
#include "core/kernels.hpp"

namespace vireo {
namespace {

constexpr int kFlowBits = 6;         // flows are in 1/64 sample
constexpr int kFlowUnitBits = 4;     // one unit of the synthesis is 16 luma samples
constexpr int kResidualBits = 6;     // residuals and predictions are in 1/64 sample value
constexpr int kResidualUnitBits = 8; // one unit of the synthesis is 256 sample values
constexpr int kBlendBits = 12;       // alpha and beta are in 1/4096
constexpr std::int32_t kMaxFlow = 1 << 20;
constexpr std::int32_t kMaxResidual = 32767;

// Twice the size: stride-2 transposed convolution, border samples repeated, cropped to
// the next finer grid's size.
Plane<std::int16_t> upsample(const Plane<std::int16_t>& in, const Networks& networks, int side,
                             int height, int width) {
  const int taps = side / 2;
  Plane<std::int16_t> padded(in.height, in.width + 2 * taps);
  for (int y = 0; y < in.height; ++y) {
    std::int16_t* row = padded.row(y);
    std::fill_n(row, taps, in.row(y)[0]);
    std::copy_n(in.row(y), in.width, row + taps);
    std::fill_n(row + taps + in.width, taps, in.row(y)[in.width - 1]);
  }
  Plane<std::int16_t> out(height, width);
  std::vector<std::int32_t> sums(static_cast<std::size_t>(in.width) + 1);
  const std::int16_t* rows[kMaxKernel / 2];
  for (int y = 0; y < height; ++y) {
    for (int j = 0; j < taps; ++j)
      rows[j] = padded.row(std::clamp(((y + taps - 1) >> 1) - j, 0, in.height - 1));
    kernels().upsample_row(rows, taps, in.width,
                           networks.kernel.data() + ((y + taps - 1) & 1) * side, 2 * side,
                           networks.kernel_bits, sums.data(), out.row(y), width);
  }
  return out;
}

// All grids at the finest one's size (paper, figure 1).
Latents upsample_latents(const Architecture& architecture, const Networks& networks,
                         const Latents& latents) {
  Latents dense;
  for (std::size_t k = 0; k < latents.size(); ++k) {
    Plane<std::int16_t> plane(latents[k].height, latents[k].width);
    for (std::size_t i = 0; i < plane.samples.size(); ++i)
      plane.samples[i] =
          static_cast<std::int16_t>(latents[k].samples[i] * (1 << networks.latent_bits()));
    for (std::size_t level = k; level > 0; --level)
      plane = upsample(plane, networks, architecture.kernel, latents[level - 1].height,
                       latents[level - 1].width);
    dense.push_back(std::move(plane));
  }
  return dense;
}

// The synthesis' accumulators for one row of samples: [output][x].
class RowSynthesis {
 public:
  RowSynthesis(const Networks& networks, int width)
      : mlp_(networks.synthesis, networks.latent_bits()),
        stride_((width + kLanes - 1) / kLanes * kLanes),
        outputs_(mlp_.layers.back().outputs),
        sums_(static_cast<std::size_t>(outputs_ * stride_)) {}

  void run(const Latents& dense, int y, int width) {
    std::vector<const std::int16_t*> inputs(dense.size());
    std::vector<std::int16_t> tail(dense.size() * kLanes);
    std::vector<std::int32_t> out(static_cast<std::size_t>(outputs_ * kLanes));
    for (int x = 0; x < width; x += kLanes) {
      const int count = std::min(kLanes, width - x);
      for (std::size_t i = 0; i < dense.size(); ++i) {
        inputs[i] = dense[i].row(y) + x;
        if (count < kLanes) {
          std::copy_n(inputs[i], count, tail.begin() + static_cast<std::ptrdiff_t>(i * kLanes));
          inputs[i] = tail.data() + i * kLanes;
        }
      }
      kernels().mlp_lanes(mlp_, inputs.data(), out.data());
      for (int o = 0; o < outputs_; ++o)
        std::copy_n(out.begin() + o * kLanes, kLanes, sums_.begin() + o * stride_ + x);
    }
  }

  const std::int32_t* operator[](int output) const { return sums_.data() + output * stride_; }
  int bits() const { return mlp_.accumulator_bits; }

 private:
  IntegerMlp mlp_;
  int stride_, outputs_;
  std::vector<std::int32_t> sums_;
};

// Bilinear interpolation of `plane` at (x, y) + flow; the result is in 1/64 sample value.
inline std::int32_t interpolate(const Plane<std::uint8_t>& plane, int x, int y, std::int32_t flow_x,
                                std::int32_t flow_y) {
  constexpr int one = 1 << kFlowBits;
  const int at_x = x * one + flow_x, at_y = y * one + flow_y;
  const int fx = at_x & (one - 1), fy = at_y & (one - 1);
  const int x0 = std::clamp(at_x >> kFlowBits, 0, plane.width - 1);
  const int x1 = std::clamp((at_x >> kFlowBits) + 1, 0, plane.width - 1);
  const std::uint8_t* top = plane.row(std::clamp(at_y >> kFlowBits, 0, plane.height - 1));
  const std::uint8_t* bottom = plane.row(std::clamp((at_y >> kFlowBits) + 1, 0, plane.height - 1));
  const int upper = top[x0] * (one - fx) + top[x1] * fx;
  const int lower = bottom[x0] * (one - fx) + bottom[x1] * fx;
  return (upper * (one - fy) + lower * fy + one / 2) >> (2 * kFlowBits - kResidualBits);
}

// What inter coding needs of one sample.
struct Sample {
  std::int32_t flow[2][2];  // per reference: x, y
  std::int32_t residual;
  std::int32_t alpha, beta;
};

std::uint8_t inter_code(const Sample& s, int x, int y,
                        const std::vector<const Plane<std::uint8_t>*>& references) {
  std::int32_t sum = s.residual * (1 << kBlendBits);
  if (!references.empty()) {
    std::int32_t prediction = interpolate(*references[0], x, y, s.flow[0][0], s.flow[0][1]);
    if (references.size() == 2) {
      const std::int32_t other = interpolate(*references[1], x, y, s.flow[1][0], s.flow[1][1]);
      prediction = round_shift(s.beta * prediction + ((1 << kBlendBits) - s.beta) * other, kBlendBits);
    }
    sum += s.alpha * prediction;
  }
  return static_cast<std::uint8_t>(std::clamp(round_shift(sum, kBlendBits + kResidualBits), 0, 255));
}

// Where each signal stands among the synthesis' outputs (paper, equation 2).
struct Outputs {
  int references;
  int residual() const { return 2 * references; }
  int alpha() const { return residual() + 3; }
  int beta() const { return alpha() + 1; }
};

std::int32_t to_residual(std::int32_t sum, int bits) {
  return std::clamp(round_shift(sum, bits - kResidualBits - kResidualUnitBits), -kMaxResidual,
                    kMaxResidual);
}

Sample luma_sample(const RowSynthesis& row, const Outputs& at, int x) {
  const int bits = row.bits();
  const auto blend = [&](int output) {
    return std::clamp(round_shift(row[output][x], bits - kBlendBits) + (1 << (kBlendBits - 1)), 0,
                      1 << kBlendBits);
  };
  Sample s{};
  for (int r = 0; r < at.references; ++r)
    for (int axis = 0; axis < 2; ++axis)
      s.flow[r][axis] = std::clamp(
          round_shift(row[2 * r + axis][x], bits - kFlowBits - kFlowUnitBits), -kMaxFlow, kMaxFlow);
  s.residual = to_residual(row[at.residual()][x], bits);
  if (at.references >= 1) s.alpha = blend(at.alpha());
  if (at.references == 2) s.beta = blend(at.beta());
  return s;
}

// The means of four luma samples' signals; a luma sample of motion is half a chroma one.
Sample chroma_sample(const Sample& a, const Sample& b, const Sample& c, const Sample& d) {
  Sample s{};
  for (int r = 0; r < 2; ++r)
    for (int axis = 0; axis < 2; ++axis)
      s.flow[r][axis] = round_shift(
          a.flow[r][axis] + b.flow[r][axis] + c.flow[r][axis] + d.flow[r][axis], 3);
  s.alpha = round_shift(a.alpha + b.alpha + c.alpha + d.alpha, 2);
  s.beta = round_shift(a.beta + b.beta + c.beta + d.beta, 2);
  return s;
}

}  // namespace

Picture reconstruct(const Architecture& architecture, const Networks& networks,
                    const Latents& latents, const std::vector<const Picture*>& references,
                    SignalPlanes* signals) {
  const int height = latents[0].height, width = latents[0].width;
  const Latents dense = upsample_latents(architecture, networks, latents);
  const Outputs at{networks.references};
  std::vector<const Plane<std::uint8_t>*> ref_y, ref_u, ref_v;
  for (const Picture* r : references) {
    ref_y.push_back(&r->y);
    ref_u.push_back(&r->u);
    ref_v.push_back(&r->v);
  }
  Picture picture{{height, width}, {height / 2, width / 2}, {height / 2, width / 2}};
  if (signals) {
    signals->flows.assign(static_cast<std::size_t>(2 * networks.references), {height, width});
    signals->residual = signals->alpha = signals->beta = {height, width};
  }
  RowSynthesis rows[2] = {{networks, width}, {networks, width}};
  std::vector<Sample> samples[2];
  for (auto& s : samples) s.resize(static_cast<std::size_t>(width));
  for (int y = 0; y < height; y += 2) {
    for (int i = 0; i < 2; ++i) {
      rows[i].run(dense, y + i, width);
      for (int x = 0; x < width; ++x) {
        const Sample s = luma_sample(rows[i], at, x);
        samples[i][static_cast<std::size_t>(x)] = s;
        picture.y.row(y + i)[x] = inter_code(s, x, y + i, ref_y);
        if (!signals) continue;
        for (int f = 0; f < 2 * networks.references; ++f)
          signals->flows[static_cast<std::size_t>(f)].row(y + i)[x] = s.flow[f / 2][f % 2];
        signals->residual.row(y + i)[x] = s.residual;
        signals->alpha.row(y + i)[x] = s.alpha;
        signals->beta.row(y + i)[x] = s.beta;
      }
    }
    for (int x = 0; x < width; x += 2) {
      const auto left = static_cast<std::size_t>(x);
      Sample s = chroma_sample(samples[0][left], samples[0][left + 1], samples[1][left],
                               samples[1][left + 1]);
      for (int c = 1; c <= 2; ++c) {
        const int o = at.residual() + c;
        const std::int32_t sum = rows[0][o][x] + rows[0][o][x + 1] + rows[1][o][x] + rows[1][o][x + 1];
        s.residual = to_residual(sum, rows[0].bits() + 2);
        auto& plane = c == 1 ? picture.u : picture.v;
        plane.row(y / 2)[x / 2] = inter_code(s, x / 2, y / 2, c == 1 ? ref_u : ref_v);
      }
    }
  }
  return picture;
}

}  // namespace vireo
