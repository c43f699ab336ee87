#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "core/prediction.hpp"
#include "train/motion_moves.hpp"

namespace vireo::train {
namespace {

constexpr int kBetaStep = 16;  // of a latent of beta, as a weight of the first reference

// The step that costs least among the candidates and around the best of them; cost(step, limit)
// may be infinite if it is more than the limit. No step costs `unmoved`.
template <class Cost>
Step explore(const std::vector<Step>& candidates, Cost&& cost, float unmoved = 0) {
  Step best{0, 0};
  float least = unmoved;
  const auto consider = [&](Step s) {
    const float c = cost(s, least);
    if (c >= least) return false;
    least = c;
    best = s;
    return true;
  };
  for (const Step s : candidates)
    if (!(s == Step{0, 0})) consider(s);
  for (const int size : {8, 4, 2, 1})
    for (int round = 0; round < 2; ++round) {
      const Step middle = best;
      bool better = false;
      for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx)
          if (dx || dy) better |= consider(middle + Step{size * dx, size * dy});
      if (!better) break;
    }
  return best;
}

}  // namespace

std::vector<Step> MotionMoves::candidates(std::size_t r, const Place& at) const {
  const Region region = state_.fields.cell(at);
  const Step here{state_.fields.middle(2 * r, region), state_.fields.middle(2 * r + 1, region)};
  std::vector<Step> result{{0, 0}};
  const auto add = [&](Step s) {
    if (std::find(result.begin(), result.end(), s) == result.end()) result.push_back(s);
  };
  const auto add_vector = [&](int x, int y) {  // in 1/64 sample
    add({(x - here.x + 8) >> 4, (y - here.y + 8) >> 4});
  };
  const Matches& matches = matches_[r];
  add_vector(0, 0);
  if (at.level == state_.fields.coarsest())
    add_vector(64 * matches.global.x, 64 * matches.global.y);
  // The matches in the cell and around.
  const int finest = std::min(at.level - kSquareLevel, static_cast<int>(matches.levels.size()) - 1);
  const auto& level = matches.levels[static_cast<std::size_t>(finest)];
  const int span = 1 << (at.level - kSquareLevel - finest);
  const auto all = [&](int first, int count, auto visit) {
    for (int i = std::max(first * span - 1, 0); i <= std::min(first * span + span, count - 1); ++i)
      visit(i);
  };
  all(at.row, level.rows, [&](int row) {
    all(at.column, level.columns, [&](int column) {
      const Displacement d = level.at(row, column);
      add_vector(64 * d.x, 64 * d.y);
      if (at.level == kSquareLevel) {
        const Displacement alone = matches.alone.at(row, column);
        add_vector(64 * alone.x, 64 * alone.y);
      }
    });
  });
  // The motion to the other reference, mirrored.
  if (r == 1) add_vector(-state_.fields.middle(0, region), -state_.fields.middle(1, region));
  return result;
}

void MotionMoves::shift(Mixture& m, std::size_t r, Step s, int row, int column,
                        std::int16_t* samples) const {
  std::int32_t v[2][4];
  for (std::size_t c = 0; c < 2; ++c) {
    state_.fields.values(2 * r + c, row, column, v[c]);
    for (std::int32_t& x : v[c]) x += 16 * (c ? s.y : s.x);
  }
  state_.costs.predict(r, row, column, v[0], v[1], samples);
  state_.costs.replace(m, r, samples);
}

void MotionMoves::search_cells(std::size_t r, int level) {
  bits_.pending = {r, level, false, {}};
  std::vector<Step>& chosen = bits_.pending.steps;
  const int width = state_.fields.grid(0, level).width;
  state_.fields.for_places(level, [&](const Place& at) {
    const Region region = state_.fields.cell(at);
    if (state_.costs.of(region) < kFewBits * lambda_) {
      chosen.push_back({0, 0});
      return;
    }
    std::vector<Step> steps = candidates(r, at);
    if (at.column > 0) steps.push_back(chosen.back());
    for (int dx = 0; at.row > 0 && dx < std::min(2, width - at.column); ++dx)
      steps.push_back(chosen[chosen.size() - static_cast<std::size_t>(width - dx)]);
    const Step now = state_.fields.vector(r, at);
    const float before = bits_.rate(r, at, now);
    chosen.push_back(explore(steps, [&](Step s, float limit) {
      const Step wanted = now + s;
      if (is_too_large(wanted)) return kInfinite;
      const float more = lambda_ * (bits_.rate(r, at, wanted) - before);
      std::int16_t samples[kSquareSamples];
      return more + state_.costs.trial(
                        region,
                        [&](int row, int column, Mixture& m) {
                          m = state_.costs.mixture(row, column);
                          shift(m, r, s, row, column, samples);
                          return true;
                        },
                        limit - more);
    }));
  });
  const std::vector<Step> steps = std::exchange(bits_.pending, {}).steps;
  const Step* step = steps.data();
  state_.fields.for_places(level, [&](const Place& at) {
    state_.fields.set_vector(r, at, state_.fields.vector(r, at) + *step++);
  });
  state_.costs.update_vectors(state_.fields, r, pictures_.everything());
}

