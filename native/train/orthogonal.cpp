#include "train/orthogonal.hpp"

#include <algorithm>

namespace vireo::train {

void make_orthogonal(const OrthogonalKernel& kernel, const std::vector<MatrixShape>& shapes,
                     const float* vector, float* out, Pool& pool) {
  pool.run(static_cast<int>(shapes.size()), [&](int task, int) {
    const MatrixShape& shape = shapes[static_cast<std::size_t>(task)];
    const int shorter = std::min(shape.rows, shape.columns);
    const int longer = std::max(shape.rows, shape.columns);
    const std::size_t count = static_cast<std::size_t>(shorter) * static_cast<std::size_t>(longer);
    std::vector<float> memory(count + kernel.scratch(shorter, longer));
    const float* own = vector + shape.start;
    float* to = out + shape.start;
    if (shape.rows <= shape.columns) {
      kernel.run(shorter, longer, own, to, memory.data() + count);
      return;
    }
    for (int r = 0; r < shape.rows; ++r)
      for (int c = 0; c < shape.columns; ++c) to[c * shape.rows + r] = own[r * shape.columns + c];
    kernel.run(shorter, longer, to, memory.data(), memory.data() + count);
    for (int r = 0; r < shape.rows; ++r)
      for (int c = 0; c < shape.columns; ++c)
        to[r * shape.columns + c] = memory[static_cast<std::size_t>(c * shape.rows + r)];
  });
}

}  // namespace vireo::train
