#include "train/motion_search.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "core/prediction.hpp"
#include "train/block_matching.hpp"
#include "train/motion_fields.hpp"
#include "train/motion_rates.hpp"
#include "train/square_costs.hpp"

namespace vireo::train {
namespace {

constexpr int kLargest = kMaxMotion;
constexpr float kFewBits = 4;       // a latent that is not 0 hardly takes less
constexpr int kSquareLevel = 3;     // of grids with one cell a square
constexpr float kLeastGain = 0.01f; // bits that a change must save
constexpr int kNothing = -3;        // alpha's latent where nothing is predicted
constexpr float kLeastMeasured = 9e-4f;  // lambda from which on the measured price is taken
constexpr int kBetaStep = 16;       // of a latent of beta, as a weight of the first reference
constexpr float kInfinite = std::numeric_limits<float>::max();

using Step = MotionVector;  // a change of a vector's latents, or the latents
Step operator+(Step a, Step b) { return {a.x + b.x, a.y + b.y}; }
Step operator-(Step a, Step b) { return {a.x - b.x, a.y - b.y}; }

// What is searched for, and how far it has come.
struct State {
  MotionFields fields;
  SquareCosts costs;
  // What the activity around was when latents had their last turn, of each field and grid, and
  // when cells were chosen anew, of each grid.
  std::vector<std::vector<std::vector<double>>> seen;
  std::vector<std::vector<double>> chosen;
};

// All latents of a cell: vectors, how much is predicted, and the first reference's share of it.
struct Choice {
  std::array<Step, 2> vectors{};
  int alpha = 0, beta = 0;
};

class Search {
 public:
  Search(const PictureView& target, const std::vector<PictureView>& references,
         const MotionSettings& settings)
      : pictures_(target, references, settings.lambda),
        settings_(settings),
        lambda_(settings.lambda),
        state_(make_state({})),
        rates_(settings.probabilities, references.size()) {
    for (const PictureView& r : references) matches_.push_back(match_blocks(target[0], r[0]));
  }

  // Finds latents; what they cost. Vectors begin with what is inherited, or at 0 if nothing is; a
  // run that they begin at 0 in is the first.
  double run(const InheritedMotion& inherited);
  const Latents& latents() const { return state_.fields.latents(); }

 private:
  State make_state(const InheritedMotion& inherited) const;
  // From here on residuals cost what was measured. Of one reference's predictions, and at high
  // rates, many residuals are so large that this hardly says what is better: the guide stays.
  void leave_guide(State& state) const;

  // What latents are at present, or would be if those of one vector, of one field or of one
  // cell were others.
  struct Present {
    const Search& search;
    std::size_t field = kNone;  // the first one that is changed
    Place at{};
    Step value{};
    bool vector = false;
    const Choice* choice = nullptr;

    int operator()(int f, int depth, int row, int column) const;
  };
  static constexpr std::size_t kNone = ~std::size_t{0};

  // Bits of a vector or a latent by itself, and with those whose contexts it is in.
  float own_bits(std::size_t r, const Place& at, Step vector) const;
  float own_bits(const Place& at, const Choice& choice) const;
  float rate(std::size_t r, const Place& at, Step vector) const;
  float rate(std::size_t field, const Place& at, int latent) const;
  // Of a vector whose mirror image the second reference gets.
  float mirrored_rate(const Place& at, Step vector) const;
  VectorContext vector_context(const Present& latents, std::size_t r, const Place& at) const;
  BlendingContext blending_context(const Present& latents, std::size_t field,
                                   const Place& at) const;
  float vector_bits(const Present& latents, std::size_t r, const Place& at, Step vector) const;
  float blending_bits(const Present& latents, std::size_t field, const Place& at, int latent) const;
  int depth(int level) const { return state_.fields.coarsest() - level; }
  // Calls visit(context, value) for all vectors and latents of blending.
  template <class Visit>
  void for_values(Visit&& visit) const;
  // Rates as an adaptive code has them at the end.
  void learn_rates();
  double loss() const;