void MotionMoves::search_pairs(int level) {
  bits_.pending = {0, level, true, {}};
  std::vector<Step>& chosen = bits_.pending.steps;
  state_.fields.for_places(level, [&](const Place& at) {
    const Region region = state_.fields.cell(at);
    std::vector<Step> steps = candidates(0, at);
    for (const Step s : candidates(1, at)) steps.push_back(-s);
    const float before = bits_.mirrored(at, {0, 0});
    chosen.push_back(explore(steps, [&](Step s, float limit) {
      if (is_too_large(s)) return kInfinite;
      const float more = lambda_ * (bits_.mirrored(at, s) - before);
      std::int16_t samples[2][kSquareSamples];
      return more + state_.costs.trial(
                        region,
                        [&](int row, int column, Mixture& m) {
                          m = state_.costs.mixture(row, column);
                          shift(m, 0, s, row, column, samples[0]);
                          shift(m, 1, -s, row, column, samples[1]);
                          return true;
                        },
                        limit - more);
    }));
  });
  const std::vector<Step> steps = std::exchange(bits_.pending, {}).steps;
  const Step* step = steps.data();
  state_.fields.for_places(level, [&](const Place& at) {
    state_.fields.set_vector(0, at, *step);
    state_.fields.set_vector(1, at, -*step++);
  });
  for (std::size_t r = 0; r < 2; ++r)
    state_.costs.update_vectors(state_.fields, r, pictures_.everything());
}

void MotionMoves::search_alpha(int level) {
  const std::size_t alpha = state_.fields.alpha();
  std::vector<int> chosen;
  state_.fields.for_places(level, [&](const Place& at) {
    const Region region = state_.fields.cell(at);
    const bool predicted = state_.fields.middle(alpha, region) > kBlendOne / 2;
    float more = bits_.rate(alpha, at, predicted ? kNothing : -kNothing) - bits_.rate(alpha, at, 0);
    // Vectors are no more needed then.
    for (std::size_t r = 0; predicted && r < state_.fields.references(); ++r)
      for (int k = state_.fields.first(); k <= level; ++k) {
        const auto& grid = state_.fields.grid(2 * r, k);
        const int side = 1 << (level - k);
        for (int y = at.row * side; y < std::min((at.row + 1) * side, grid.height); ++y)
          for (int x = at.column * side; x < std::min((at.column + 1) * side, grid.width); ++x)
            more -= bits_.own(r, {k, y, x}, state_.fields.vector(r, {k, y, x})) -
                    bits_.own(r, {k, y, x}, {});
      }
    const std::int32_t value = predicted ? 0 : kBlendOne;
    const float change =
        lambda_ * more + state_.costs.trial(
                             region,
                             [&](int row, int column, Mixture& m) {
                               std::int32_t a[4], b[4];
                               state_.fields.blending(row, column, a, b);
                               m = state_.costs.mixture(row, column);
                               SquareCosts::blend(m, {value, value, value, value}, b);
                               return true;
                             },
                             kInfinite);
    chosen.push_back(change >= 0 ? 0 : predicted ? kNothing : -kNothing);
  });
  const int* latent = chosen.data();
  state_.fields.for_places(level,
                           [&](const Place& at) { state_.fields.add(alpha, at, *latent++); });
  state_.costs.update_blending(state_.fields, pictures_.everything());
}

MotionMoves::Cell MotionMoves::cell(const Place& at) const {
  Choice now;
  for (std::size_t r = 0; r < state_.fields.references(); ++r)
    now.vectors[r] = state_.fields.vector(r, at);
  now.alpha = state_.fields.latent(state_.fields.alpha(), at);
  if (state_.fields.references() == 2) now.beta = state_.fields.latent(state_.fields.beta(), at);
  return {at, state_.fields.cell(at), now, bits_.own(at, now)};
}

