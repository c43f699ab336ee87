// Shapes, and networks in a packet (docs/bitstream.md, "Networks").
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/coolchic.hpp"
#include "core/laplace.hpp"

namespace vireo {
namespace {

constexpr int kFormatBits = 4;      // of every count of fractional bits
constexpr int kSpreadBits = 8;      // of a parameter group's scale
constexpr int kMaxSpread = kScales - 1 + 15 * kScaleSteps;
constexpr std::int32_t kMaxBias = 1 << 23;

// Parameters of one kind (a network's weights, its biases) share a Laplace scale. Scales
// beyond the tables' are reached by sending low bits as they are.
struct Spread {
  int scale, low_bits;

  explicit Spread(int spread) : scale(spread), low_bits(0) {
    while (scale >= kScales) {
      scale -= kScaleSteps;
      ++low_bits;
    }
  }
  // The rest of a division by 2**low_bits lies half a step above its floor.
  std::int32_t mean() const { return low_bits > 0 ? -(1 << (kMeanBits - 1)) : 0; }
};

// The spread that codes a group in the fewest bits, and how many those are.
int best_spread(const std::vector<std::int32_t>& values, double& best_bits) {
  // The mean magnitude is nearly the best scale; only spreads around it are tried.
  double sum = 0;
  for (const std::int32_t v : values) sum += std::abs(static_cast<double>(v));
  const double mean = sum / static_cast<double>(values.size());
  const int guess = mean > 0 ? kScaleZero + static_cast<int>(std::lround(kScaleSteps * std::log2(mean))) : 0;
  int best = 0;
  best_bits = std::numeric_limits<double>::infinity();
  for (int spread = std::max(0, guess - 2 * kScaleSteps);
       spread <= std::clamp(guess + kScaleSteps, 0, kMaxSpread); ++spread) {
    const Spread s(spread);
    double bits = 0;
    for (const std::int32_t v : values)
      bits += laplace_bits(v >> s.low_bits, s.mean(), s.scale) + s.low_bits;
    if (bits < best_bits) {
      best_bits = bits;
      best = spread;
    }
  }
  return best;
}

// A network's parameters in the order in which they are coded: all weights, all biases.
struct Groups {
  std::vector<std::int32_t> weights, biases;

  explicit Groups(const QuantisedMlp& m) {
    auto p = m.parameters.begin();
    for (std::size_t l = 0; l < m.layers(); ++l) {
      weights.insert(weights.end(), p, p + m.widths[l] * m.widths[l + 1]);
      p += m.widths[l] * m.widths[l + 1];
      biases.insert(biases.end(), p, p + m.widths[l + 1]);
      p += m.widths[l + 1];
    }
  }
};

class Writer {
 public:
  void format(int value) { coder_.bits(static_cast<std::uint32_t>(value), kFormatBits); }

  void group(const std::vector<std::int32_t>& values) {
    double bits;
    const int best = best_spread(values, bits);
    coder_.bits(static_cast<std::uint32_t>(best), kSpreadBits);
    const Spread s(best);
    for (const std::int32_t v : values) {
      encode_laplace(coder_, v >> s.low_bits, s.mean(), s.scale);
      coder_.bits(static_cast<std::uint32_t>(v) & ((1u << s.low_bits) - 1), s.low_bits);
    }
  }

  void mlp(const QuantisedMlp& m) {
    format(m.weight_bits);
    format(m.bias_bits);
    for (const int bits : m.hidden_bits) format(bits);
    const Groups groups(m);
    group(groups.weights);
    group(groups.biases);
  }

  std::vector<std::uint8_t> finish() { return coder_.finish(); }

 private:
  RangeEncoder coder_;
};

class Reader {
 public:
  Reader(const std::uint8_t* data, std::size_t size) : coder_(data, size) {}

  int format() { return static_cast<int>(coder_.bits(kFormatBits)); }

  bool group(std::vector<std::int32_t>& values, std::int32_t limit) {
    const Spread s(static_cast<int>(coder_.bits(kSpreadBits)));
    if (s.low_bits > 15) return false;
    for (std::int32_t& v : values) {
      const std::int32_t high = decode_laplace(coder_, s.mean(), s.scale);
      const std::int64_t value = (std::int64_t{high} << s.low_bits) | coder_.bits(s.low_bits);
      if (value > limit || value < -limit) return false;
      v = static_cast<std::int32_t>(value);
    }
    return true;
  }

