#include "train/refinement.hpp"

#include <algorithm>
#include <cmath>

namespace vireo::train {
namespace {

constexpr int kTile = 64;
constexpr int kMaxLanes = 512;  // of a synthesis at a time
constexpr int kCoarseLevel = 4;
constexpr float kSampleScale = 256.0f / 255.0f;
// Whether to look closely at a move is decided by guesses in bits: a latent that leaves 0 costs
// kLeastNew at least, one that grows kLeastMore, and one that shrinks saves no more than it
// costs now and kNeighbours.
constexpr float kLeastNew = 1.5f, kLeastMore = 0.25f, kNeighbours = 4.0f;

int ceil_level(int samples, int level) { return (samples + (1 << level) - 1) >> level; }

}  // namespace

Refinement::Map::Map(int h, int w)
    : height(h),
      width(w),
      stride(round_up(w, kTile)),
      samples(static_cast<std::size_t>(h * stride)) {}

Refinement::Refinement(const RefinementNetworks& networks, const std::vector<std::vector<float>>& missing,
                       const std::vector<float>& weights, const std::vector<std::vector<float>>& latents,
                       const std::vector<std::vector<float>>& given, float lambda)
    : networks_(networks), bit_cost_(1.5f * lambda) {
  const Shape& shape = networks.shape;
  const int count = shape.grids + shape.chroma_grids;
  dependent_.assign(static_cast<std::size_t>(count), -1);
  for (int g = 0; g < count; ++g) {
    const GridShape& layout = shape.layout[static_cast<std::size_t>(g)];
    const int h = ceil_level(shape.height, layout.level), w = ceil_level(shape.width, layout.level);
    Grid grid;
    for (const auto& [dy, dx] : context_of(g))
      grid.margin = std::max({grid.margin, -dy, std::abs(dx)});
    grid.values = Map(h + 2 * grid.margin, w + 2 * grid.margin);
    grid.bits = Map(h, w);
    const float* from = latents[static_cast<std::size_t>(g)].data();
    for (int y = 0; y < h; ++y, from += w) std::copy_n(from, w, grid.at(y, 0));
    grid.given = Map(h, w);
    from = given[static_cast<std::size_t>(g)].data();
    for (int y = 0; y < h; ++y, from += w) std::copy_n(from, w, grid.given.row(y));
    grids_.push_back(std::move(grid));
    if (layout.other >= 0) dependent_[static_cast<std::size_t>(layout.other)] = g;
  }

  int widest = 0;
  for (const Mlp& m : networks.arms) widest = std::max(widest, m.activations);
  for (const Mlp* m : {&networks.luma, &networks.chroma}) widest = std::max(widest, m->activations);
  memory_.resize(static_cast<std::size_t>(widest + MAX_WIDTH) * kMaxLanes);
  lanes_.resize(static_cast<std::size_t>(MAX_WIDTH + 1) * kMaxLanes);  // `other` may come on top
  values_.resize(kMaxLanes);
  bits_.resize(kMaxLanes);

  luma_.mlp = &networks.luma;
  luma_.level = 0;
  chroma_.mlp = &networks.chroma;
  chroma_.level = 1;
  const auto plane = [&](int g, int to_level) {
    const Grid& grid = grids_[static_cast<std::size_t>(g)];
    Map map(grid.bits.height, grid.bits.width);
    for (int y = 0; y < map.height; ++y) std::copy_n(grid.at(y, 0), map.width, map.row(y));
    for (int k = shape.layout[static_cast<std::size_t>(g)].level; k > to_level; --k)
      map = upsampled(map, k);
    return map;
  };
  for (int g = 0; g < shape.grids; ++g) luma_.inputs.push_back(plane(g, 0));
  for (int g = 0; g < shape.chroma_grids; ++g) chroma_.inputs.push_back(plane(shape.grids + g, 1));
  for (int g = 1; g < shape.grids; ++g) chroma_.inputs.push_back(plane(g, 1));
  luma_.weights = Map(shape.height, shape.width);
  chroma_.weights = Map(shape.height / 2, shape.width / 2);
  for (int y = 0; y < shape.height / 2; ++y) {
    float* here = chroma_.weights.row(y);
    std::copy_n(weights.data() + std::ptrdiff_t{y} * (shape.width / 2), shape.width / 2, here);
    for (int x = 0; x < shape.width; ++x)
      luma_.weights.row(2 * y)[x] = luma_.weights.row(2 * y + 1)[x] = here[x / 2];
  }
  place(luma_, missing, 0);
  place(chroma_, missing, 1);
  for (int g = 0; g < count; ++g) {
    Map& bits = grids_[static_cast<std::size_t>(g)].bits;
    for (int y = 0; y < bits.height; ++y)
      for (int x = 0; x < bits.width; x += kMaxLanes) {
        const int n = std::min(kMaxLanes, bits.width - x);
        for (int i = 0; i < n; ++i) add_lane({g, y, x + i}, i);
        std::copy_n(run_lanes(g, n), n, bits.row(y) + x);
      }
  }
}

void Refinement::get_latents(int grid, float* out) const {
  const Grid& g = grids_[static_cast<std::size_t>(grid)];
  for (int y = 0; y < g.bits.height; ++y, out += g.bits.width)
    std::copy_n(g.at(y, 0), g.bits.width, out);
}

// ---------------------------------------------------------------- upsampling

// A rectangle at one level, doubled; samples at a border stand for those beyond it. `endless`:
// there are no borders.
Refinement::Footprint Refinement::doubled(const Footprint& f, int level, bool endless) const {
  const int side = networks_.shape.kernel, pad = side / 2;
  const int h = ceil_level(networks_.shape.height, level);
  const int w = ceil_level(networks_.shape.width, level);
  const int out_h = ceil_level(networks_.shape.height, level - 1);
  const int out_w = ceil_level(networks_.shape.width, level - 1);
  const auto from = [&](int first) { return !endless && first == 0 ? -pad : first; };
  const auto to = [&](int end, int size) { return !endless && end == size ? size + pad : end; };
  const int top = from(f.top), bottom = to(f.top + f.height, h);
  const int left = from(f.left), right = to(f.left + f.width, w);
  const auto first = [&](int i) { return endless ? 2 * i + 1 - pad : std::max(0, 2 * i + 1 - pad); };
  const auto end = [&](int i, int size) {
    const int e = 2 * (i - 1) + 1 - pad + side;
    return endless ? e : std::min(size, e);
  };
  Footprint r{first(top), first(left), end(bottom, out_h) - first(top),
              end(right, out_w) - first(left), {}};
  r.weights.resize(static_cast<std::size_t>(r.height) * static_cast<std::size_t>(r.width));
  for (int i = top; i < bottom; ++i) {
    const float* row = f.row(std::clamp(i, f.top, f.top + f.height - 1) - f.top);
    for (int a = 0; a < side; ++a) {
      const int y = 2 * i + 1 - pad + a - r.top;
      if (y < 0 || y >= r.height) continue;
      float* out = r.weights.data() + std::ptrdiff_t{y} * r.width;
      const float* taps = networks_.kernel + a * side;
      for (int j = left; j < right; ++j) {
        const float v = row[std::clamp(j, f.left, f.left + f.width - 1) - f.left];
        if (v == 0) continue;
        const int x = 2 * j + 1 - pad - r.left;
        const int b0 = std::max(0, -x), b1 = std::min(side, r.width - x);
        for (int b = b0; b < b1; ++b) out[x + b] += v * taps[b];
      }
    }
  }
  return r;
}

Refinement::Map Refinement::upsampled(const Map& from, int level) const {
  Footprint all{0, 0, from.height, from.width, {}};
  for (int y = 0; y < from.height; ++y)
    all.weights.insert(all.weights.end(), from.row(y), from.row(y) + from.width);
  const Footprint f = doubled(all, level, false);
  Map map(f.height, f.width);
  for (int y = 0; y < f.height; ++y) std::copy_n(f.row(y), f.width, map.row(y));
  return map;
}

Refinement::Footprint Refinement::grown(int row, int column, int level, int to_level,
                                        bool endless) const {
  Footprint f{row, column, 1, 1, {1.0f}};
  for (int k = level; k > to_level; --k) f = doubled(f, k, endless);
  return f;
}

// All latents of a grid have the same footprint, moved, but for those near a border.
const Refinement::Footprint& Refinement::footprint(const Place& at, int to_level, Footprint& own) {
  const int level = networks_.shape.layout[static_cast<std::size_t>(at.grid)].level;
  const auto found = interior_.find({level, to_level});
  Footprint& common =
      (found != interior_.end() ? found
                                : interior_
                                      .emplace(std::pair{level, to_level},
                                               grown(0, 0, level, to_level, true))
                                      .first)
          ->second;
  const int scale = 1 << (level - to_level);
  const int before = (scale - 1) * (networks_.shape.kernel / 2 - 1);
  const int top = at.row * scale - before, left = at.column * scale - before;
  // What lies inside at its level did so on all levels before.
  if (top >= 0 && left >= 0 &&
      top + common.height <= ceil_level(networks_.shape.height, to_level) &&
      left + common.width <= ceil_level(networks_.shape.width, to_level)) {
    common.top = top;
    common.left = left;
    return common;
  }
  own = grown(at.row, at.column, level, to_level, false);
  return own;
}

// ---------------------------------------------------------------- synthesis

std::vector<Refinement::Way> Refinement::ways(int grid) {
  const Shape& shape = networks_.shape;
  if (grid >= shape.grids) return {{&chroma_, grid - shape.grids}};
  if (grid == 0) return {{&luma_, 0}};
  return {{&luma_, grid}, {&chroma_, shape.chroma_grids + grid - 1}};
}

const float* Refinement::run(const Synthesis& s, const float* const* inputs, int lanes) {
  networks_.kernels.forward(*s.mlp, inputs, memory_.data(), lanes);
  const int outputs = s.mlp->layers[s.mlp->depth - 1].outputs;
  return memory_.data() + std::ptrdiff_t{s.mlp->activations - outputs} * lanes;
}

void Refinement::place(Synthesis& s, const std::vector<std::vector<float>>& missing,
                       std::size_t first) {
  const int h = s.inputs[0].height, w = s.inputs[0].width;
  const int outputs = s.mlp->layers[s.mlp->depth - 1].outputs;
  const std::vector<float> zeros(kTile);
  const std::vector<const float*> nothing(s.inputs.size(), zeros.data());
  const float* given = run(s, nothing.data(), kTile);
  for (int c = 0; c < outputs; ++c) {
    Map map(h, w);
    const float* from = missing[first + static_cast<std::size_t>(c)].data();
    for (int y = 0; y < h; ++y)
      for (int x = 0; x < w; ++x) map.row(y)[x] = *from++ + kSampleScale * given[c * kTile];
    s.wanted.push_back(std::move(map));
    s.errors.emplace_back(h, w);
    s.slopes.emplace_back(h, w);
  }
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; x += kTile) {
      const float* in[MAX_WIDTH];
      for (std::size_t i = 0; i < s.inputs.size(); ++i) in[i] = s.inputs[i].row(y) + x;
      const float* out = run(s, in, kTile);
      for (std::size_t c = 0; c < s.outputs(); ++c, out += kTile)
        for (int i = 0; i < std::min(kTile, w - x); ++i)
          s.errors[c].row(y)[x + i] = kSampleScale * out[i] - s.wanted[c].row(y)[x + i];
    }
}