float MotionMoves::trial(const Cell& cell, const Choice& choice, float limit) const {
  const Place& at = cell.at;
  const Choice& now = cell.now;
  for (const Step v : choice.vectors)
    if (is_too_large(v)) return kInfinite;
  const float more = lambda_ * (bits_.own(at, choice) - cell.bits);
  std::int16_t samples[2][kSquareSamples];
  const auto hypothesis = [&](int row, int column, Mixture& m) {
    m = state_.costs.mixture(row, column);
    for (std::size_t r = 0; r < state_.fields.references(); ++r) {
      const Step change = choice.vectors[r] - now.vectors[r];
      if (!change.any()) continue;
      std::int32_t v[2][4];
      for (std::size_t c = 0; c < 2; ++c)
        state_.fields.values_after(2 * r + c, at, c ? change.y : change.x, row, column, v[c]);
      state_.costs.predict(r, row, column, v[0], v[1], samples[r]);
      state_.costs.replace(m, r, samples[r]);
    }
    std::int32_t a[4], b[4];
    state_.fields.blending(row, column, a, b);
    state_.fields.values_after(state_.fields.alpha(), at, choice.alpha - now.alpha, row, column, a);
    if (state_.fields.references() == 2)
      state_.fields.values_after(state_.fields.beta(), at, choice.beta - now.beta, row, column, b);
    SquareCosts::blend(m, a, b);
    return true;
  };
  return more + state_.costs.trial(cell.region, hypothesis, limit - more);
}

void MotionMoves::set(const Cell& cell, const Choice& choice) {
  const Choice& now = cell.now;
  for (std::size_t r = 0; r < state_.fields.references(); ++r) {
    if (choice.vectors[r] == now.vectors[r]) continue;
    state_.fields.set_vector(r, cell.at, choice.vectors[r]);
    state_.costs.update_vectors(state_.fields, r, cell.region);
  }
  if (choice.alpha == now.alpha && choice.beta == now.beta) return;
  state_.fields.add(state_.fields.alpha(), cell.at, choice.alpha - now.alpha);
  if (state_.fields.references() == 2)
    state_.fields.add(state_.fields.beta(), cell.at, choice.beta - now.beta);
  state_.costs.update_blending(state_.fields, cell.region);
}

void MotionMoves::choose_anew(int level) {
  const std::size_t references = state_.fields.references();
  const auto& grid = state_.fields.grid(0, level);
  double* seen = state_.chosen[static_cast<std::size_t>(level - state_.fields.first())].data();
  state_.fields.for_places(level, [&](const Place& at) {
    double& before = *seen++;
    const Region region = state_.fields.cell(at);
    if (state_.costs.of(region) < 2 * kFewBits * lambda_ ||
        state_.costs.activity(region) == before)
      return;
    before = state_.costs.activity(region);

    const Cell cell = this->cell(at);
    const Choice& now = cell.now;
    Choice best = now, predicted = now;
    if (state_.fields.middle(state_.fields.alpha(), region) < kBlendOne / 2)
      predicted.alpha -= kNothing;
    float least = -kLeastGain * lambda_;
    const auto consider = [&](const Choice& choice) {
      const float change = trial(cell, choice, least);
      if (change >= least) return;
      least = change;
      best = choice;
    };
    // Latents of beta that leave the cell to one reference, or give both as much.
    const int weight = references == 2 ? state_.fields.middle(state_.fields.beta(), region) : 0;
    const auto towards = [&](int wanted, int rounding) {
      const int more = wanted - weight;
      return now.beta + (more + (more < 0 ? -rounding : rounding)) / kBetaStep;
    };
    std::array<Step, 2> alone{};
    for (std::size_t r = 0; r < references; ++r) {
      std::vector<Step> steps = candidates(r, at);
      const auto like = [&](int row, int column) {
        if (row < 0 || row >= grid.height || column < 0 || column >= grid.width) return;
        const Region other = state_.fields.cell({level, row, column});
        const auto difference = [&](std::size_t field) {
          const int there = state_.fields.middle(field, other);
          return (there - state_.fields.middle(field, region) + 8) >> 4;
        };
        steps.push_back({difference(2 * r), difference(2 * r + 1)});
      };
      like(at.row - 1, at.column);
      like(at.row + 1, at.column);
      like(at.row, at.column - 1);
      like(at.row, at.column + 1);
      Choice choice = predicted;
      if (references == 2) choice.beta = towards(r == 0 ? kBlendOne : 0, kBetaStep - 1);
      const auto cost = [&](Step s, float limit) {
        choice.vectors[r] = now.vectors[r] + s;
        return trial(cell, choice, limit);
      };
      alone[r] = now.vectors[r] + explore(steps, cost, cost({}, kInfinite));
      choice.vectors[r] = alone[r];
      consider(choice);
    }
    if (references == 2) {
      const bool is_mixed = std::abs(weight - kBlendOne / 2) <= kBetaStep / 2;
      const int beta = is_mixed ? now.beta : towards(kBlendOne / 2, kBetaStep / 2);
      for (const auto& [first, second] :
           {std::array{alone[0], alone[1]}, std::array{alone[0], -alone[0]},
            std::array{-alone[1], alone[1]}, std::array{alone[0], now.vectors[1]},
            std::array{now.vectors[0], alone[1]}})
        consider({{first, second}, predicted.alpha, beta});
    }
    set(cell, best);
  });
}

}  // namespace vireo::train
