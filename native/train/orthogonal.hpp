// Orthogonal updates of matrices: see vireo/nn/orthogonal.py.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "train/pool.hpp"

namespace vireo::train {

// Where a matrix [rows, columns] is in a vector.
struct MatrixShape {
  int start, rows, columns;
};

// Of a matrix with no more rows than columns: another with the same singular vectors, whose
// singular values are about 1.
struct OrthogonalKernel {
  const char* name;
  std::size_t (*scratch)(int rows, int columns);
  void (*run)(int rows, int columns, const float* matrix, float* out, float* scratch);
};

namespace baseline { extern const OrthogonalKernel orthogonal_kernel; }
namespace avx2 { extern const OrthogonalKernel orthogonal_kernel; }
namespace avx512 { extern const OrthogonalKernel orthogonal_kernel; }

const OrthogonalKernel& choose_orthogonal_kernel(const std::string& name);

// All of a vector's matrices; what isn't of any stays as it is in `out`.
void make_orthogonal(const OrthogonalKernel& kernel, const std::vector<MatrixShape>& shapes,
                     const float* vector, float* out, Pool& pool);

}  // namespace vireo::train
