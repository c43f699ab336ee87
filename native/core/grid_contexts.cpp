#include "core/grid_contexts.hpp"

#include <algorithm>
#include <cmath>

namespace vireo {
namespace {

constexpr int kTimes = 16, kRows = 8, kColumns = 8, kMargin = 2;
constexpr int kPlaces = kTimes * kRows * kColumns;
// A block with what is around it, as far as convolutions see.
constexpr int kWide = kColumns + 2 * kMargin;
constexpr int kPlane = kWide * (kRows + 2 * kMargin);
constexpr std::size_t kPadded = std::size_t{kPlane} * (kTimes + kMargin);

constexpr std::int64_t kMostInput = 1 << 22;
constexpr std::int64_t kFarthest = 20 << 6;
constexpr std::int64_t kMostMean = 1 << 30;
constexpr std::int64_t kMostSixteenths = 1 << 18;
constexpr int kScales = 83, kScaleOne = 26;

std::int64_t clamp(std::int64_t value, std::int64_t most) {
  return std::clamp(value, -most, most);
}

// The offsets that a masked convolution sees, in the order of its weights, in a padded block.
std::vector<std::ptrdiff_t> causal(bool strictly) {
  std::vector<std::ptrdiff_t> found;
  for (int t = -kMargin; t <= 0; ++t)
    for (int y = -kMargin; y <= kMargin; ++y)
      for (int x = -kMargin; x <= kMargin; ++x) {
        const bool before = t < 0 || (t == 0 && (y < 0 || (y == 0 && x < 0)));
        if (before || (!strictly && t == 0 && y == 0 && x == 0))
          found.push_back(std::ptrdiff_t{t} * kPlane + y * kWide + x);
      }
  return found;
}

class Arithmetic {
 public:
  explicit Arithmetic(const std::vector<std::int64_t>& powers) : powers_(powers) {}

  // value * 2**(logarithm / 64 + bits), to the nearest.
  std::int64_t scaled(std::int64_t value, std::int64_t logarithm, int bits) const {
    const std::int64_t product = value * powers_[static_cast<std::size_t>(logarithm & 63)];
    const std::int64_t shift = 30 - bits - (logarithm >> 6);
    if (shift < 1) return product * (std::int64_t{1} << std::min<std::int64_t>(-shift, 32));
    const int down = static_cast<int>(std::min<std::int64_t>(shift, 62));
    return (product + (std::int64_t{1} << (down - 1))) >> down;
  }

 private:
  const std::vector<std::int64_t>& powers_;
};

// A grid while it is coded: what its blocks' places have, in padded blocks.
class Walk {
 public:
  Walk(const ContextGrid& own, std::size_t width)
      : grid(own),
        blocks_{count(0, kTimes), count(1, kRows), count(2, kColumns)},
        width_(width) {
    const std::size_t all = channels() * blocks() * kPadded;
    seen_.resize(all);
    hidden_[0].resize(all * width);
    hidden_[1].resize(all * width);
  }

  std::size_t channels() const { return static_cast<std::size_t>(grid.shape[3]); }
  std::size_t blocks() const { return blocks_[0] * blocks_[1] * blocks_[2]; }

  // Whether a block has a place within the grid; `at` is where that is in the grid.
  bool locate(std::size_t block, int place, std::size_t channel, std::size_t* at) const {
    const std::size_t x = block % blocks_[2] * kColumns + static_cast<std::size_t>(place % kColumns);
    const std::size_t rest = block / blocks_[2];
    const std::size_t y =
        rest % blocks_[1] * kRows + static_cast<std::size_t>(place / kColumns % kRows);
    const std::size_t t =
        rest / blocks_[1] * kTimes + static_cast<std::size_t>(place / (kColumns * kRows));
    if (t >= side(0) || y >= side(1) || x >= side(2)) return false;
    *at = ((t * side(1) + y) * side(2) + x) * channels() + channel;
    return true;
  }

  std::int32_t* seen(std::size_t channel, std::size_t block) {
    return seen_.data() + (channel * blocks() + block) * kPadded;
  }
  std::int32_t* hidden(int layer, std::size_t channel, std::size_t block) {
    return hidden_[static_cast<std::size_t>(layer)].data() +
           (channel * blocks() + block) * kPadded * width_;
  }

  const ContextGrid& grid;

 private:
  std::size_t side(std::size_t axis) const { return static_cast<std::size_t>(grid.shape[axis]); }
  std::size_t count(std::size_t axis, int block) const {
    return (side(axis) + static_cast<std::size_t>(block) - 1) / static_cast<std::size_t>(block);
  }

