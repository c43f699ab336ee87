#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "train/motion_moves.hpp"

namespace vireo::train {

template <class Turn>
void MotionMoves::sweep(std::size_t field, int level, Turn&& turn) {
  double* seen = state_.seen[field][static_cast<std::size_t>(level - state_.fields.first())].data();
  state_.fields.for_places(level, [&](const Place& at) {
    const Region region = state_.fields.reach(at);
    if (state_.costs.activity(region) > *seen) {
      turn(at, region);
      *seen = state_.costs.activity(region);
    }
    ++seen;
  });
}

bool MotionMoves::try_vector(std::size_t r, const Place& at, const Region& region, Step wanted) {
  // Blocks that move by less than this, in 1/64 sample, cost what they did.
  constexpr int least_motion = 2;
  const Step now = state_.fields.vector(r, at), change = wanted - now;
  if (wanted == now || is_too_large(wanted)) return false;
  const float more = lambda_ * (bits_.rate(r, at, wanted) - bits_.rate(r, at, now) + kLeastGain);
  std::int16_t samples[kSquareSamples];
  const auto hypothesis = [&](int row, int column, Mixture& m) {
    std::int32_t v[2][4];
    int motion = 0;
    for (std::size_t c = 0; c < 2; ++c) {
      std::int32_t before[4];
      state_.fields.values(2 * r + c, row, column, before);
      state_.fields.values_after(2 * r + c, at, c ? change.y : change.x, row, column, v[c]);
      for (int b = 0; b < 4; ++b) motion = std::max(motion, std::abs(v[c][b] - before[b]));
    }
    if (motion < least_motion) return false;
    state_.costs.predict(r, row, column, v[0], v[1], samples);
    m = state_.costs.mixture(row, column);
    state_.costs.replace(m, r, samples);
    return true;
  };
  if (state_.costs.trial(region, hypothesis, -more) >= -more) return false;
  state_.fields.set_vector(r, at, wanted);
  state_.costs.update_vectors(state_.fields, r, region);
  return true;
}

Step MotionMoves::downhill(std::size_t r, const Place& at, const Region& region) const {
  constexpr double farthest = 12;
  double xx = 1e-12, xy = 0, yy = 1e-12, xr = 0, yr = 0;
  for (int row = region.top; row < region.bottom; ++row)
    for (int column = region.left; column < region.right; ++column) {
      const Slopes& s = state_.costs.slopes(r, row, column);
      const double w = 0.25 * state_.fields.weight(at, row, column);
      // The larger a residual, the less a part of it costs.
      const double share = std::min(1.0f, state_.costs.floor() * kSquareLuma / (s.energy + 1e-9f));
      xx += share * w * w * s.xx;
      xy += share * w * w * s.xy;
      yy += share * w * w * s.yy;
      xr += share * w * s.xr;
      yr += share * w * s.yr;
    }
  const double det = 1.001 * xx * yy - xy * xy;
  const auto whole = [&](double v) {
    return static_cast<int>(std::lround(std::clamp(v, -farthest, farthest)));
  };
  const Step now = state_.fields.vector(r, at);
  Step best = now;
  double most = 0;
  for (const Step s : {Step{whole((yy * xr - xy * yr) / det), whole((xx * yr - xy * xr) / det)},
                       Step{whole(xr / xx), 0}, Step{0, whole(yr / yy)}}) {
    if (is_too_large(now + s)) continue;
    const double gain = 2 * (s.x * xr + s.y * yr) -
                        (s.x * s.x * xx + 2 * s.x * s.y * xy + s.y * s.y * yy) -
                        lambda_ * (bits_.rate(r, at, now + s) - bits_.rate(r, at, now));
    if (gain <= most) continue;
    most = gain;
    best = now + s;
  }
  return best;
}

void MotionMoves::sweep_vectors(std::size_t r, int level) {
  const auto& grid = state_.fields.grid(2 * r, level);
  sweep(2 * r, level, [&](const Place& at, const Region& region) {
    const auto attempt = [&](Step v) { return try_vector(r, at, region, v); };
    attempt({0, 0});
    const auto like = [&](int row, int column) {
      if (row >= 0 && row < grid.height && column >= 0 && column < grid.width)
        attempt(state_.fields.vector(r, {level, row, column}));
    };
    like(at.row - 1, at.column);
    like(at.row + 1, at.column);
    like(at.row, at.column - 1);
    like(at.row, at.column + 1);
    like(at.row - 1, at.column + 1);
    if (state_.fields.references() == 2) attempt(-state_.fields.vector(1 - r, at));
    attempt({0, state_.fields.vector(r, at).y});
    attempt({state_.fields.vector(r, at).x, 0});
    for (int round = 0; round < 3; ++round)
      if (!attempt(downhill(r, at, region))) break;
    // A latent that is 0 has been given its chance.
    const auto step = [&](int x, int y) {
      return attempt(state_.fields.vector(r, at) + Step{x, y});
    };
    for (int round = 0; round < 2 && !(state_.fields.vector(r, at) == Step{0, 0}); ++round) {
      const bool x = step(1, 0) || step(-1, 0), y = step(0, 1) || step(0, -1);
      if (!x && !y) break;
    }
  });
}

void MotionMoves::sweep_blending(std::size_t field, int level) {
  const bool is_alpha = field == state_.fields.alpha();
  sweep(field, level, [&](const Place& at, const Region& region) {
    const int now = state_.fields.latent(field, at);
    float hope = 0;
    for (int row = region.top; row < region.bottom; ++row)
      for (int column = region.left; column < region.right; ++column)
        hope += (is_alpha ? state_.costs.saved_by_alpha(row, column)
                          : state_.costs.saved_by_beta(row, column)) *
                std::min(1.0f, 2 * state_.fields.weight(at, row, column));
    if (now == 0 && hope < kFewBits * lambda_) return;
    int best = now;
    float least = -kLeastGain * lambda_;
    for (const int latent : {0, now - 1, now + 1, now - 2, now + 2, now - 3, now + 3}) {
      if (latent == now) continue;
      const auto hypothesis = [&](int row, int column, Mixture& m) {
        std::int32_t a[4], b[4];
        state_.fields.blending(row, column, a, b);
        state_.fields.values_after(field, at, latent - now, row, column, is_alpha ? a : b);
        m = state_.costs.mixture(row, column);
        const Mixture before = m;
        SquareCosts::blend(m, a, b);
        return !std::equal(m.weights, m.weights + 4, before.weights);
      };
      const float more = lambda_ * (bits_.rate(field, at, latent) - bits_.rate(field, at, now));
      const float change = more + state_.costs.trial(region, hypothesis, least - more);
      if (change >= least) continue;
      least = change;
      best = latent;
    }
    if (best == now) return;
    state_.fields.add(field, at, best - now);
    state_.costs.update_blending(state_.fields, region);
  });
}

}  // namespace vireo::train
