// Classical block matching, whole samples only: where the motion search looks.
#pragma once

#include <cstdint>
#include <vector>

#include "core/coolchic.hpp"

namespace vireo::train {

struct Displacement {
  int x = 0, y = 0;
};
inline bool operator==(Displacement a, Displacement b) { return a.x == b.x && a.y == b.y; }

// Of each level of a picture's pyramid (0: the picture, each further one half as large), one
// displacement per square of kSquare samples of the level, in samples of the picture.
struct Matches {
  struct Level {
    int rows, columns;
    std::vector<Displacement> of_squares;
    const Displacement& at(int row, int column) const {
      return of_squares[static_cast<std::size_t>(row * columns + column)];
    }
  };
  std::vector<Level> levels;
  // Of the picture's squares by themselves: `levels` compares wider windows, which tell motion
  // from chance, and this finds what is smaller than they are.
  Level alone;
  Displacement global;  // the one that suits the picture best
};

Matches match_blocks(const PlaneView& target, const PlaneView& reference);

}  // namespace vireo::train