void Refinement::refresh_slopes(Synthesis& s, int input) {
  for (int y = 0; y < s.inputs[0].height; ++y)
    for (int x = 0; x < s.inputs[0].width; x += kTile) {
      const float* in[MAX_WIDTH];
      for (std::size_t i = 0; i < s.inputs.size(); ++i) in[i] = s.inputs[i].row(y) + x;
      for (std::size_t c = 0; c < s.outputs(); ++c) {
        const float* by = networks_.kernels.slopes(*s.mlp, in, memory_.data(), kTile,
                                                   static_cast<int>(c));
        by += std::ptrdiff_t{input} * kTile;
        float* out = s.slopes[c].row(y) + x;
        for (int i = 0; i < kTile; ++i) out[i] = kSampleScale * by[i];
      }
    }
}

void Refinement::forecast(const Way& way, const Footprint& f, double& linear, double& quadratic) {
  for (std::size_t c = 0; c < way.synthesis->outputs(); ++c)
    for (int y = 0; y < f.height; ++y) {
      const float* error = way.synthesis->errors[c].row(f.top + y) + f.left;
      const float* slope = way.synthesis->slopes[c].row(f.top + y) + f.left;
      const float* weights = f.row(y);
      const float* worth = way.synthesis->weights.row(f.top + y) + f.left;
      float first = 0, second = 0;
      for (int x = 0; x < f.width; ++x) {
        const float by = slope[x] * weights[x], weighed = by * worth[x];
        first += error[x] * weighed;
        second += by * weighed;
      }
      linear += 2 * double{first};
      quadratic += double{second};
    }
}

