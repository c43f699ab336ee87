// Motion in a packet (docs/bitstream.md, "Motion"), in decisions (core/decisions.hpp).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/coolchic.hpp"
#include "core/decisions.hpp"

namespace vireo {

using MotionBits = Decisions<kMotionContexts>;
using MotionCounter = DecisionCounter<kMotionContexts>;

// The row of a table of motion's probabilities.
constexpr int motion_row(int references, bool begins) { return references - 1 + 2 * begins; }

inline MotionBits initial_motion_bits(const Parts& parts, int references, bool begins) {
  return initial_decisions<kMotionContexts>(parts.motion_probabilities.data(),
                                            motion_row(references, begins));
}

// Latents of a vector's two fields, in quarter samples.
struct MotionVector {
  int x = 0, y = 0;

  bool any() const { return x != 0 || y != 0; }
  MotionVector operator-() const { return {-x, -y}; }
  bool operator==(const MotionVector& o) const { return x == o.x && y == o.y; }
};

// What is known before a vector is coded. Depth 0 is the coarsest grid.
struct VectorContext {
  int depth = 0, reference = 0;
  // Left, above, above to the right: the first `known` of those inside the grid.
  std::array<MotionVector, 3> neighbours{};
  int known = 0;
  int active = 0;  // of those on the left and above, how many are not 0
  bool parent = false;  // whether that of the cell around it, one grid coarser, is not 0
  MotionVector first{};  // that to the first reference, where this is to the second one
};

// What is known before a latent of alpha (field 0) or beta (1) is coded.
struct BlendingContext {
  int depth = 0, field = 0;
  int left = 0, above = 0, parent = 0;  // 0 outside
};

template <class Coder>
class MotionSyntax {
 public:
  explicit MotionSyntax(Coder& coder) : coder_(coder) {}

  // Whether anything is not 0.
  bool any(bool value) { return coder_.bit(kAny, value); }

  MotionVector code(const VectorContext& c, MotionVector value) {
    const int depth = std::min(c.depth, kDepths - 1);
    const int other = c.reference == 0 ? 0 : c.first.any() ? 2 : 1;
    if (!coder_.bit(kActive + ((depth * 3 + c.active) * 2 + c.parent) * 3 + other, value.any()))
      return {};
    // The same as a neighbour, or as the other one mirrored.
    std::array<MotionVector, 4> candidates;
    int count = 0;
    const auto propose = [&](MotionVector v) {
      const auto end = candidates.begin() + count;
      if (v.any() && std::find(candidates.begin(), end, v) == end)
        candidates[static_cast<std::size_t>(count++)] = v;
    };
    for (int i = 0; i < c.known; ++i) propose(c.neighbours[static_cast<std::size_t>(i)]);
    if (c.reference == 1) propose(-c.first);
    for (int i = 0; i < count; ++i) {
      const MotionVector v = candidates[static_cast<std::size_t>(i)];
      if (coder_.bit(kSame + (depth * 4 + i) * 2 + c.reference, v == value)) return v;
    }
    const MotionVector expected = c.first.any() ? -c.first : median(c);
    const int x = difference(depth, 0, value.x - expected.x);
    const int y = difference(depth, x ? 2 : 1, value.y - expected.y);
    return {limited(expected.x + x), limited(expected.y + y)};
  }

  int code(const BlendingContext& c, int value) {
    const int depth = std::min(c.depth, kDepths - 1);
    const int active = (c.left != 0) + (c.above != 0), parent = sign(c.parent) + 1;
    if (!coder_.bit(kBlended + ((c.field * kDepths + depth) * 3 + active) * 3 + parent,
                    value != 0))
      return 0;
    const int around = sign(sign(c.left) + sign(c.above)) + 1;
    const bool positive = coder_.bit(kBlendedUp + (c.field * 3 + around) * 3 + parent, value > 0);
    const int fine = c.field * 2 + (depth >= 2);
    const int size = magnitude(kBlendedPrefix + fine * kPrefix, kBlendedNext + fine * kNext,
                               (value < 0 ? -value : value) - 1) + 1;
    return limited(positive ? size : -size);
  }

 private:
  static constexpr int kDepths = 4;   // those beyond share the last one's contexts
  static constexpr int kPrefix = 8, kNext = 3;
  static constexpr int kLongest = 13;  // prefix of a magnitude
  // Where each kind of decision has its contexts.
  static constexpr int kActive = 0;                            // [depth][active][parent][other]
  static constexpr int kSame = kActive + kDepths * 3 * 2 * 3;  // [depth][candidate][reference]
  static constexpr int kDiffers = kSame + kDepths * 4 * 2;     // [depth][axis]
  static constexpr int kDifferencePrefix = kDiffers + kDepths * 3;                // [depth][place]
  static constexpr int kDifferenceNext = kDifferencePrefix + kDepths * kPrefix;   // [depth][length]
  static constexpr int kBlended = kDifferenceNext + kDepths * kNext;  // [field][depth][active][parent]
  static constexpr int kBlendedUp = kBlended + 2 * kDepths * 3 * 3;   // [field][around][parent]
  static constexpr int kBlendedPrefix = kBlendedUp + 2 * 3 * 3;       // [field][fine][place]
  static constexpr int kBlendedNext = kBlendedPrefix + 2 * 2 * kPrefix;  // [field][fine][length]
  static constexpr int kAny = kBlendedNext + 2 * 2 * kNext;
  static_assert(kAny + 1 == kMotionContexts);

  static int sign(int v) { return (v > 0) - (v < 0); }
  static int limited(int v) { return std::clamp(v, -kMaxMotion, kMaxMotion); }

