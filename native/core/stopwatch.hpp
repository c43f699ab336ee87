// Where time goes.
#pragma once

#include <chrono>

namespace vireo {

// Seconds since the lap before; never looks at the clock, and gives 0, if it isn't wanted.
class Stopwatch {
 public:
  explicit Stopwatch(bool wanted) : wanted_(wanted) {
    if (wanted_) last_ = Clock::now();
  }

  double lap() {
    if (!wanted_) return 0;
    const Clock::time_point now = Clock::now();
    const std::chrono::duration<double> spent = now - last_;
    last_ = now;
    return spent.count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  bool wanted_;
  Clock::time_point last_;
};

}  // namespace vireo