// Parts of a footprint of at most kMaxLanes samples: visit(top, left, rows, columns).
template <class Visit>
void Refinement::for_blocks(const Footprint& f, Visit&& visit) {
  for (int left = 0; left < f.width; left += kMaxLanes) {
    const int columns = std::min(kMaxLanes, f.width - left);
    const int at_a_time = kMaxLanes / columns;
    for (int top = 0; top < f.height; top += at_a_time)
      visit(top, left, std::min(at_a_time, f.height - top), columns);
  }
}

double Refinement::trial(const Way& way, const Footprint& f, float change, bool keep) {
  Synthesis& s = *way.synthesis;
  const auto moving = static_cast<std::size_t>(way.input);
  double total = 0;
  for_blocks(f, [&](int top, int left, int rows, int columns) {
    const float* in[MAX_WIDTH];
    const int lanes = static_cast<int>(round_up(rows * columns, kTile));
    for (std::size_t k = 0; k < s.inputs.size(); ++k) {
      float* to = lanes_.data() + k * kMaxLanes;
      in[k] = to;
      for (int y = 0; y < rows; ++y, to += columns) {
        const float* from = s.inputs[k].row(f.top + top + y) + f.left + left;
        if (k == moving) {
          const float* weights = f.row(top + y) + left;
          for (int x = 0; x < columns; ++x) to[x] = from[x] + change * weights[x];
        } else {
          std::copy_n(from, columns, to);
        }
      }
    }
    if (keep)
      for (int y = 0; y < rows; ++y)
        std::copy_n(in[moving] + y * columns, columns,
                    s.inputs[moving].row(f.top + top + y) + f.left + left);
    const float* out = run(s, in, lanes);
    for (std::size_t c = 0; c < s.outputs(); ++c, out += lanes)
      for (int y = 0; y < rows; ++y) {
        const float* given = out + y * columns;
        float* error = s.errors[c].row(f.top + top + y) + f.left + left;
        const float* wanted = s.wanted[c].row(f.top + top + y) + f.left + left;
        const float* worth = s.weights.row(f.top + top + y) + f.left + left;
        float part = 0;
        for (int x = 0; x < columns; ++x) {
          const float e = kSampleScale * given[x] - wanted[x];
          part += (e * e - error[x] * error[x]) * worth[x];
          if (keep) error[x] = e;
        }
        total += double{part};
      }
  });
  return total;
}

