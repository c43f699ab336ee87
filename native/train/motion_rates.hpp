// What motion costs in bits, by the probabilities that its decisions have (core/motion_syntax.hpp).
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "core/motion_syntax.hpp"

namespace vireo::train {

class MotionRates {
 public:
  // `probabilities` as in Parts.
  MotionRates(const std::uint16_t* probabilities, std::size_t references)
      : probabilities_(probabilities), references_(static_cast<int>(references)) {
    reset(false);
  }

  // As they are at the start of frames whose vectors begin with motion, or of others.
  void reset(bool begins) {
    first_ = probabilities_ + motion_row(references_, begins) * kMotionContexts;
    learn({});
  }

  // Bits of a vector or of a latent of blending.
  template <class Context, class Value>
  float bits(const Context& context, Value value) const {
    Meter meter{bits_.data()};
    MotionSyntax(meter).code(context, value);
    return meter.total;
  }

  // As they are where an adaptive code has seen so much.
  void learn(const MotionCounter& seen) {
    constexpr double weight = Decision::kFirst;  // of the first probability, in decisions
    constexpr double least = static_cast<double>(Decision::kLeast) / kProbabilityOne;
    for (std::size_t i = 0; i < bits_.size(); ++i) {
      const double first = static_cast<double>(first_[i]) / kProbabilityOne;
      const double all = weight + seen.counts[i][0] + seen.counts[i][1];
      const double one =
          std::clamp((weight * first + seen.counts[i][1]) / all, least, 1 - least);
      bits_[i] = {static_cast<float>(-std::log2(1 - one)), static_cast<float>(-std::log2(one))};
    }
  }

 private:
  using Table = std::array<std::array<float, 2>, kMotionContexts>;

  struct Meter {
    const std::array<float, 2>* bits;
    float total = 0;

    bool bit(int context, bool value) {
      total += bits[context][value];
      return value;
    }
    bool raw(bool value) {
      total += 1;
      return value;
    }
  };

  const std::uint16_t* probabilities_;
  int references_;
  const std::uint16_t* first_ = nullptr;
  Table bits_{};
};

}  // namespace vireo::train
