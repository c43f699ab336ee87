#include "train/motion_search.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "core/prediction.hpp"
#include "train/block_matching.hpp"
#include "train/motion_state.hpp"

namespace vireo::train {
namespace {

constexpr int kSquareLevel = 3;      // of grids with one cell a square
constexpr int kVectorUnit = 16;      // of a vector's latent, in 1/64 sample
constexpr float kLeastGain = 0.01f;  // bits that a change must save
constexpr int kNothing = -3;         // alpha's latent where nothing is predicted
constexpr int kFirst = 2;            // beta's where the second reference has no share
constexpr double kAlone = 1.06;      // a beginning with one reference is that much worse
constexpr float kInfinite = std::numeric_limits<float>::max();

class Search {
 public:
  Search(const PlaneView& target, const std::vector<PlaneView>& references,
         const MotionSettings& settings)
      : pictures_(target, references, settings.lambda),
        lambda_(settings.lambda),
        references_(references.size()),
        first_(settings.first),
        coarsest_(settings.first + settings.grids - 1),
        state_(pictures_, settings.first, settings.grids) {
    for (const PlaneView& r : references) matches_.push_back(match_blocks(target, r));
  }

  Latents run();

 private:
  // What whole cells could do.
  std::vector<Step> candidates(std::size_t r, const Place& at) const;
  template <class Cost>
  Step explore(const std::vector<Step>& candidates, Cost&& cost) const;
  void search_cells(std::size_t r, int level);
  void search_pairs(int level);
  void search_alpha(int level);

  // What single latents could do.
  void sweep_vectors(std::size_t r, int level);
  bool try_vector(std::size_t r, const Place& at, const Region& region, Step vector);
  Step downhill(std::size_t r, const Place& at, const Region& region) const;
  void sweep_blending(std::size_t field, int level);

  void prune(std::size_t r, int level);
  void search(std::size_t r, int level);
  void search_coarsest();
  Latents best_of(const MotionState& still);

  std::size_t alpha() const { return state_.fields().alpha(); }
  std::size_t beta() const { return state_.fields().beta(); }