// ---------------------------------------------------------------- rate

template <class Visit>
void Refinement::for_dependent(const Place& at, Visit&& visit) const {
  const Grid& grid = grids_[static_cast<std::size_t>(at.grid)];
  const auto& context = context_of(at.grid);
  for (std::size_t c = 0; c < context.size(); ++c) {
    const int row = at.row - context[c].first, column = at.column - context[c].second;
    if (row < grid.bits.height && column >= 0 && column < grid.bits.width)
      visit(Place{at.grid, row, column}, static_cast<int>(c));
  }
  const int other = dependent_[static_cast<std::size_t>(at.grid)];
  if (other >= 0)
    visit(Place{other, at.row, at.column}, static_cast<int>(context_of(other).size()));
}

void Refinement::add_lane(const Place& at, int lane, int replaced, float value) {
  const Grid& grid = grids_[static_cast<std::size_t>(at.grid)];
  const float* here = grid.at(at.row, at.column);
  float* to = lanes_.data() + lane;
  for (const auto& [dy, dx] : context_of(at.grid)) {
    *to = here[dy * grid.values.stride + dx];
    to += kMaxLanes;
  }
  const GridShape& layout = networks_.shape.layout[static_cast<std::size_t>(at.grid)];
  *to = layout.other < 0
            ? grid.given.row(at.row)[at.column]
            : *grids_[static_cast<std::size_t>(layout.other)].at(at.row, at.column);
  if (replaced >= 0) lanes_[static_cast<std::size_t>(replaced * kMaxLanes + lane)] = value;
  values_[static_cast<std::size_t>(lane)] = *here;
}

