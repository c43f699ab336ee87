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
    const std::size_t scratch = kernel.scratch(shorter, longer);  // aligned for what is in it
    std::vector<float> memory(scratch + count);
    const float* own = vector + shape.start;
    float* to = out + shape.start;
    if (shape.rows <= shape.columns) {
      kernel.run(shorter, longer, own, to, memory.data());
      return;
    }
    for (int r = 0; r < shape.rows; ++r)
      for (int c = 0; c < shape.columns; ++c) to[c * shape.rows + r] = own[r * shape.columns + c];
    float* turned = memory.data() + scratch;
    kernel.run(shorter, longer, to, turned, memory.data());
    for (int r = 0; r < shape.rows; ++r)
      for (int c = 0; c < shape.columns; ++c)
        to[r * shape.columns + c] = turned[c * shape.rows + r];
  });
}

}  // namespace vireo::train
