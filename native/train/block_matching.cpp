#include "train/block_matching.hpp"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "train/motion_kernels.hpp"
#include "train/padded.hpp"

namespace vireo::train {
namespace {

constexpr int kCoarsestWidth = 128;
constexpr int kLeastSide = 24;
constexpr int kReach = 5;         // a picture's width is so many times that of the widest search
constexpr int kStepPenalty = 6;   // difference that a sample more of displacement must save
constexpr int kWindow = 2 * kSquare;  // side of what is compared, around a square
constexpr int kMargin = (kWindow - kSquare) / 2;
constexpr int kReachAlone = 16;     // samples around the window's match, and around the picture's
constexpr int kStepPenaltyAlone = 2;
constexpr int kOutOfReach = std::numeric_limits<int>::max() / 2;
// What a window that can't follow a displacement says of it.
constexpr int kUnknown = 64 * kWindow * kWindow;

Plane<std::uint8_t> halved(const PlaneView& in) {
  Plane<std::uint8_t> out(in.height / 2, in.width / 2);
  for (int y = 0; y < out.height; ++y) {
    const std::uint8_t* a = in.samples + static_cast<std::ptrdiff_t>(2 * y) * in.width;
    const std::uint8_t* b = a + in.width;
    std::uint8_t* row = out.row(y);
    for (int x = 0; x < out.width; ++x)
      row[x] = static_cast<std::uint8_t>((a[2 * x] + a[2 * x + 1] + b[2 * x] + b[2 * x + 1] + 2) >> 2);
  }
  return out;
}

std::vector<Padded> pyramid(const PlaneView& picture) {
  std::vector<Padded> levels{Padded(picture)};
  Plane<std::uint8_t> smaller;
  PlaneView view = picture;
  while (view.width > kCoarsestWidth && std::min(view.height, view.width) >= 2 * kLeastSide) {
    smaller = halved(view);
    view = {smaller.samples.data(), smaller.height, smaller.width};
    levels.emplace_back(view);
  }
  return levels;
}

// One level of two pyramids.
class Matcher {
 public:
  Matcher(const Padded& target, const Padded& reference, Matches::Level& level)
      : target_(target), reference_(reference), level_(level) {
    level.rows = (target.height + kSquare - 1) / kSquare;
    level.columns = (target.width + kSquare - 1) / kSquare;
    level.of_squares.resize(static_cast<std::size_t>(level.rows * level.columns));
  }

  // Everything within reach; returns what suits all squares together.
  Displacement search() {
    const int reach = std::max(target_.width / kReach, 2);
    std::vector<int> least(level_.of_squares.size(), std::numeric_limits<int>::max());
    return best_for_all({0, 0}, reach, [&](std::size_t square, int difference, Displacement d) {
      const int cost = difference + kStepPenalty * (std::abs(d.x) + std::abs(d.y));
      if (cost >= least[square]) return;
      least[square] = cost;
      level_.of_squares[square] = d;
    });
  }

  // Near what the coarser level found; `global` is that level's.
  Displacement refine(const Matches::Level& coarser, Displacement global) {
    global = best_for_all(twice(global), 1, [](std::size_t, int, Displacement) {});
    for (int row = 0; row < level_.rows; ++row)
      for (int column = 0; column < level_.columns; ++column)
        refine_square(coarser, global, row, column);
    return global;
  }

  // Of each square by itself, near its match and near what suits the picture: what is small moves
  // otherwise than what it lies in.
  void refine_alone(Matches::Level& alone, Displacement global) const {
    alone = level_;
    for (int row = 0; row < alone.rows; ++row)
      for (int column = 0; column < alone.columns; ++column) {
        const int y = row * kSquare, x = column * kSquare;
        const Displacement expected = level_.at(row, column);
        Displacement& best = alone.of_squares[static_cast<std::size_t>(row * alone.columns + column)];
        int least = std::numeric_limits<int>::max();
        const auto look_around = [&](Displacement middle) {
          for (int dy = middle.y - kReachAlone; dy <= middle.y + kReachAlone; ++dy)
            for (int dx = middle.x - kReachAlone; dx <= middle.x + kReachAlone; ++dx) {
              if (!inside(y + dy, x + dx, kSquare)) continue;
              const int penalty =
                  kStepPenaltyAlone * (std::abs(dx - expected.x) + std::abs(dy - expected.y));
              const int cost =
                  penalty + motion_kernels().difference(target_.at(y, x), target_.stride(),
                                                        reference_.at(y + dy, x + dx),
                                                        reference_.stride());
              if (cost >= least) continue;
              least = cost;
              best = {dx, dy};
            }
        };
        look_around(expected);
        if (!(global == expected)) look_around(global);
      }
  }