  std::array<std::size_t, 3> blocks_;
  std::size_t width_;
  std::vector<std::int32_t> seen_;
  std::array<std::vector<std::int32_t>, 2> hidden_;
};

// One number after the other, in the order of coding: `code(grid, at, table, shift)` gives each.
template <class Code>
void walk(const std::vector<ContextGrid>& grids, const ContextModels& models,
          const std::vector<std::int64_t>& powers, Code code) {
  const Arithmetic arithmetic(powers);
  const auto strictly = causal(true), later = causal(false);
  const std::size_t width = models.width;
  std::vector<Walk> walks;
  for (const auto& grid : grids) walks.emplace_back(grid, width);
  std::vector<double> sums(std::max<std::size_t>(width, 2));

  const auto layer = [&](int which, std::size_t model, const std::int32_t* inputs,
                         const std::vector<std::ptrdiff_t>& offsets, std::size_t channels) {
    const std::size_t outputs = models.outputs(which);
    const double* bias = models.biases.data() + model * (2 * width + 2) +
                         static_cast<std::size_t>(which) * width;
    const double* weight = models.weights[static_cast<std::size_t>(which)].data() +
                           model * models.inputs(which) * outputs;
    for (std::size_t o = 0; o < outputs; ++o) sums[o] = bias[o] * 1024;
    for (const std::ptrdiff_t offset : offsets) {
      const std::int32_t* input = inputs + offset * static_cast<std::ptrdiff_t>(channels);
      for (std::size_t i = 0; i < channels; ++i, weight += outputs) {
        const double value = input[i];
        if (value != 0)
          for (std::size_t o = 0; o < outputs; ++o) sums[o] += value * weight[o];
      }
    }
    for (std::size_t o = 0; o < outputs; ++o) {
      const auto whole = static_cast<std::int64_t>(std::floor((sums[o] + 32768) / 65536));
      sums[o] = static_cast<double>(clamp(whole, kMostInput));
    }
  };

  for (int place = 0; place < kPlaces; ++place) {
    const int x = place % kColumns, y = place / kColumns % kRows, t = place / (kColumns * kRows);
    const std::ptrdiff_t inner =
        std::ptrdiff_t{t + kMargin} * kPlane + (y + kMargin) * kWide + x + kMargin;
    const auto wide = inner * static_cast<std::ptrdiff_t>(width);
    for (std::size_t g = 0; g < walks.size(); ++g) {
      Walk& own = walks[g];
      for (std::size_t channel = 0; channel < own.channels(); ++channel) {
        const auto model = static_cast<std::size_t>(own.grid.models[channel]);
        for (std::size_t block = 0; block < own.blocks(); ++block) {
          std::size_t at = 0;
          if (!own.locate(block, place, channel, &at)) continue;
          std::int32_t* seen = own.seen(channel, block) + inner;
          std::int32_t* hidden[] = {own.hidden(0, channel, block) + wide,
                                    own.hidden(1, channel, block) + wide};
          layer(0, model, seen, strictly, 1);
          for (std::size_t o = 0; o < width; ++o)
            hidden[0][o] = static_cast<std::int32_t>(std::max(sums[o], 0.0));
          layer(1, model, hidden[0], later, width);
          for (std::size_t o = 0; o < width; ++o)
            hidden[1][o] = static_cast<std::int32_t>(std::max(sums[o], 0.0));
          layer(2, model, hidden[1], later, width);

          const std::int64_t step = own.grid.steps[channel * own.blocks() + block];
          const auto mean = clamp(static_cast<std::int64_t>(sums[0]) * 64, kMostMean);
          const auto deviation = clamp((static_cast<std::int64_t>(sums[1]) + 8) >> 4, kFarthest);
          const std::int64_t relative = clamp(deviation - step, kFarthest);
          const std::int64_t scale =
              std::clamp<std::int64_t>(((relative + 4) >> 3) + kScaleOne, 0, kScales - 1);
          const std::int64_t sixteenths =
              clamp(arithmetic.scaled(mean, clamp(-step, kFarthest), -12), kMostSixteenths);
          const std::int32_t value =
              code(g, at, static_cast<std::size_t>(scale * 16 + (sixteenths & 15)),
                   static_cast<std::int32_t>(sixteenths >> 4));
          *seen = static_cast<std::int32_t>(clamp(arithmetic.scaled(value, step, 10), kMostInput));
        }
      }
    }
  }
}

}  // namespace

std::vector<std::uint8_t> encode_grids(const SymbolTables& tables,
                                       const std::vector<ContextGrid>& grids,
                                       const ContextModels& models,
                                       const std::vector<std::int64_t>& powers,
                                       const std::vector<const std::int32_t*>& values) {
  SymbolEncoder coder(tables);
  walk(grids, models, powers,
       [&](std::size_t grid, std::size_t at, std::size_t table, std::int32_t shift) {
         const std::int32_t value = values[grid][at];
         const auto symbol = static_cast<std::int16_t>(std::clamp(value - shift, -32768, 32767));
         const auto index = static_cast<std::uint16_t>(table);
         coder.encode(&symbol, &index, 1);
         return value;
       });
  return coder.finish();
}

std::vector<std::vector<std::int32_t>> decode_grids(const SymbolTables& tables,
                                                    const std::vector<ContextGrid>& grids,
                                                    const ContextModels& models,
                                                    const std::vector<std::int64_t>& powers,
                                                    const std::uint8_t* data, std::size_t size) {
  std::vector<std::vector<std::int32_t>> found;
  for (const auto& grid : grids) found.emplace_back(grid.size());
  SymbolDecoder coder(tables, data, size);
  walk(grids, models, powers,
       [&](std::size_t grid, std::size_t at, std::size_t table, std::int32_t shift) {
         std::int16_t symbol = 0;
         const auto index = static_cast<std::uint16_t>(table);
         coder.decode(&index, &symbol, 1);
         found[grid][at] = symbol + shift;
         return found[grid][at];
       });
  return found;
}

}  // namespace vireo
