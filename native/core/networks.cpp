// Shapes, and networks in a packet (docs/bitstream.md, "Networks").
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/coolchic.hpp"
#include "core/laplace.hpp"
#include "core/loop_filter.hpp"
#include "core/frame_syntax.hpp"
#include "core/temporal_context.hpp"
#include "core/update_syntax.hpp"

namespace vireo {
namespace {

constexpr int kFormatBits = 4;      // of every count of fractional bits
constexpr int kSpreadBits = 8;      // of a parameter group's scale
constexpr int kStepBits = 4;        // of an update's unit
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
  explicit Writer(RangeEncoder& coder) : coder_(coder) {}

  void format(int value) { coder_.bits(static_cast<std::uint32_t>(value), kFormatBits); }

  void number(int value, int bits) { coder_.bits(static_cast<std::uint32_t>(value), bits); }

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

 private:
  RangeEncoder& coder_;
};

class Reader {
 public:
  explicit Reader(RangeDecoder& coder) : coder_(coder) {}

  int format() { return number(kFormatBits); }
  int number(int bits) { return static_cast<int>(coder_.bits(bits)); }

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
  RangeDecoder& coder_;
};

// Groups of an update in the order in which they are coded, by their parameters' places in
// Networks::parameters: all weights, then all biases of each network, the kernel between, and
// each filter's weights.
std::vector<std::vector<std::size_t>> update_groups(const Networks& networks) {
  std::vector<std::vector<std::size_t>> groups;
  std::size_t at = 0;
  const auto take = [&](int count, std::vector<std::size_t>& group) {
    for (int i = 0; i < count; ++i) group.push_back(at++);
  };
  const auto mlp = [&](const QuantisedMlp& m) {
    std::vector<std::size_t> weights, biases;
    for (std::size_t l = 0; l < m.layers(); ++l) {
      take(m.widths[l] * m.widths[l + 1], weights);
      take(m.widths[l + 1], biases);
    }
    groups.insert(groups.end(), {std::move(weights), std::move(biases)});
  };
  for (const QuantisedMlp& m : networks.arms) mlp(m);
  take(static_cast<int>(networks.kernel.size()), groups.emplace_back());
  for (const QuantisedMlp& m : networks.syntheses) mlp(m);
  for (const LoopFilter& f : networks.filters)
    take(static_cast<int>(f.weights.size()), groups.emplace_back());
  return groups;
}

// A group's differences from the base, in units of 2**step, step being the greatest possible;
// empty where there are none.
struct Update {
  int step = 0;
  std::vector<std::int32_t> values;

  Update(const std::vector<std::size_t>& group, const std::vector<std::int32_t>& parameters,
         const std::vector<std::int32_t>& base) {
    std::int32_t any = 0;
    for (const std::size_t i : group) {
      values.push_back(parameters[i] - base[i]);
      any |= values.back();
    }
    if (!any) {
      values.clear();
      return;
    }
    while (!(any >> step & 1)) ++step;
    for (std::int32_t& v : values) v >>= step;
  }
};

bool in_range(int v, int low, int high) { return v >= low && v <= high; }

bool valid_context(const std::vector<Offset>& context) {
  if (context.empty() || context.size() > kMaxContext) return false;
  return std::all_of(context.begin(), context.end(), [](const Offset& o) {
    const bool causal = o.dy < 0 || (o.dy == 0 && o.dx < 0);
    return causal && o.dy >= -kMaxContextReach &&
           in_range(o.dx, -kMaxContextReach, kMaxContextReach);
  });
}

bool valid_mlp(const std::vector<int>& widths) {
  if (widths.size() < 2 || widths.size() > kMaxLayers + 1) return false;
  return std::all_of(widths.begin(), widths.end(), [](int w) { return in_range(w, 1, kMaxWidth); });
}

bool valid_table(const std::vector<std::uint16_t>& table, std::size_t size) {
  return table.size() == size && std::all_of(table.begin(), table.end(), [](int one) {
           return in_range(one, Decision::kLeast, static_cast<int>(kProbabilityOne) - Decision::kLeast);
         });
}

bool valid_parts(const Parts& p, int grids) {
  return in_range(p.chroma_first, 1, grids - 1) && in_range(p.motion_first, 2, kMaxGrids - 1) &&
         in_range(p.motion_grids, 1, kMaxGrids - p.motion_first) &&
         p.temporal.size() == kTemporalParameters &&
         valid_table(p.motion_probabilities, kMotionRows * kMotionContexts) &&
         valid_table(p.frame_probabilities, kFrameRows * kFrameContexts);
}

}  // namespace