  static MotionVector median(const VectorContext& c) {
    const auto along = [&](int MotionVector::* axis) {
      const auto at = [&](int i) { return c.neighbours[static_cast<std::size_t>(i)].*axis; };
      if (c.known == 0) return 0;
      if (c.known == 1) return at(0);
      if (c.known == 2) return (at(0) + at(1) + 1) >> 1;
      return std::max(std::min(at(0), at(1)), std::min(std::max(at(0), at(1)), at(2)));
    };
    return {along(&MotionVector::x), along(&MotionVector::y)};
  }

  int difference(int depth, int axis, int value) {
    if (!coder_.bit(kDiffers + depth * 3 + axis, value != 0)) return 0;
    const bool negative = coder_.raw(value < 0);
    const int size = magnitude(kDifferencePrefix + depth * kPrefix, kDifferenceNext + depth * kNext,
                               (value < 0 ? -value : value) - 1) + 1;
    return negative ? -size : size;
  }

  // A number from 0 on by an exponential Golomb code.
  int magnitude(int prefix, int next, int value) {
    const unsigned all = static_cast<unsigned>(value) + 1;
    int length = 0;
    while (all >> (length + 1)) ++length;
    int n = 0;
    while (n < kLongest && coder_.bit(prefix + std::min(n, kPrefix - 1), n < length)) ++n;
    unsigned result = 1;
    for (int i = n - 1; i >= 0; --i) {
      const bool wanted = all >> i & 1;
      const bool adaptive = i == n - 1 && n <= kNext;
      result = 2 * result + (adaptive ? coder_.bit(next + n - 1, wanted) : coder_.raw(wanted));
    }
    return static_cast<int>(result) - 1;
  }

  Coder& coder_;
};

// The fields' grids in a frame's list of latents.
class MotionGrids {
 public:
  MotionGrids(const Architecture& architecture, int references)
      : first_(architecture.latent_grids(0).size()),
        grids_(architecture.parts->motion_grids),
        references_(references) {}

  int grids() const { return grids_; }
  int references() const { return references_; }
  std::size_t index(int field, int depth) const {
    return first_ + static_cast<std::size_t>(field * grids_ + grids_ - 1 - depth);
  }

 private:
  std::size_t first_;
  int grids_, references_;
};

// What is known of the vector at a place: `latent(field, depth, row, column)` gives latents.
template <class Latent>
VectorContext vector_context(int reference, int depth, int row, int column, int width,
                             Latent&& latent) {
  const auto at = [&](int r, int d, int y, int x) {
    return MotionVector{latent(2 * r, d, y, x), latent(2 * r + 1, d, y, x)};
  };
  VectorContext c;
  c.depth = depth;
  c.reference = reference;
  const auto see = [&](int y, int x, bool counts) {
    const MotionVector v = at(reference, depth, y, x);
    c.neighbours[static_cast<std::size_t>(c.known++)] = v;
    c.active += counts && v.any();
  };
  if (column > 0) see(row, column - 1, true);
  if (row > 0) see(row - 1, column, true);
  if (row > 0 && column + 1 < width) see(row - 1, column + 1, false);
  c.parent = depth > 0 && at(reference, depth - 1, row / 2, column / 2).any();
  if (reference == 1) c.first = at(0, depth, row, column);
  return c;
}

template <class Latent>
BlendingContext blending_context(int field, int index, int depth, int row, int column,
                                 Latent&& latent) {
  return {depth, index, column > 0 ? latent(field, depth, row, column - 1) : 0,
          row > 0 ? latent(field, depth, row - 1, column) : 0,
          depth > 0 ? latent(field, depth - 1, row / 2, column / 2) : 0};
}

// Goes through the motion of a frame, whose latents are read, and unless they are const set to
// what was coded. `begin(grid)` is called before what belongs to a grid (a vector belongs to that
// of x).
template <class FrameLatents, class Coder, class Begin>
void code_motion(const MotionGrids& grids, FrameLatents& latents, Coder& coder, Begin&& begin) {
  MotionSyntax<Coder> syntax(coder);
  const int references = grids.references(), vectors = 2 * references;
  const auto latent = [&](int field, int depth, int row, int column) -> int {
    return latents[grids.index(field, depth)].row(row)[column];
  };
  begin(grids.index(0, 0));
  const auto moves = [](const Plane<std::int16_t>& grid) {
    return std::any_of(grid.samples.begin(), grid.samples.end(), [](int q) { return q != 0; });
  };
  const auto first = latents.begin() + static_cast<std::ptrdiff_t>(grids.index(0, grids.grids() - 1));
  if (!syntax.any(std::any_of(first, latents.end(), moves))) return;
  for (int depth = 0; depth < grids.grids(); ++depth) {
    const int height = latents[grids.index(0, depth)].height;
    const int width = latents[grids.index(0, depth)].width;
    const auto set = [&](int field, int row, int column, int value) {
      if constexpr (std::is_const_v<FrameLatents>)
        (void)value;
      else
        latents[grids.index(field, depth)].row(row)[column] = static_cast<std::int16_t>(value);
    };
    for (int row = 0; row < height; ++row)
      for (int column = 0; column < width; ++column) {
        for (int r = 0; r < references; ++r) {
          begin(grids.index(2 * r, depth));
          const MotionVector v = syntax.code(
              vector_context(r, depth, row, column, width, latent),
              {latent(2 * r, depth, row, column), latent(2 * r + 1, depth, row, column)});
          set(2 * r, row, column, v.x);
          set(2 * r + 1, row, column, v.y);
        }
        for (int i = 0; i < references; ++i) {
          begin(grids.index(vectors + i, depth));
          set(vectors + i, row, column,
              syntax.code(blending_context(vectors + i, i, depth, row, column, latent),
                          latent(vectors + i, depth, row, column)));
        }
      }
  }
}

}  // namespace vireo