const float* Refinement::run_lanes(int grid, int lanes) {
  const int model = networks_.shape.layout[static_cast<std::size_t>(grid)].model;
  const Mlp& mlp = networks_.arms[static_cast<std::size_t>(model)];
  const float* rows[MAX_WIDTH];
  for (int c = 0; c < mlp.layers[0].inputs; ++c) rows[c] = lanes_.data() + c * kMaxLanes;
  const int whole = static_cast<int>(round_up(lanes, kTile));
  networks_.kernels.forward(mlp, rows, memory_.data(), whole);
  const float* mean = memory_.data() + std::ptrdiff_t{mlp.activations - 2} * whole;
  networks_.kernels.laplace(values_.data(), mean, mean + whole, bits_.data(), lanes);
  return bits_.data();
}

void Refinement::rate_changes(const Place& at, const float* values, int count, float* changes) {
  // The latent itself and what follows it in its grid have the same model; a grid that has
  // this one as its other has it too.
  int lanes = 0;
  float before = grids_[static_cast<std::size_t>(at.grid)].bits.row(at.row)[at.column];
  for_dependent(at, [&](const Place& p, int) {
    before += grids_[static_cast<std::size_t>(p.grid)].bits.row(p.row)[p.column];
  });
  for (int i = 0; i < count; ++i) {
    add_lane(at, lanes);
    values_[static_cast<std::size_t>(lanes++)] = values[i];
    for_dependent(at, [&](const Place& p, int input) { add_lane(p, lanes++, input, values[i]); });
  }
  const float* bits = run_lanes(at.grid, lanes);
  const int each = lanes / count;
  for (int i = 0; i < count; ++i, bits += each) {
    changes[i] = -before;
    for (int j = 0; j < each; ++j) changes[i] += bits[j];
  }
}

void Refinement::refresh_bits(const Place& at) {
  int lanes = 0;
  add_lane(at, lanes++);
  for_dependent(at, [&](const Place& p, int) { add_lane(p, lanes++); });
  const float* bits = run_lanes(at.grid, lanes);
  grids_[static_cast<std::size_t>(at.grid)].bits.row(at.row)[at.column] = *bits++;
  for_dependent(at, [&](const Place& p, int) {
    grids_[static_cast<std::size_t>(p.grid)].bits.row(p.row)[p.column] = *bits++;
  });
}

void Refinement::set(const Place& at, float value) {
  *grids_[static_cast<std::size_t>(at.grid)].at(at.row, at.column) = value;
  refresh_bits(at);
}

// ---------------------------------------------------------------- descent

bool Refinement::promising(float value, float bits, int step, double error_change) const {
  if (std::abs(value + static_cast<float>(step)) > kLargestRefined) return false;
  const bool nearer = value * static_cast<float>(step) < 0;
  const float hope = nearer ? bits + kNeighbours : value == 0 ? -kLeastNew : -kLeastMore;
  return error_change < double{bit_cost_ * hope};
}

template <class Error>
int Refinement::cheapest(const Error* errors, const float* rates, int count) const {
  int best = -1;
  Error least = 0;
  for (int i = 0; i < count; ++i) {
    const Error cost = errors[i] + Error{bit_cost_ * rates[i]};
    if (cost >= least) continue;
    least = cost;
    best = i;
  }
  return best;
}