  Step vector(std::size_t r, const Place& at) const {
    return {state_.fields.latent(2 * r, at), state_.fields.latent(2 * r + 1, at)};
  }
  void set_vector(std::size_t r, const Place& at, Step vector) {
    const Step change = vector - this->vector(r, at);
    state_.fields.add(2 * r, at, change.x);
    state_.fields.add(2 * r + 1, at, change.y);
  }

  template <class Visit>
  void for_places(int level, Visit&& visit) const;
  // Calls turn(place, region it reaches) for those whose surroundings have changed since.
  template <class Turn>
  void sweep(std::size_t field, int level, Turn&& turn);

  // What whole cells could do.
  std::vector<Step> candidates(std::size_t r, const Place& at) const;
  template <class Cost>
  Step explore(const std::vector<Step>& candidates, Cost&& cost, float unmoved = 0) const;
  void search_cells(std::size_t r, int level);
  void search_pairs(int level);
  void search_alpha(int level);

  // What single latents do.
  void sweep_vectors(std::size_t r, int level);
  bool try_vector(std::size_t r, const Place& at, const Region& region, Step vector);
  Step downhill(std::size_t r, const Place& at, const Region& region) const;
  void sweep_blending(std::size_t field, int level);

  // What is chosen together: a grid's cells hold each other's vectors and mixtures where they are,
  // if another vector pays only with another mixture.
  struct Cell {
    Place at;
    Region region;
    Choice now;
    float bits;  // of its own latents
  };
  Cell cell(const Place& at) const;
  float trial(const Cell& cell, const Choice& choice, float limit) const;
  void set(const Cell& cell, const Choice& choice);
  void choose_anew(int level);

  void search(std::size_t r, int level) {
    search_cells(r, level);
    for (int round = 0; round < 2; ++round) sweep_vectors(r, level);
  }
  void search_both(int level);
  // From latents that are 0, from a grid down to that of squares.
  void descend(int from);