std::vector<std::vector<int>> Architecture::arm_widths() const {
  if (!parts) return {arm};
  std::vector<int> wider = arm;
  ++wider.front();  // luma's temporal context, chroma's other grid
  return {wider, wider};
}

std::vector<std::vector<int>> Architecture::synthesis_widths(int references) const {
  const auto widths = [](int inputs, const std::vector<int>& hidden, std::vector<int> outputs) {
    std::vector<int> all{inputs};
    all.insert(all.end(), hidden.begin(), hidden.end());
    all.insert(all.end(), outputs.begin(), outputs.end());
    return all;
  };
  const int outputs = 3 + 3 * references;
  if (!parts) return {widths(grids, synthesis, {outputs, outputs})};
  const int chroma_grids = grids - parts->chroma_first;
  return {widths(grids, synthesis, {1}),
          widths(2 * chroma_grids + grids - 1, parts->chroma_synthesis, {2})};
}

std::vector<LatentGrid> Architecture::latent_grids(int references) const {
  std::vector<LatentGrid> all;
  // `behind` says how many pyramids of this size further on the other grid is; 0: none.
  const auto pyramid = [&](GridKind kind, int first, int count, int behind) {
    for (int k = first; k < first + count; ++k)
      all.push_back({kind, k, behind ? static_cast<int>(all.size()) + behind * count : -1});
  };
  pyramid(kLuma, 0, grids, 0);
  if (!parts) return all;
  for (const int behind : {1, 0})
    pyramid(kChroma, parts->chroma_first, grids - parts->chroma_first, behind);
  for (int field = 0; field < 3 * references; ++field)
    pyramid(field < 2 * references ? kVectors : kBlending, parts->motion_first,
            parts->motion_grids, 0);
  return all;
}

bool Architecture::valid() const {
  if (!in_range(grids, 1, kMaxGrids) || !valid_context(context)) return false;
  if (parts && !valid_parts(*parts, grids)) return false;
  if (arm.size() < 2 || arm.front() != static_cast<int>(context.size()) || arm.back() != 2)
    return false;
  for (const auto& widths : arm_widths())
    if (!valid_mlp(widths)) return false;
  for (const auto& widths : synthesis_widths(2))
    if (!valid_mlp(widths)) return false;
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
  for (const auto& widths : architecture.arm_widths())
    n.arms.push_back(QuantisedMlp::zeros(widths));
  n.kernel.assign(static_cast<std::size_t>(architecture.kernel * architecture.kernel), 0);
  for (const auto& widths : architecture.synthesis_widths(references))
    n.syntheses.push_back(QuantisedMlp::zeros(widths));
  if (!architecture.parts) return n;
  n.frame_probabilities = architecture.parts->frame_probabilities;
  for (QuantisedMlp& m : n.arms) {
    m.weight_bits = m.bias_bits = kArmBits;
    std::fill(m.hidden_bits.begin(), m.hidden_bits.end(), kArmBits);
  }
  n.kernel_bits = kKernelBits;
  for (QuantisedMlp& m : n.syntheses) {
    m.weight_bits = kSynthesisWeightBits;
    m.bias_bits = kSynthesisBiasBits;
    std::fill(m.hidden_bits.begin(), m.hidden_bits.end(), kSynthesisHiddenBits);
  }
  for (const FilterShape* shape : {&kLumaFilter, &kChromaFilter})
    n.filters.push_back({false, std::vector<std::int32_t>(static_cast<std::size_t>(shape->weights()))});
  return n;
}

std::vector<std::int32_t> Networks::parameters() const {
  std::vector<std::int32_t> all;
  const auto add = [&](const std::vector<std::int32_t>& p) {
    all.insert(all.end(), p.begin(), p.end());
  };
  for (const QuantisedMlp& m : arms) add(m.parameters);
  add(kernel);
  for (const QuantisedMlp& m : syntheses) add(m.parameters);
  for (const LoopFilter& f : filters) add(f.weights);
  return all;
}

void Networks::set_parameters(const std::int32_t* values) {
  const auto take = [&](std::vector<std::int32_t>& p) {
    std::copy_n(values, p.size(), p.begin());
    values += p.size();
  };
  for (QuantisedMlp& m : arms) take(m.parameters);
  take(kernel);
  for (QuantisedMlp& m : syntheses) take(m.parameters);
  for (LoopFilter& f : filters) take(f.weights);
}