// The finest grid's latents have a sample each: what they do to it is worked out for all.
int Refinement::sweep_finest() {
  Grid& grid = grids_[0];
  int changed = 0;
  std::vector<float> moved[2];
  for (auto& m : moved) m.resize(static_cast<std::size_t>(luma_.inputs[0].stride));
  std::vector<float> gains[2] = {moved[0], moved[1]};
  for (int y = 0; y < grid.bits.height; ++y) {
    const float* error = luma_.errors[0].row(y);
    const float* wanted = luma_.wanted[0].row(y);
    const float* worth = luma_.weights.row(y);
    for (int i = 0; i < 2; ++i) {
      const float* from = luma_.inputs[0].row(y);
      const float step = i ? 1.0f : -1.0f;
      for (std::size_t x = 0; x < moved[i].size(); ++x) moved[i][x] = from[x] + step;
      for (int x = 0; x < grid.bits.width; x += kTile) {
        const float* in[MAX_WIDTH] = {moved[i].data() + x};
        for (std::size_t k = 1; k < luma_.inputs.size(); ++k) in[k] = luma_.inputs[k].row(y) + x;
        const float* out = run(luma_, in, kTile);
        for (int j = 0; j < std::min(kTile, grid.bits.width - x); ++j) {
          const float e = kSampleScale * out[j] - wanted[x + j];
          gains[i][static_cast<std::size_t>(x + j)] =
              (e * e - error[x + j] * error[x + j]) * worth[x + j];
        }
      }
    }
    for (int x = 0; x < grid.bits.width; ++x) {
      const Place at{0, y, x};
      const float value = *grid.at(y, x), bits = grid.bits.row(y)[x];
      float values[2], errors[2], rates[2];
      int count = 0;
      for (int i = 0; i < 2; ++i) {
        const float by = gains[i][static_cast<std::size_t>(x)];
        if (!promising(value, bits, i ? 1 : -1, double{by})) continue;
        values[count] = value + (i ? 1.0f : -1.0f);
        errors[count++] = by;
      }
      if (count == 0) continue;
      rate_changes(at, values, count, rates);
      const int best = cheapest(errors, rates, count);
      if (best < 0) continue;
      Footprint own{y, x, 1, 1, {1.0f}};
      trial({&luma_, 0}, own, values[best] - value, true);
      set(at, values[best]);
      ++changed;
    }
  }
  return changed;
}

int Refinement::sweep_grid(int g) {
  const Grid& grid = grids_[static_cast<std::size_t>(g)];
  const std::vector<Way> all = ways(g);
  for (const Way& way : all) refresh_slopes(*way.synthesis, way.input);
  int changed = 0;
  for (int y = 0; y < grid.bits.height; ++y)
    for (int x = 0; x < grid.bits.width; ++x) {
      const Place at{g, y, x};
      const float value = *grid.at(y, x), bits = grid.bits.row(y)[x];
      Footprint own[2];
      const Footprint* footprints[2] = {};
      double linear = 0, quadratic = 0;
      for (std::size_t i = 0; i < all.size(); ++i) {
        footprints[i] = &footprint(at, all[i].synthesis->level, own[i]);
        forecast(all[i], *footprints[i], linear, quadratic);
      }
      // Steps to either side, and the one that the forecast likes best.
      const double wish = quadratic > 0 ? -linear / (2 * quadratic) : 0;
      const int far = static_cast<int>(std::lround(std::clamp(wish, -64.0, 64.0)));
      int steps[3] = {-1, 1, far};
      float values[3], rates[3];
      double errors[3];
      int count = 0;
      for (int i = 0; i < 3; ++i) {
        if (i == 2 && std::abs(far) < 2) continue;
        const double by = linear * steps[i] + quadratic * steps[i] * steps[i];
        if (!promising(value, bits, steps[i], by)) continue;
        values[count] = value + static_cast<float>(steps[i]);
        errors[count++] = by;
      }
      if (count == 0) continue;
      rate_changes(at, values, count, rates);
      const int best = cheapest(errors, rates, count);
      if (best < 0) continue;
      const float step = values[best] - value;
      double change = double{bit_cost_ * rates[best]};
      for (std::size_t i = 0; i < all.size(); ++i)
        change += trial(all[i], *footprints[i], step, false);
      if (change >= 0) continue;
      for (std::size_t i = 0; i < all.size(); ++i) trial(all[i], *footprints[i], step, true);
      set(at, values[best]);
      ++changed;
    }
  return changed;
}

int Refinement::sweep(bool coarse) {
  int changed = 0;
  const Shape& shape = networks_.shape;
  const auto turn = [&](int first, int end) {
    for (int g = end - 1; g >= first; --g)
      if (coarse || shape.layout[static_cast<std::size_t>(g)].level < kCoarseLevel)
        changed += sweep_grid(g);
  };
  turn(1, shape.grids);
  turn(shape.grids, shape.grids + shape.chroma_grids);
  return changed + sweep_finest();
}

}  // namespace vireo::train
