// Integer probability tables for Laplace distributions, and how integers are coded
// under them (docs/bitstream.md, "Integers under a Laplace distribution").
#pragma once

#include <cstdint>
#include <vector>

#include "core/range_coder.hpp"

namespace vireo {

constexpr int kScales = 80;      // scale i is 2**((i - 40) / 8)
constexpr int kScaleZero = 40;   // index of scale 1
constexpr int kScaleBits = 3;    // eight scales per octave
constexpr int kScaleSteps = 1 << kScaleBits;
constexpr int kMeanBits = 4;     // means are in sixteenths

// One scale: how likely the integers near a mean are.
class LaplaceTable {
 public:
  explicit LaplaceTable(std::uint32_t decay);

  int reach() const { return reach_; }

  // The frequency below symbol offset k's upper edge, -reach - 1 <= k <= reach, for a mean
  // `fraction` sixteenths (-8 ... 7) from the integer that offset 0 stands for.
  std::uint32_t cumulative(int k, int fraction) const {
    if (k < -reach_) return 0;
    if (k >= reach_) return kProbabilityOne;
    const int edge = (k << kMeanBits) + (1 << (kMeanBits - 1)) - fraction;
    const std::uint32_t below =
        edge < 0 ? tail_[static_cast<std::size_t>(-edge)]
                 : kProbabilityOne - tail_[static_cast<std::size_t>(edge)];
    return static_cast<std::uint32_t>(k + reach_ + 1) +
           static_cast<std::uint32_t>((std::uint64_t{spread_} * below) >> kProbabilityBits);
  }

 private:
  int reach_;              // offsets beyond -reach ... reach escape
  std::uint32_t spread_;   // what the symbols' minimum of one each leaves
  std::vector<std::uint16_t> tail_;  // mass beyond j sixteenths from the mean, times 2**16
};

// The table of scale index 0 ... kScales - 1.
const LaplaceTable& laplace_table(int scale);

// Splits a mean in sixteenths into the nearest integer and the rest, -8 ... 7.
inline int nearest(std::int32_t mean, int& fraction) {
  const int integer = (mean + (1 << (kMeanBits - 1))) >> kMeanBits;
  fraction = mean - (integer << kMeanBits);
  return integer;
}

// A mean and a scale as decoding wants them.
struct Distribution {
  std::int32_t centre;  // the integer nearest to the mean
  std::int32_t index;   // scale << kMeanBits, and what the mean is above the centre, plus a half

  int fraction() const { return (index & ((1 << kMeanBits) - 1)) - (1 << (kMeanBits - 1)); }
  std::int32_t mean() const { return (centre << kMeanBits) + fraction(); }
  int scale() const { return index >> kMeanBits; }
};

std::int32_t decode_laplace(RangeDecoder& coder, std::int32_t mean, int scale);
void encode_laplace(RangeEncoder& coder, std::int32_t value, std::int32_t mean, int scale);

// Decodes many integers. Most are the ones nearest to their means, whose frequencies are
// looked up.
class LaplaceDecoder {
 public:
  std::int32_t decode(RangeDecoder& coder, const Distribution& d) const {
    const Frequencies f = frequencies_[d.index];
    const std::uint64_t unit = coder.unit(), code = coder.code();
    if (code < unit * f.low || code >= unit * f.high) {
      // A coder whose address nobody else gets stays in registers.
      RangeDecoder copy = coder;
      const std::int32_t value = decode_far(copy, d, f);
      coder = copy;
      return value;
    }
    coder.take(unit, f.low, static_cast<std::uint32_t>(f.high) - f.low);
    return d.centre;
  }

  static const LaplaceTable* tables();  // by scale

 private:
  // Of symbol 0, whose upper end is never that of all symbols: below 2**16.
  struct Frequencies {
    std::uint16_t low, high;
  };
  static const Frequencies* centres();
  std::int32_t decode_far(RangeDecoder& coder, const Distribution& d,
                          const Frequencies& centre) const;

  const LaplaceTable* tables_ = tables();
  const Frequencies* frequencies_ = centres();  // by Distribution::index
};

// What encode_laplace spends, in bits.
double laplace_bits(std::int32_t value, std::int32_t mean, int scale);

}  // namespace vireo