 private:
  static Displacement twice(Displacement d) { return {2 * d.x, 2 * d.y}; }

  bool inside(int y, int x, int side) const {
    return y >= -target_.border && y + side <= target_.height + target_.border &&
           x >= -target_.border && x + side <= target_.width + target_.border;
  }

  // Of the window around a square.
  int difference(int row, int column, Displacement d) const {
    const int y = row * kSquare - kMargin, x = column * kSquare - kMargin;
    if (!inside(y + d.y, x + d.x, kWindow)) return kOutOfReach;
    int sum = 0;
    for (int i = 0; i < kWindow; i += kSquare)
      for (int j = 0; j < kWindow; j += kSquare)
        sum += motion_kernels().difference(target_.at(y + i, x + j), target_.stride(),
                                           reference_.at(y + i + d.y, x + j + d.x),
                                           reference_.stride());
    return sum;
  }

  template <class Visit>
  Displacement best_for_all(Displacement middle, int reach, Visit&& visit) const {
    Displacement best = middle;
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (int y = middle.y - reach; y <= middle.y + reach; ++y)
      for (int x = middle.x - reach; x <= middle.x + reach; ++x) {
        std::int64_t total = 0;
        std::size_t square = 0;
        for (int row = 0; row < level_.rows; ++row)
          for (int column = 0; column < level_.columns; ++column, ++square) {
            const int d = difference(row, column, {x, y});
            total += std::min(d, kUnknown);
            visit(square, d, Displacement{x, y});
          }
        if (total >= least) continue;
        least = total;
        best = {x, y};
      }
    return best;
  }

  void refine_square(const Matches::Level& coarser, Displacement global, int row, int column) {
    const auto above = [&](int dy, int dx) {
      return twice(coarser.at(std::clamp(row / 2 + dy, 0, coarser.rows - 1),
                              std::clamp(column / 2 + dx, 0, coarser.columns - 1)));
    };
    const Displacement expected = above(0, 0);
    Displacement best = expected;
    int least = std::numeric_limits<int>::max();
    const auto consider = [&](Displacement d) {
      const int penalty = kStepPenalty * (std::abs(d.x - expected.x) + std::abs(d.y - expected.y));
      const int cost = difference(row, column, d) + penalty;
      if (cost >= least) return false;
      least = cost;
      best = d;
      return true;
    };
    for (const Displacement d :
         {expected, above(-1, 0), above(1, 0), above(0, -1), above(0, 1), global, Displacement{}})
      consider(d);
    if (column > 0) consider(level_.at(row, column - 1));
    if (row > 0) consider(level_.at(row - 1, column));
    for (int round = 0; round < 3; ++round) {
      const Displacement middle = best;
      bool better = false;
      for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx)
          if (dy || dx) better |= consider({middle.x + dx, middle.y + dy});
      if (!better) break;
    }
    level_.of_squares[static_cast<std::size_t>(row * level_.columns + column)] = best;
  }

  const Padded &target_, &reference_;
  Matches::Level& level_;
};

}  // namespace

Matches match_blocks(const PlaneView& target, const PlaneView& reference) {
  const std::vector<Padded> targets = pyramid(target), references = pyramid(reference);
  Matches matches;
  matches.levels.resize(targets.size());
  for (std::size_t l = targets.size(); l-- > 0;) {
    Matcher matcher(targets[l], references[l], matches.levels[l]);
    matches.global = l + 1 == targets.size() ? matcher.search()
                                             : matcher.refine(matches.levels[l + 1], matches.global);
    if (l == 0) matcher.refine_alone(matches.alone, matches.global);
  }
  for (std::size_t l = 0; l < matches.levels.size(); ++l)
    for (Displacement& d : matches.levels[l].of_squares) d = {d.x * (1 << l), d.y * (1 << l)};
  return matches;
}

}  // namespace vireo::train