Latents make_latents(const Architecture& architecture, int references, int height, int width) {
  Latents latents;
  for (const LatentGrid& grid : architecture.latent_grids(references))
    latents.emplace_back(((height - 1) >> grid.level) + 1, ((width - 1) >> grid.level) + 1);
  return latents;
}

std::vector<std::uint8_t> encode_networks(const Networks& networks) {
  RangeEncoder coder;
  Writer writer(coder);
  writer.format(networks.magnitude_bits);
  writer.mlp(networks.arms[0]);
  writer.format(networks.kernel_bits);
  writer.group(networks.kernel);
  writer.mlp(networks.syntheses[0]);
  return coder.finish();
}

double measure_networks(const Networks& networks) {
  const Groups arm(networks.arms[0]), synthesis(networks.syntheses[0]);
  double total = 0;
  for (const auto* group : {&arm.weights, &arm.biases, &networks.kernel, &synthesis.weights,
                            &synthesis.biases}) {
    double bits;
    best_spread(*group, bits);
    total += bits + kSpreadBits;
  }
  const auto formats =
      6 + networks.arms[0].hidden_bits.size() + networks.syntheses[0].hidden_bits.size();
  return total + kFormatBits * static_cast<double>(formats);
}

bool decode_networks(const std::uint8_t* data, std::size_t size, Networks& networks) {
  RangeDecoder coder(data, size);
  Reader reader(coder);
  networks.magnitude_bits = reader.format();
  if (networks.magnitude_bits > kMaxMagnitudeBits) return false;
  if (!reader.mlp(networks.arms[0])) return false;
  networks.kernel_bits = reader.format();
  if (!reader.group(networks.kernel, kMaxWeight)) return false;
  return reader.mlp(networks.syntheses[0]);
}

std::vector<std::uint8_t> encode_update(const Networks& networks, int number,
                                        const std::vector<std::int32_t>& base) {
  RangeEncoder coder;
  write_update(coder, networks, {number, base});
  return coder.finish();
}

namespace {

FrameDecisions decisions_of(const Networks& networks) {
  return initial_decisions<kFrameContexts>(networks.frame_probabilities.data(),
                                           networks.references);
}

std::size_t corner_count(const Networks& networks) {
  return kCorners * static_cast<std::size_t>(networks.references);
}

// What stands before the updates.
struct UpdateStart {
  int magnitude_bits = 0, number = 0;
  bool filtered[2] = {};
  bool inherits = false, global = false;

  UpdateStart() = default;
  UpdateStart(const Networks& networks, int base)
      : magnitude_bits(networks.magnitude_bits),
        number(base),
        inherits(networks.inherits),
        global(!networks.corners.empty()) {
    for (std::size_t i = 0; i < networks.filters.size(); ++i) filtered[i] = networks.filters[i].on;
  }
};

// An update: visit_corners() if there is motion of the whole picture, visit_start(start), then for
// each group of `changed` whether it changes, and visit_group(group) if it does. False as soon as one
// of these is.
template <class Coder, class VisitCorners, class VisitStart, class VisitGroup>
bool code_update(Coder& coder, const Networks& networks, UpdateStart start,
                 const std::vector<bool>& changed, VisitCorners&& visit_corners,
                 VisitStart&& visit_start, VisitGroup&& visit_group) {
  FrameSyntax syntax(coder, networks.references);
  start.magnitude_bits = syntax.magnitude_bits(start.magnitude_bits);
  start.number = syntax.base(start.number);
  for (int i = 0; i < 2; ++i) start.filtered[i] = syntax.filtered(i, start.filtered[i]);
  start.inherits = syntax.inherits(start.inherits);
  start.global = syntax.global(start.inherits, start.global);
  if (start.global && !visit_corners()) return false;
  if (!visit_start(start)) return false;
  if (!syntax.updated(std::find(changed.begin(), changed.end(), true) != changed.end()))
    return true;
  for (std::size_t i = 0; i < changed.size(); ++i)
    if (syntax.changed(static_cast<int>(i), changed[i]) && !visit_group(i)) return false;
  return true;
}

bool accept(const UpdateStart&) { return true; }

// All updates of a frame's groups, and which of them change anything.
struct Updates {
  std::vector<Update> groups;
  std::vector<bool> changed;