  const MotionPictures pictures_;
  const float lambda_;
  const std::size_t references_;
  const int first_, coarsest_;
  std::vector<Matches> matches_;
  MotionState state_;
};

// Where a cell's vectors could go, as changes.
std::vector<Step> Search::candidates(std::size_t r, const Place& at) const {
  const Region region = state_.fields().cell(at);
  const auto middle = [&](std::size_t field) { return state_.fields().middle(field, region); };
  const Step here{middle(2 * r), middle(2 * r + 1)};
  std::vector<Step> result{{0, 0}};
  const auto add = [&](int x, int y) {  // a vector in 1/64 sample
    const Step s{(x - here.x + kVectorUnit / 2) >> 4, (y - here.y + kVectorUnit / 2) >> 4};
    if (std::find(result.begin(), result.end(), s) == result.end()) result.push_back(s);
  };
  const Matches& matches = matches_[r];
  add(0, 0);
  if (at.level == coarsest_) add(64 * matches.global.x, 64 * matches.global.y);
  // The matches in the cell and around.
  const int finest = std::min(at.level - kSquareLevel, static_cast<int>(matches.levels.size()) - 1);
  const auto& level = matches.levels[static_cast<std::size_t>(finest)];
  const int span = 1 << (at.level - kSquareLevel - finest);
  const auto around = [&](int cell, int count, auto&& visit) {
    for (int i = std::max(cell * span - 1, 0); i <= std::min(cell * span + span, count - 1); ++i)
      visit(i);
  };
  around(at.row, level.rows, [&](int row) {
    around(at.column, level.columns, [&](int column) {
      const Displacement d = level.at(row, column);
      add(64 * d.x, 64 * d.y);
    });
  });
  // The motion to the other reference, mirrored.
  if (r == 1) add(-middle(0), -middle(1));
  return result;
}

// The step that costs least among the candidates and around the best of them; cost(step, limit)
// is relative to no step, and may be infinite if it is more than the limit.
template <class Cost>
Step Search::explore(const std::vector<Step>& candidates, Cost&& cost) const {
  Step best{0, 0};
  float least = 0;
  const auto consider = [&](Step s) {
    if (s == Step{0, 0} || !s.valid()) return false;
    const float c = cost(s, least);
    if (c >= least) return false;
    least = c;
    best = s;
    return true;
  };
  for (const Step s : candidates) consider(s);
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

// Moves each cell of a grid as if its vectors were its own, all of them alike. Neighbours that
// move otherwise spoil some of it: the sweeps see to that.
void Search::search_cells(std::size_t r, int level) {
  const int width = state_.fields().grid(0, level).width;
  std::vector<Step> chosen;
  state_.for_places(level, [&](const Place& at) {
    const Region region = state_.fields().cell(at);
    if (state_.costs().of(region) < lambda_ * bits_of(1)) {
      chosen.push_back({0, 0});
      return;
    }
    std::vector<Step> steps = candidates(r, at);
    if (at.column > 0) steps.push_back(chosen.back());
    for (int dx = 0; at.row > 0 && dx < std::min(2, width - at.column); ++dx)
      steps.push_back(chosen[chosen.size() - static_cast<std::size_t>(width - dx)]);
    const Step now = state_.vector(r, at);
    chosen.push_back(explore(steps, [&](Step s, float limit) {
      const float more = lambda_ * (state_.rate(r, at, now + s) - state_.rate(r, at, now));
      const auto moved = [&](int row, int column, auto& vx, auto& vy) {
        state_.fields().values(2 * r, row, column, vx);
        state_.fields().values(2 * r + 1, row, column, vy);
        for (std::int32_t& x : vx) x += kVectorUnit * s.x;
        for (std::int32_t& y : vy) y += kVectorUnit * s.y;
        return true;
      };
      return more + state_.trial_vectors(r, region, moved, limit - more);
    }));
  });
  const Step* step = chosen.data();
  state_.for_places(level, [&](const Place& at) {
    state_.set_vector(r, at, state_.vector(r, at) + *step++);
  });
  state_.update_vectors(r, pictures_.everything());
}

// Moves the cells of a grid for both references at once, mirrored, from no motion at all: one
// of two that are mixed tells little while the other is still wrong.
void Search::search_pairs(int level) {
  std::vector<Step> chosen;
  state_.for_places(level, [&](const Place& at) {
    std::vector<Step> steps = candidates(0, at);
    for (const Step s : candidates(1, at)) steps.push_back(-s);
    const float before = state_.rate(0, at, Step{0, 0});
    chosen.push_back(explore(steps, [&](Step s, float limit) {
      const std::int32_t x = kVectorUnit * s.x, y = kVectorUnit * s.y;
      // The mirrored one follows from the other.
      const float more = lambda_ * (state_.rate(0, at, s) - before);
      std::int16_t samples[2][kSquareSamples];
      const auto mirrored = [&](int row, int column, Mixture& m) {
        state_.costs().predict(0, row, column, {x, x, x, x}, {y, y, y, y}, samples[0]);
        state_.costs().predict(1, row, column, {-x, -x, -x, -x}, {-y, -y, -y, -y}, samples[1]);
        m = state_.costs().mixture(row, column);
        for (std::size_t r = 0; r < 2; ++r) m.replace(r, samples[r]);
        return true;
      };
      return more + state_.costs().trial(state_.fields().cell(at), mirrored, limit - more);
    }));
  });
  const Step* step = chosen.data();
  state_.for_places(level, [&](const Place& at) {
    state_.set_vector(0, at, *step);
    state_.set_vector(1, at, -*step++);
  });
  for (std::size_t r = 0; r < 2; ++r) state_.update_vectors(r, pictures_.everything());
}

// Predicts nothing in cells where that costs less, as if they had an alpha of their own.
void Search::search_alpha(int level) {
  std::vector<int> chosen;
  state_.for_places(level, [&](const Place& at) {
    const Region region = state_.fields().cell(at);
    const bool predicted = state_.fields().middle(alpha(), region) > kBlendOne / 2;
    const int change = predicted ? kNothing : -kNothing;
    float more = state_.rate(alpha(), at, change) - bits_of(0);
    // Vectors are no more needed then.
    for (std::size_t f = 0; predicted && f < alpha(); ++f)
      for (int k = first_; k <= level; ++k)
        state_.for_children(at, k, [&](const Place& child) {
          more -= state_.rate(f, child, state_.fields().latent(f, child)) - bits_of(0);
        });
    const auto switched = [&](int, int, auto& alphas, auto&) {
      std::fill_n(alphas, 4, predicted ? 0 : kBlendOne);
      return true;
    };
    const bool pays = state_.trial_blending(region, switched, kInfinite) + lambda_ * more < 0;
    chosen.push_back(pays ? change : 0);
  });
  const int* change = chosen.data();
  state_.for_places(level, [&](const Place& at) { state_.add(alpha(), at, *change++); });
  state_.update_blending(pictures_.everything());
}

// Sets the latents of a vector if that costs less.
bool Search::try_vector(std::size_t r, const Place& at, const Region& region, Step wanted) {
  // Blocks that move by less than this, in 1/64 sample, cost what they did.
  constexpr int least_motion = 2;
  const Step now = state_.vector(r, at), change = wanted - now;
  if (wanted == now || !wanted.valid()) return false;
  const float more =
      lambda_ * (state_.rate(r, at, wanted) - state_.rate(r, at, now) + kLeastGain);
  const auto moved = [&](int row, int column, auto& vx, auto& vy) {
    const MotionFields& fields = state_.fields();
    std::int32_t x[4], y[4];
    fields.values(2 * r, row, column, x);
    fields.values(2 * r + 1, row, column, y);
    fields.values_after(2 * r, at, change.x, row, column, vx);
    fields.values_after(2 * r + 1, at, change.y, row, column, vy);
    int motion = 0;
    for (int b = 0; b < 4; ++b)
      motion = std::max({motion, std::abs(vx[b] - x[b]), std::abs(vy[b] - y[b])});
    return motion >= least_motion;
  };
  if (state_.trial_vectors(r, region, moved, -more) >= -more) return false;
  state_.set_vector(r, at, wanted);
  state_.update_vectors(r, region);
  return true;
}

// Where the slopes of the prediction say that a vector's latents should be; as they are if that
// gains too little.
Step Search::downhill(std::size_t r, const Place& at, const Region& region) const {
  constexpr double farthest = 12;
  double xx = 1e-12, xy = 0, yy = 1e-12, xr = 0, yr = 0;
  for (int row = region.top; row < region.bottom; ++row)
    for (int column = region.left; column < region.right; ++column) {
      const Slopes& s = state_.costs().slopes(r, row, column);
      const double w = 0.25 * state_.fields().weight(at, row, column);
      // The larger a residual, the less a part of it costs.
      const double share =
          std::min(1.0f, state_.costs().floor() * kSquareSamples / (s.energy + 1e-9f));
      xx += share * w * w * s.xx;
      xy += share * w * w * s.xy;
      yy += share * w * w * s.yy;
      xr += share * w * s.xr;
      yr += share * w * s.yr;
    }
  const double determinant = 1.001 * xx * yy - xy * xy;
  const auto whole = [&](double v) {
    return static_cast<int>(std::lround(std::clamp(v, -farthest, farthest)));
  };
  const Step now = state_.vector(r, at);
  Step best = now;
  double most = 0;
  for (const Step s : {Step{whole((yy * xr - xy * yr) / determinant),
                            whole((xx * yr - xy * xr) / determinant)},
                       Step{whole(xr / xx), 0}, Step{0, whole(yr / yy)}}) {
    if (!(now + s).valid()) continue;
    const double gain = 2 * (s.x * xr + s.y * yr) -
                        (s.x * s.x * xx + 2 * s.x * s.y * xy + s.y * s.y * yy) -
                        lambda_ * (state_.rate(r, at, now + s) - state_.rate(r, at, now));
    if (gain <= most) continue;
    most = gain;
    best = now + s;
  }
  return best;
}

void Search::sweep_vectors(std::size_t r, int level) {
  const auto& grid = state_.fields().grid(0, level);
  state_.sweep(2 * r, level, [&](const Place& at, const Region& region) {
    const auto now = [&] { return state_.vector(r, at); };
    const auto attempt = [&](Step v) { return try_vector(r, at, region, v); };
    const auto like = [&](int row, int column) {
      if (row >= 0 && row < grid.height && column >= 0 && column < grid.width)
        attempt(state_.vector(r, {level, row, column}));
    };
    attempt({0, 0});
    like(at.row - 1, at.column);
    like(at.row + 1, at.column);
    like(at.row, at.column - 1);
    like(at.row, at.column + 1);
    attempt({0, now().y});
    attempt({now().x, 0});
    for (int round = 0; round < 3; ++round)
      if (!attempt(downhill(r, at, region))) break;
    // A vector that is 0 has had its chance.
    for (int round = 0; round < 2 && !(now() == Step{0, 0}); ++round) {
      const bool x = attempt(now() + Step{1, 0}) || attempt(now() - Step{1, 0});
      const bool y = attempt(now() + Step{0, 1}) || attempt(now() - Step{0, 1});
      if (!x && !y) break;
    }
  });
}

void Search::sweep_blending(std::size_t field, int level) {
  const bool is_alpha = field == alpha();
  state_.sweep(field, level, [&](const Place& at, const Region& region) {
    const int now = state_.fields().latent(field, at);
    float hope = 0;
    for (int row = region.top; row < region.bottom; ++row)
      for (int column = region.left; column < region.right; ++column)
        hope += (is_alpha ? state_.costs().saved_by_alpha(row, column)
                          : state_.costs().saved_by_beta(row, column)) *
                std::min(1.0f, 2 * state_.fields().weight(at, row, column));
    if (now == 0 && hope < lambda_ * bits_of(1)) return;
    int best = now;
    float least = -kLeastGain * lambda_;
    for (const int latent : {0, now - 1, now + 1, now - 2, now + 2, now - 3, now + 3}) {
      if (latent == now) continue;
      const float more = lambda_ * (state_.rate(field, at, latent) - state_.rate(field, at, now));
      const auto changed = [&](int row, int column, auto& alphas, auto& betas) {
        state_.fields().values_after(field, at, latent - now, row, column,
                                     is_alpha ? alphas : betas);
        return true;
      };
      const float change = more + state_.trial_blending(region, changed, least - more);
      if (change >= least) continue;
      least = change;
      best = latent;
    }
    if (best == now) return;
    state_.add(field, at, best - now);
    state_.update_blending(region);
  });
}

// Takes back what the finer grids say of the vectors in a cell, where all of it together does
// not pay: one latent alone often can't leave the others.
void Search::prune(std::size_t r, int level) {
  struct Change {
    Place at;
    Step vector;
  };
  state_.for_places(level, [&](const Place& at) {
    std::vector<Change> changes;
    Region region = state_.fields().cell(at);
    float saved = 0;
    for (int k = first_; k < level; ++k)
      state_.for_children(at, k, [&](const Place& child) {
        const Step v = state_.vector(r, child);
        if (v == Step{0, 0}) return;
        changes.push_back({child, v});
        saved += lambda_ * (state_.rate(r, child, v) - state_.rate(r, child, Step{0, 0}));
        const Region reach = state_.fields().reach(child);
        region = {std::min(region.top, reach.top), std::max(region.bottom, reach.bottom),
                  std::min(region.left, reach.left), std::max(region.right, reach.right)};
      });
    if (changes.size() < 2) return;
    for (const Change& c : changes) state_.set_vector(r, c.at, {0, 0});
    const auto pruned = [&](int row, int column, auto& vx, auto& vy) {
      state_.fields().values(2 * r, row, column, vx);
      state_.fields().values(2 * r + 1, row, column, vy);
      return true;
    };
    if (state_.trial_vectors(r, region, pruned, saved) < saved)
      state_.update_vectors(r, region);
    else
      for (const Change& c : changes) state_.set_vector(r, c.at, c.vector);
  });
}

void Search::search(std::size_t r, int level) {
  search_cells(r, level);
  for (int round = 0; round < 2; ++round) sweep_vectors(r, level);
  for (int k = level + 1; k <= coarsest_; ++k) prune(r, k);
}

// Two references' motion may begin with either alone, since the other may show another scene,
// with one after the other, or with both mirrored.
void Search::search_coarsest() {
  struct Beginning {
    bool mirrored;
    int beta;
  };
  const MotionState start = state_;
  MotionState best = start;
  double least = std::numeric_limits<double>::max();
  for (const Beginning b : {Beginning{false, 0}, {true, 0}, {false, kFirst}, {false, -kFirst}}) {
    state_ = start;
    state_.for_places(coarsest_, [&](const Place& at) { state_.add(beta(), at, b.beta); });
    if (b.beta != 0) state_.update_blending(pictures_.everything());
    if (b.mirrored) search_pairs(coarsest_);
    for (std::size_t r = 0; r < 2; ++r) {
      if (b.beta == (r == 0 ? -kFirst : kFirst)) continue;
      search_cells(r, coarsest_);
      sweep_vectors(r, coarsest_);
    }
    // What both gain together shows on the finer grids only.
    const double now = state_.loss() * (b.beta == 0 ? 1 : kAlone);
    if (now >= least) continue;
    least = now;
    best = state_;
  }
  state_ = std::move(best);
}

// What has been found, unless no motion at all or no prediction at all costs less.
Latents Search::best_of(const MotionState& still) {
  Latents best = state_.fields().latents();
  double least = state_.loss();
  const auto compare = [&] {
    const double now = state_.loss();
    if (now >= least) return;
    least = now;
    best = state_.fields().latents();
  };
  state_ = still;
  compare();
  state_.for_places(coarsest_, [&](const Place& at) { state_.add(alpha(), at, kNothing); });
  state_.update_blending(pictures_.everything());
  compare();
  return best;
}

Latents Search::run() {
  constexpr int passes = 2;
  const MotionState still = state_;
  for (int k = coarsest_; k >= std::max(first_, kSquareLevel); --k) {
    if (references_ == 2 && k == coarsest_)
      search_coarsest();
    else
      for (std::size_t r = 0; r < references_; ++r) search(r, k);
    if (references_ == 2) sweep_blending(beta(), k);
  }
  for (int pass = 0; pass < passes; ++pass) {
    if (references_ == 2)
      for (int k = coarsest_; k >= first_; --k) sweep_blending(beta(), k);
    for (int k = coarsest_; k >= first_; --k) {
      if (pass == 0 && k >= kSquareLevel) search_alpha(k);
      sweep_blending(alpha(), k);
    }
    for (int k = coarsest_; k >= first_; --k)
      for (std::size_t r = 0; r < references_; ++r) sweep_vectors(r, k);
    for (int k = first_ + 1; k <= coarsest_; ++k)
      for (std::size_t r = 0; r < references_; ++r) prune(r, k);
  }
  return best_of(still);
}

}  // namespace

Latents search_motion(const PlaneView& target, const std::vector<PlaneView>& references,
                      const MotionSettings& settings) {
  return Search(target, references, settings).run();
}

}  // namespace vireo::train