  bool mlp(QuantisedMlp& m) {
    m.weight_bits = format();
    m.bias_bits = format();
    for (int& bits : m.hidden_bits) bits = format();
    std::size_t weight_count = 0, bias_count = 0;
    for (std::size_t l = 0; l < m.layers(); ++l) {
      weight_count += static_cast<std::size_t>(m.widths[l] * m.widths[l + 1]);
      bias_count += static_cast<std::size_t>(m.widths[l + 1]);
    }
    std::vector<std::int32_t> weights(weight_count), biases(bias_count);
    if (!group(weights, kMaxWeight) || !group(biases, kMaxBias)) return false;
    auto p = m.parameters.begin();
    auto w = weights.begin();
    auto b = biases.begin();
    for (std::size_t l = 0; l < m.layers(); ++l) {
      for (int i = 0; i < m.widths[l] * m.widths[l + 1]; ++i) *p++ = *w++;
      for (int i = 0; i < m.widths[l + 1]; ++i) *p++ = *b++;
    }
    return true;
  }

 private:
  RangeDecoder coder_;
};

}  // namespace

std::vector<int> Architecture::synthesis_widths(int references) const {
  const int outputs = 3 + 3 * references;
  std::vector<int> widths{grids};
  widths.insert(widths.end(), synthesis.begin(), synthesis.end());
  widths.insert(widths.end(), {outputs, outputs});
  return widths;
}

bool Architecture::valid() const {
  const auto in_range = [](int v, int low, int high) { return v >= low && v <= high; };
  if (!in_range(grids, 1, kMaxGrids)) return false;
  if (context.empty() || context.size() > kMaxContext) return false;
  for (const Offset& o : context) {
    const bool causal = o.dy < 0 || (o.dy == 0 && o.dx < 0);
    if (!causal || o.dy < -kMaxContextReach || !in_range(o.dx, -kMaxContextReach, kMaxContextReach))
      return false;
  }
  if (arm.size() < 2 || arm.size() > kMaxLayers + 1) return false;
  if (arm.front() != static_cast<int>(context.size()) || arm.back() != 2) return false;
  if (synthesis.size() > kMaxLayers - 2) return false;
  for (const int w : arm)
    if (!in_range(w, 1, kMaxWidth)) return false;
  for (const int w : synthesis)
    if (!in_range(w, 1, kMaxWidth)) return false;
  if (kernel % 2 != 0 || !in_range(kernel, 2, kMaxKernel)) return false;
  return in_range(band_rows_log2, 0, 15) && in_range(block_log2, 2, 15);
}

QuantisedMlp QuantisedMlp::zeros(const std::vector<int>& widths) {
  QuantisedMlp m;
  m.widths = widths;
  std::size_t count = 0;
  for (std::size_t l = 0; l + 1 < widths.size(); ++l)
    count += static_cast<std::size_t>((widths[l] + 1) * widths[l + 1]);
  m.parameters.assign(count, 0);
  m.hidden_bits.assign(widths.size() - 2, 0);
  return m;
}

Networks Networks::zeros(const Architecture& architecture, int references) {
  Networks n;
  n.references = references;
  n.arm = QuantisedMlp::zeros(architecture.arm);
  n.kernel.assign(static_cast<std::size_t>(architecture.kernel * architecture.kernel), 0);
  n.synthesis = QuantisedMlp::zeros(architecture.synthesis_widths(references));
  return n;
}

Latents make_latents(const Architecture& architecture, int height, int width) {
  Latents latents;
  for (int k = 0; k < architecture.grids; ++k)
    latents.emplace_back(((height - 1) >> k) + 1, ((width - 1) >> k) + 1);
  return latents;
}

std::vector<std::uint8_t> encode_networks(const Networks& networks) {
  Writer writer;
  writer.format(networks.magnitude_bits);
  writer.mlp(networks.arm);
  writer.format(networks.kernel_bits);
  writer.group(networks.kernel);
  writer.mlp(networks.synthesis);
  return writer.finish();
}

double measure_networks(const Networks& networks) {
  const Groups arm(networks.arm), synthesis(networks.synthesis);
  double total = 0;
  for (const auto* group : {&arm.weights, &arm.biases, &networks.kernel, &synthesis.weights,
                            &synthesis.biases}) {
    double bits;
    best_spread(*group, bits);
    total += bits + kSpreadBits;
  }
  const auto formats = 6 + networks.arm.hidden_bits.size() + networks.synthesis.hidden_bits.size();
  return total + kFormatBits * static_cast<double>(formats);
}

bool decode_networks(const std::uint8_t* data, std::size_t size, Networks& networks) {
  Reader reader(data, size);
  networks.magnitude_bits = reader.format();
  if (networks.magnitude_bits > kMaxMagnitudeBits) return false;
  if (!reader.mlp(networks.arm)) return false;
  networks.kernel_bits = reader.format();
  if (!reader.group(networks.kernel, kMaxWeight)) return false;
  return reader.mlp(networks.synthesis);
}

}  // namespace vireo
