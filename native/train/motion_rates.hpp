// What motion costs in bits, by the probabilities that its decisions have (core/motion_syntax.hpp).
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/motion_syntax.hpp"

namespace vireo::train {

class MotionRates {
 public:
  // How often each decision was 0 and 1: a coder, and what it codes.
  class Counts {
   public:
    bool bit(int context, bool value) {
      ++counts_[static_cast<std::size_t>(context)][value];
      return value;
    }
    static bool raw(bool value) { return value; }
    void vector(const VectorContext& c, MotionVector v) { MotionSyntax(*this).vector(c, v); }
    void blending(const BlendingContext& c, int v) { MotionSyntax(*this).blending(c, v); }
    const std::array<int, 2>& operator[](std::size_t context) const { return counts_[context]; }

   private:
    std::array<std::array<int, 2>, kMotionContexts> counts_{};
  };

  // `probabilities` as in Parts: of frames with one reference, then with two.
  MotionRates(const std::uint16_t* probabilities, std::size_t references)
      : first_(probabilities + (references - 1) * kMotionContexts) {
    learn({});
  }

  // Bits of a vector or of a latent of blending.
  float vector(const VectorContext& c, MotionVector v) const {
    Meter meter{bits_.data()};
    MotionSyntax(meter).vector(c, v);
    return meter.total;
  }
  float blending(const BlendingContext& c, int v) const {
    Meter meter{bits_.data()};
    MotionSyntax(meter).blending(c, v);
    return meter.total;
  }

  // As they are where an adaptive code has seen so much.
  void learn(const Counts& counts) {
    constexpr double weight = MotionBit::kFirst;  // of the first probability, in decisions
    constexpr double least = static_cast<double>(MotionBit::kLeast) / kProbabilityOne;
    for (std::size_t i = 0; i < bits_.size(); ++i) {
      const double first = static_cast<double>(first_[i]) / kProbabilityOne;
      const double all = weight + counts[i][0] + counts[i][1];
      const double one =
          std::clamp((weight * first + counts[i][1]) / all, least, 1 - least);
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

  const std::uint16_t* first_;
  Table bits_{};
};

}  // namespace vireo::train