  Updates(const Networks& networks, const std::vector<std::int32_t>& base) {
    const std::vector<std::int32_t> parameters = networks.parameters();
    for (const auto& group : update_groups(networks)) {
      groups.emplace_back(group, parameters, base);
      changed.push_back(!groups.back().values.empty());
    }
  }
};

}  // namespace

void write_update(RangeEncoder& coder, const Networks& networks, const CodedUpdate& coded) {
  Writer writer(coder);
  FrameDecisions decisions = decisions_of(networks);
  DecisionWriter bits(coder, decisions);
  const Updates updates(networks, coded.base);
  const auto corners = [&] {
    writer.group(networks.corners);
    return true;
  };
  code_update(bits, networks, {networks, coded.number}, updates.changed, corners, accept,
              [&](std::size_t i) {
                writer.number(updates.groups[i].step, kStepBits);
                writer.group(updates.groups[i].values);
                return true;
              });
}

void count_update(DecisionCounter<kFrameContexts>& counter, const Networks& networks,
                  const CodedUpdate& coded) {
  const Updates updates(networks, coded.base);
  code_update(counter, networks, {networks, coded.number}, updates.changed, [] { return true; },
              accept, [](std::size_t) { return true; });
}

double measure_update(const Networks& networks, int number, const std::vector<std::int32_t>& base) {
  FrameDecisions decisions = decisions_of(networks);
  DecisionMeter bits(decisions);
  const Updates updates(networks, base);
  const auto add = [&](const std::vector<std::int32_t>& values, int others) {
    double own;
    best_spread(values, own);
    bits.total += kSpreadBits + own + others;
    return true;
  };
  code_update(bits, networks, {networks, number}, updates.changed,
              [&] { return add(networks.corners, 0); }, accept,
              [&](std::size_t i) { return add(updates.groups[i].values, kStepBits); });
  return bits.total;
}

bool decode_update(const std::uint8_t* data, std::size_t size, const Bases& bases,
                   Networks& networks) {
  RangeDecoder coder(data, size);
  Reader reader(coder);
  FrameDecisions decisions = decisions_of(networks);
  DecisionReader bits(coder, decisions);
  std::vector<std::int32_t> parameters = networks.parameters(), values;
  networks.corners.clear();
  const auto corners = [&] {
    networks.corners.resize(corner_count(networks));
    return reader.group(networks.corners, kMaxCorner);
  };
  const auto begin = [&](const UpdateStart& start) {
    networks.magnitude_bits = start.magnitude_bits;
    networks.inherits = start.inherits;
    for (std::size_t i = 0; i < 2; ++i) networks.filters[i].on = start.filtered[i];
    if (start.number >= kReferenceBase) {
      parameters = bases.references[static_cast<std::size_t>(start.number - kReferenceBase)];
      return true;
    }
    if (start.number >= bases.count) return false;
    const std::int16_t* set = bases.sets + static_cast<std::size_t>(start.number) * parameters.size();
    std::copy_n(set, parameters.size(), parameters.begin());
    return true;
  };
  const auto groups = update_groups(networks);
  const auto update = [&](std::size_t i) {
    const int step = reader.number(kStepBits);
    values.resize(groups[i].size());
    if (!reader.group(values, 2 * kMaxWeight)) return false;
    for (std::size_t k = 0; k < values.size(); ++k) {
      const std::int64_t value = parameters[groups[i][k]] + (std::int64_t{values[k]} << step);
      if (value > kMaxWeight || value < -kMaxWeight) return false;
      parameters[groups[i][k]] = static_cast<std::int32_t>(value);
    }
    return true;
  };
  if (!code_update(bits, networks, {}, std::vector<bool>(groups.size()), corners, begin, update))
    return false;
  networks.set_parameters(parameters.data());
  networks.coded_bits = coder.position();
  return true;
}

void skip_update(RangeDecoder& coder, const Networks& networks) {
  Reader reader(coder);
  FrameDecisions decisions = decisions_of(networks);
  DecisionReader bits(coder, decisions);
  std::vector<std::int32_t> values;
  const auto groups = update_groups(networks);
  // decode_update has said so where a value is out of range.
  const auto corners = [&] {
    values.resize(corner_count(networks));
    return reader.group(values, kMaxCorner);
  };
  const auto update = [&](std::size_t i) {
    reader.number(kStepBits);
    values.resize(groups[i].size());
    return reader.group(values, 2 * kMaxWeight);
  };
  code_update(bits, networks, {}, std::vector<bool>(groups.size()), corners, accept, update);
}

}  // namespace vireo