  const MotionPictures pictures_;
  const MotionSettings settings_;
  const float lambda_;
  std::vector<Matches> matches_;
  State state_;
  MotionRates rates_;
  // Changes that have been chosen of the first cells of a grid, not yet made.
  struct {
    std::size_t reference = kNone;
    int level = 0;
    bool mirrored = false;  // the second reference's are these, mirrored
    std::vector<Step> steps;
  } pending_;
};

State Search::make_state(const InheritedMotion& inherited) const {
  MotionFields fields(pictures_.height, pictures_.width,
                      static_cast<int>(pictures_.references.size()), settings_.first,
                      settings_.grids, inherited);
  SquareCosts costs(pictures_, fields, true);
  State state{std::move(fields), std::move(costs), {}, {}};
  state.seen.resize(state.fields.count());
  for (int k = settings_.first; k <= state.fields.coarsest(); ++k) {
    const std::size_t cells = state.fields.grid(0, k).samples.size();
    for (auto& field : state.seen) field.emplace_back(cells, -1);
    state.chosen.emplace_back(cells, -1);
  }
  return state;
}

void Search::leave_guide(State& state) const {
  if (state.fields.references() == 1 || lambda_ < kLeastMeasured) return;
  state.costs = SquareCosts(pictures_, state.fields, false);
  for (auto& field : state.seen)
    for (auto& grid : field) std::fill(grid.begin(), grid.end(), -1);
}

int Search::Present::operator()(int f, int depth, int row, int column) const {
  const auto name = static_cast<std::size_t>(f);
  const MotionFields& fields = search.state_.fields;
  const int level = fields.coarsest() - depth;
  if (level == at.level && row == at.row && column == at.column) {
    if (choice && name < fields.alpha())
      return name % 2 ? choice->vectors[name / 2].y : choice->vectors[name / 2].x;
    if (choice) return name == fields.alpha() ? choice->alpha : choice->beta;
    if (name == field) return value.x;
    if (vector && name == field + 1) return value.y;
  }
  const int latent = fields.latent(name, {level, row, column});
  const auto& pending = search.pending_;
  const bool mirrored = pending.mirrored && name / 2 == 1;
  if (level != pending.level || (name / 2 != pending.reference && !mirrored)) return latent;
  const auto place = static_cast<std::size_t>(row * fields.grid(name, level).width + column);
  if (place >= pending.steps.size()) return latent;
  const int step = name % 2 ? pending.steps[place].y : pending.steps[place].x;
  return latent + (mirrored ? -step : step);
}

VectorContext Search::vector_context(const Present& latents, std::size_t r,
                                     const Place& at) const {
  return vireo::vector_context(static_cast<int>(r), depth(at.level), at.row, at.column,
                               state_.fields.grid(2 * r, at.level).width, latents);
}

BlendingContext Search::blending_context(const Present& latents, std::size_t field,
                                         const Place& at) const {
  return vireo::blending_context(static_cast<int>(field),
                                 static_cast<int>(field - state_.fields.alpha()), depth(at.level),
                                 at.row, at.column, latents);
}

float Search::vector_bits(const Present& latents, std::size_t r, const Place& at,
                          Step vector) const {
  return rates_.bits(vector_context(latents, r, at), vector);
}

float Search::own_bits(std::size_t r, const Place& at, Step vector) const {
  return vector_bits({*this}, r, at, vector);
}

float Search::rate(std::size_t r, const Place& at, Step vector) const {
  const Present latents{*this, 2 * r, at, vector, true};
  const auto& grid = state_.fields.grid(2 * r, at.level);
  float bits = vector_bits(latents, r, at, vector);
  const auto add = [&](std::size_t reference, int row, int column) {
    if (row >= grid.height || column < 0 || column >= grid.width) return;
    const int f = static_cast<int>(2 * reference), d = depth(at.level);
    bits += vector_bits(latents, reference, {at.level, row, column},
                        {latents(f, d, row, column), latents(f + 1, d, row, column)});
  };
  add(r, at.row, at.column + 1);
  add(r, at.row + 1, at.column);
  add(r, at.row + 1, at.column - 1);
  if (r == 0 && state_.fields.references() == 2) add(1, at.row, at.column);
  return bits;
}

float Search::mirrored_rate(const Place& at, Step vector) const {
  return own_bits(0, at, vector) + vector_bits({*this, 0, at, vector, true}, 1, at, -vector);
}

float Search::blending_bits(const Present& latents, std::size_t field, const Place& at,
                            int latent) const {
  return rates_.bits(blending_context(latents, field, at), latent);
}

float Search::rate(std::size_t field, const Place& at, int latent) const {
  const Present latents{*this, field, at, {latent, 0}};
  const auto& grid = state_.fields.grid(field, at.level);
  float bits = blending_bits(latents, field, at, latent);
  const auto add = [&](int row, int column) {
    if (row < grid.height && column < grid.width)
      bits += blending_bits(latents, field, {at.level, row, column}, grid.row(row)[column]);
  };
  add(at.row, at.column + 1);
  add(at.row + 1, at.column);
  return bits;
}

// Of a cell's own latents: those around it may follow.
float Search::own_bits(const Place& at, const Choice& choice) const {
  const Present latents{*this, kNone, at, {}, false, &choice};
  float bits = blending_bits(latents, state_.fields.alpha(), at, choice.alpha);
  for (std::size_t r = 0; r < state_.fields.references(); ++r)
    bits += vector_bits(latents, r, at, choice.vectors[r]);
  if (state_.fields.references() == 2)
    bits += blending_bits(latents, state_.fields.beta(), at, choice.beta);
  return bits;
}

template <class Visit>
void Search::for_values(Visit&& visit) const {
  const Present latents{*this};
  for (int k = state_.fields.first(); k <= state_.fields.coarsest(); ++k)
    for_places(k, [&](const Place& at) {
      for (std::size_t r = 0; r < state_.fields.references(); ++r) {
        const std::size_t field = state_.fields.alpha() + r;
        visit(vector_context(latents, r, at), vector(r, at));
        visit(blending_context(latents, field, at), state_.fields.latent(field, at));
      }
    });
}

double Search::loss() const {
  double bits = 0;
  for_values([&](const auto& context, auto value) { bits += rates_.bits(context, value); });
  return state_.costs.total() + lambda_ * bits;
}

void Search::learn_rates() {
  MotionCounter seen;
  MotionSyntax syntax(seen);
  for_values([&](const auto& context, auto value) { syntax.code(context, value); });
  rates_.learn(seen);
}

template <class Visit>
void Search::for_places(int level, Visit&& visit) const {
  const auto& grid = state_.fields.grid(0, level);
  for (int row = 0; row < grid.height; ++row)
    for (int column = 0; column < grid.width; ++column) visit(Place{level, row, column});
}

template <class Turn>
void Search::sweep(std::size_t field, int level, Turn&& turn) {
  double* seen = state_.seen[field][static_cast<std::size_t>(level - state_.fields.first())].data();
  for_places(level, [&](const Place& at) {
    const Region region = state_.fields.reach(at);
    if (state_.costs.activity(region) > *seen) {
      turn(at, region);
      *seen = state_.costs.activity(region);
    }
    ++seen;
  });
}

// Where a cell's vectors could go, as changes.
std::vector<Step> Search::candidates(std::size_t r, const Place& at) const {
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
  if (at.level == state_.fields.coarsest()) add_vector(64 * matches.global.x, 64 * matches.global.y);
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

// The step that costs least among the candidates and around the best of them; cost(step, limit)
// may be infinite if it is more than the limit. No step costs `unmoved`.
template <class Cost>
Step Search::explore(const std::vector<Step>& candidates, Cost&& cost, float unmoved) const {
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

// Moves each cell of a grid as if its vectors were its own, all of them alike. Neighbours that
// move otherwise spoil some of it: the sweeps see to that.
void Search::search_cells(std::size_t r, int level) {
  pending_ = {r, level, false, {}};
  std::vector<Step>& chosen = pending_.steps;
  const int width = state_.fields.grid(0, level).width;
  for_places(level, [&](const Place& at) {
    const Region region = state_.fields.cell(at);
    if (state_.costs.of(region) < kFewBits * lambda_) {
      chosen.push_back({0, 0});
      return;
    }
    std::vector<Step> steps = candidates(r, at);
    if (at.column > 0) steps.push_back(chosen.back());
    for (int dx = 0; at.row > 0 && dx < std::min(2, width - at.column); ++dx)
      steps.push_back(chosen[chosen.size() - static_cast<std::size_t>(width - dx)]);
    const Step now = vector(r, at);
    const float before = rate(r, at, now);
    chosen.push_back(explore(steps, [&](Step s, float limit) {
      const Step wanted = now + s;
      if (std::abs(wanted.x) > kLargest || std::abs(wanted.y) > kLargest) return kInfinite;
      const float more = lambda_ * (rate(r, at, wanted) - before);
      std::int16_t samples[kSquareSamples];
      return more + state_.costs.trial(
                        region,
                        [&](int row, int column, Mixture& m) {
                          std::int32_t v[2][4];
                          for (std::size_t c = 0; c < 2; ++c) {
                            state_.fields.values(2 * r + c, row, column, v[c]);
                            for (std::int32_t& x : v[c]) x += 16 * (c ? s.y : s.x);
                          }
                          state_.costs.predict(r, row, column, v[0], v[1], samples);
                          m = state_.costs.mixture(row, column);
                          state_.costs.replace(m, r, samples);
                          return true;
                        },
                        limit - more);
    }));
  });
  const std::vector<Step> steps = std::move(pending_.steps);
  pending_ = {};
  const Step* step = steps.data();
  for_places(level, [&](const Place& at) { set_vector(r, at, vector(r, at) + *step++); });
  state_.costs.update_vectors(state_.fields, r, pictures_.everything());
}

// Moves the cells of a grid for both references at once, mirrored, from latents that are 0: one
// of two that are mixed tells little while the other is still wrong.
void Search::search_pairs(int level) {
  pending_ = {0, level, true, {}};
  std::vector<Step>& chosen = pending_.steps;
  for_places(level, [&](const Place& at) {
    const Region region = state_.fields.cell(at);
    std::vector<Step> steps = candidates(0, at);
    for (const Step s : candidates(1, at)) steps.push_back(-s);
    const float before = mirrored_rate(at, {0, 0});
    chosen.push_back(explore(steps, [&](Step s, float limit) {
      if (std::abs(s.x) > kLargest || std::abs(s.y) > kLargest) return kInfinite;
      const float more = lambda_ * (mirrored_rate(at, s) - before);
      std::int16_t samples[2][kSquareSamples];
      return more + state_.costs.trial(
                        region,
                        [&](int row, int column, Mixture& m) {
                          m = state_.costs.mixture(row, column);
                          for (std::size_t r = 0; r < 2; ++r) {
                            std::int32_t v[2][4];
                            for (std::size_t c = 0; c < 2; ++c) {
                              state_.fields.values(2 * r + c, row, column, v[c]);
                              for (std::int32_t& x : v[c]) x += (r ? -16 : 16) * (c ? s.y : s.x);
                            }
                            state_.costs.predict(r, row, column, v[0], v[1], samples[r]);
                            state_.costs.replace(m, r, samples[r]);
                          }
                          return true;
                        },
                        limit - more);
    }));
  });
  const std::vector<Step> steps = std::move(pending_.steps);
  pending_ = {};
  const Step* step = steps.data();
  for_places(level, [&](const Place& at) {
    set_vector(0, at, *step);
    set_vector(1, at, -*step++);
  });
  for (std::size_t r = 0; r < 2; ++r)
    state_.costs.update_vectors(state_.fields, r, pictures_.everything());
}

// Sets the latents of a vector if that costs less.
bool Search::try_vector(std::size_t r, const Place& at, const Region& region, Step wanted) {
  // Blocks that move by less than this, in 1/64 sample, cost what they did.
  constexpr int least_motion = 2;
  const Step now = vector(r, at), change = wanted - now;
  if (wanted == now || std::abs(wanted.x) > kLargest || std::abs(wanted.y) > kLargest) return false;
  const float more = lambda_ * (rate(r, at, wanted) - rate(r, at, now) + kLeastGain);
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
  set_vector(r, at, wanted);
  state_.costs.update_vectors(state_.fields, r, region);
  return true;
}

// Where the slopes of the prediction say that a vector's latents should be; as they are if that
// gains too little.
Step Search::downhill(std::size_t r, const Place& at, const Region& region) const {
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
  const Step now = vector(r, at);
  Step best = now;
  double most = 0;
  for (const Step s : {Step{whole((yy * xr - xy * yr) / det), whole((xx * yr - xy * xr) / det)},
                       Step{whole(xr / xx), 0}, Step{0, whole(yr / yy)}}) {
    if (std::abs(now.x + s.x) > kLargest || std::abs(now.y + s.y) > kLargest) continue;
    const double gain = 2 * (s.x * xr + s.y * yr) -
                        (s.x * s.x * xx + 2 * s.x * s.y * xy + s.y * s.y * yy) -
                        lambda_ * (rate(r, at, now + s) - rate(r, at, now));
    if (gain <= most) continue;
    most = gain;
    best = now + s;
  }
  return best;
}

void Search::sweep_vectors(std::size_t r, int level) {
  const auto& grid = state_.fields.grid(2 * r, level);
  sweep(2 * r, level, [&](const Place& at, const Region& region) {
    const auto attempt = [&](Step v) { return try_vector(r, at, region, v); };
    attempt({0, 0});
    const auto like = [&](int row, int column) {
      if (row >= 0 && row < grid.height && column >= 0 && column < grid.width)
        attempt(vector(r, {level, row, column}));
    };
    like(at.row - 1, at.column);
    like(at.row + 1, at.column);
    like(at.row, at.column - 1);
    like(at.row, at.column + 1);
    like(at.row - 1, at.column + 1);
    if (state_.fields.references() == 2) attempt(-vector(1 - r, at));
    attempt({0, vector(r, at).y});
    attempt({vector(r, at).x, 0});
    for (int round = 0; round < 3; ++round)
      if (!attempt(downhill(r, at, region))) break;
    // A latent that is 0 has been given its chance.
    const auto step = [&](int x, int y) { return attempt(vector(r, at) + Step{x, y}); };
    for (int round = 0; round < 2 && !(vector(r, at) == Step{0, 0}); ++round) {
      const bool x = step(1, 0) || step(-1, 0), y = step(0, 1) || step(0, -1);
      if (!x && !y) break;
    }
  });
}

// Predicts nothing in cells where that costs less, as if they had an alpha of their own.
void Search::search_alpha(int level) {
  const std::size_t alpha = state_.fields.alpha();
  std::vector<int> chosen;
  for_places(level, [&](const Place& at) {
    const Region region = state_.fields.cell(at);
    const bool predicted = state_.fields.middle(alpha, region) > kBlendOne / 2;
    float more = rate(alpha, at, predicted ? kNothing : -kNothing) - rate(alpha, at, 0);
    // Vectors are no more needed then.
    for (std::size_t r = 0; predicted && r < state_.fields.references(); ++r)
      for (int k = state_.fields.first(); k <= level; ++k) {
        const auto& grid = state_.fields.grid(2 * r, k);
        const int side = 1 << (level - k);
        for (int y = at.row * side; y < std::min((at.row + 1) * side, grid.height); ++y)
          for (int x = at.column * side; x < std::min((at.column + 1) * side, grid.width); ++x)
            more -= own_bits(r, {k, y, x}, vector(r, {k, y, x})) - own_bits(r, {k, y, x}, {});
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
  for_places(level, [&](const Place& at) { state_.fields.add(alpha, at, *latent++); });
  state_.costs.update_blending(state_.fields, pictures_.everything());
}

void Search::sweep_blending(std::size_t field, int level) {
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
      const float more = lambda_ * (rate(field, at, latent) - rate(field, at, now));
      const float change = more + state_.costs.trial(
                                      region,
                                      [&](int row, int column, Mixture& m) {
                                        std::int32_t a[4], b[4];
                                        state_.fields.blending(row, column, a, b);
                                        state_.fields.values_after(field, at, latent - now, row,
                                                                   column, is_alpha ? a : b);
                                        m = state_.costs.mixture(row, column);
                                        const Mixture before = m;
                                        SquareCosts::blend(m, a, b);
                                        return !std::equal(m.weights, m.weights + 4, before.weights);
                                      },
                                      least - more);
      if (change >= least) continue;
      least = change;
      best = latent;
    }
    if (best == now) return;
    state_.fields.add(field, at, best - now);
    state_.costs.update_blending(state_.fields, region);
  });
}

Search::Cell Search::cell(const Place& at) const {
  Choice now;
  for (std::size_t r = 0; r < state_.fields.references(); ++r) now.vectors[r] = vector(r, at);
  now.alpha = state_.fields.latent(state_.fields.alpha(), at);
  if (state_.fields.references() == 2) now.beta = state_.fields.latent(state_.fields.beta(), at);
  return {at, state_.fields.cell(at), now, own_bits(at, now)};
}

// By how much costs would change, bits included.
float Search::trial(const Cell& cell, const Choice& choice, float limit) const {
  const Place& at = cell.at;
  const Choice& now = cell.now;
  for (const Step v : choice.vectors)
    if (std::abs(v.x) > kLargest || std::abs(v.y) > kLargest) return kInfinite;
  const float more = lambda_ * (own_bits(at, choice) - cell.bits);
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

void Search::set(const Cell& cell, const Choice& choice) {
  const Choice& now = cell.now;
  for (std::size_t r = 0; r < state_.fields.references(); ++r) {
    if (choice.vectors[r] == now.vectors[r]) continue;
    set_vector(r, cell.at, choice.vectors[r]);
    state_.costs.update_vectors(state_.fields, r, cell.region);
  }
  if (choice.alpha == now.alpha && choice.beta == now.beta) return;
  state_.fields.add(state_.fields.alpha(), cell.at, choice.alpha - now.alpha);
  if (state_.fields.references() == 2)
    state_.fields.add(state_.fields.beta(), cell.at, choice.beta - now.beta);
  state_.costs.update_blending(state_.fields, cell.region);
}

// Cells of one grid, below those that move smoothly: predicted by one reference alone with the
// vector that then suits best, or by both with these.
void Search::choose_anew(int level) {
  const std::size_t references = state_.fields.references();
  const auto& grid = state_.fields.grid(0, level);
  double* seen = state_.chosen[static_cast<std::size_t>(level - state_.fields.first())].data();
  for_places(level, [&](const Place& at) {
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
          return (state_.fields.middle(field, other) - state_.fields.middle(field, region) + 8) >> 4;
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

// Two references' motion has two beginnings: one after the other, or mirrored.
void Search::search_both(int level) {
  const State start = state_;
  State best = start;
  double least = std::numeric_limits<double>::max();
  for (const bool mirrored : {false, true}) {
    state_ = start;
    if (mirrored) search_pairs(level);
    for (std::size_t r = 0; r < 2; ++r) search(r, level);
    const double now = loss();
    if (now >= least) continue;
    least = now;
    best = state_;
  }
  state_ = std::move(best);
}

void Search::descend(int from) {
  const std::size_t references = state_.fields.references();
  for (int k = from; k >= std::max(state_.fields.first(), kSquareLevel); --k) {
    if (references == 2 && k == from)
      search_both(k);
    else
      for (std::size_t r = 0; r < references; ++r) search(r, k);
    if (references == 2) sweep_blending(state_.fields.beta(), k);
  }
}

double Search::run(const InheritedMotion& inherited) {
  constexpr int passes = 4;
  if (!inherited.empty()) {
    rates_.reset(true);
    state_ = make_state(inherited);
  }
  const int first = state_.fields.first(), coarsest = state_.fields.coarsest();
  const std::size_t references = state_.fields.references();
  const std::size_t alpha = state_.fields.alpha(), beta = state_.fields.beta();
  State start = state_;
  // Where much moves on its own, what large cells have in common only misleads.
  descend(coarsest);
  double least = loss();
  for (int from = std::min(coarsest - 1, kSquareLevel + 1); from >= std::max(first, kSquareLevel); --from) {
    State best = std::move(state_);
    state_ = start;
    descend(from);
    const double now = loss();
    if (now < least)
      least = now;
    else
      state_ = std::move(best);
  }
  leave_guide(state_);
  for (int pass = 0; pass < passes; ++pass) {
    learn_rates();
    if (references == 2)
      for (int k = coarsest; k >= first; --k) sweep_blending(beta, k);
    for (int k = coarsest; k >= first; --k) {
      if (pass == 0 && k >= kSquareLevel) search_alpha(k);
      sweep_blending(alpha, k);
    }
    for (int k = coarsest; k >= first; --k)
      for (std::size_t r = 0; r < references; ++r) sweep_vectors(r, k);
    const int least_level = std::max(first, kSquareLevel);
    for (int k = std::min(kSmoothLevel - 1, coarsest); k >= least_level; --k) choose_anew(k);
  }
  const double found = loss();
  State end = std::move(state_);
  state_ = std::move(start);
  leave_guide(state_);
  for_places(coarsest, [&](const Place& at) { state_.fields.add(alpha, at, kNothing); });
  state_.costs.update_blending(state_.fields, pictures_.everything());
  const double nothing = loss();
  if (nothing < found) return nothing;
  state_ = std::move(end);
  return found;
}

}  // namespace

FoundMotion search_motion(const PictureView& target, const std::vector<PictureView>& references,
                          const MotionSettings& settings) {
  Search search(target, references, settings);
  FoundMotion found{{}, false, kInfinite};
  if (!settings.always) {
    found.cost = search.run({});
    found.latents = search.latents();
  }
  if (settings.inherited) {
    const double cost = search.run(*settings.inherited);
    if (cost < found.cost) found = {search.latents(), true, cost};
  }
  return found;
}

}  // namespace vireo::train
