// Binary decisions that each have a probability, which comes with the format and adapts to what
// came before, and those who code them: the decoder, the encoder, and whoever wants to know what
// something would cost. One description of what is coded serves all. A coder has
//   bool bit(int context, bool value)   a decision with the probability of its context
//   bool raw(bool value)                one with probability 1/2
// and returns what was coded; a decoder ignores `value`.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "core/range_coder.hpp"

namespace vireo {

// How often a context's decision was 1, as a probability that learns fast at first.
struct Decision {
  static constexpr int kFirst = 8, kSlowest = 64;  // the share of the way is one over these
  static constexpr std::int32_t kLeast = 64;       // of either probability

  std::int32_t one;
  int pace = kFirst;

  void update(bool bit) {
    const auto all = static_cast<std::int32_t>(kProbabilityOne);
    one += ((bit ? all - kLeast : kLeast) - one) / pace;
    pace = std::min(pace + 1, kSlowest);
  }
};

template <std::size_t contexts>
using Decisions = std::array<Decision, contexts>;

// As they are at the start: row `row` of a table of probabilities.
template <std::size_t contexts>
Decisions<contexts> initial_decisions(const std::uint16_t* table, int row) {
  Decisions<contexts> decisions{};
  const std::uint16_t* from = table + static_cast<std::size_t>(row) * contexts;
  for (Decision& decision : decisions) decision.one = *from++;
  return decisions;
}

template <std::size_t contexts>
class DecisionReader {
 public:
  DecisionReader(RangeDecoder& coder, std::array<Decision, contexts>& decisions)
      : coder_(coder), decisions_(decisions) {}

  bool bit(int context, bool) { return coder_.bit(decisions_[static_cast<std::size_t>(context)]); }
  bool raw(bool) { return coder_.bits(1) != 0; }

 private:
  RangeDecoder& coder_;
  std::array<Decision, contexts>& decisions_;
};

template <std::size_t contexts>
class DecisionWriter {
 public:
  DecisionWriter(RangeEncoder& coder, std::array<Decision, contexts>& decisions)
      : coder_(coder), decisions_(decisions) {}

  bool bit(int context, bool value) {
    coder_.bit(value, decisions_[static_cast<std::size_t>(context)]);
    return value;
  }
  bool raw(bool value) {
    coder_.bits(value, 1);
    return value;
  }

 private:
  RangeEncoder& coder_;
  std::array<Decision, contexts>& decisions_;
};

// Counts how often each decision comes out 0 and 1.
template <std::size_t contexts>
struct DecisionCounter {
  std::array<std::array<std::int32_t, 2>, contexts> counts{};

  bool bit(int context, bool value) {
    ++counts[static_cast<std::size_t>(context)][value];
    return value;
  }
  static bool raw(bool value) { return value; }
};

// Adds the bits that decisions take to a total: its own, until it is given another.
template <std::size_t contexts>
class DecisionMeter {
 public:
  explicit DecisionMeter(std::array<Decision, contexts>& decisions) : decisions_(decisions) {}

  bool bit(int context, bool value) {
    Decision& decision = decisions_[static_cast<std::size_t>(context)];
    const double one = static_cast<double>(decision.one) / kProbabilityOne;
    *to_ -= std::log2(value ? one : 1 - one);
    decision.update(value);
    return value;
  }
  bool raw(bool value) {
    *to_ += 1;
    return value;
  }
  void add_to(double& other) { to_ = &other; }

  double total = 0;

 private:
  std::array<Decision, contexts>& decisions_;
  double* to_ = &total;
};

}  // namespace vireo
