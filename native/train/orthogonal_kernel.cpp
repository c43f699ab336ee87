#include "train/orthogonal.hpp"

#include <algorithm>
#include <cmath>

#include "train/dense.hpp"

#define VIREO_TEXT_OF(x) #x
#define VIREO_TEXT(x) VIREO_TEXT_OF(x)

namespace vireo::train::VIREO_ISA {

namespace {

constexpr int kIterations = 5;
constexpr float kFactors[] = {3.4445f, -4.7750f, 2.0315f};
constexpr float kLeastNorm = 1e-12f;

// Rows of a memory that is handed out piece by piece.
struct Memory {
  float* free;

  float* take(std::ptrdiff_t floats) {
    float* found = free;
    free += floats;
    return found;
  }
};

std::size_t scratch(int rows, int columns) {
  const std::size_t m = static_cast<std::size_t>(rows);
  const std::size_t lanes = static_cast<std::size_t>(whole_lanes(columns));
  const std::size_t side = static_cast<std::size_t>(whole_lanes(rows));
  return 6 * m + 2 * m * lanes + lanes * side + 2 * m * side + 3 * m * (m + 1);
}

// y = weight x, [rows, rows] times [rows, lanes].
void multiply(const Layer& layer, const float* weight, float* const* x, float* const* y,
              int lanes) {
  pack_layer(layer, weight);
  product<Tail::linear>(layer.forward, layer.inputs, layer.outputs, x, y, lanes);
}

// The polynomial a + b G + c G^2 of G = X X^T, times X, brings singular values nearer to 1.
void run(int rows, int columns, const float* matrix, float* out, float* memory) {
  const int lanes = whole_lanes(columns), side = whole_lanes(rows), stride = whole_vectors(rows);
  const std::ptrdiff_t m = rows;
  Memory free{memory};
  float** x = reinterpret_cast<float**>(free.take(2 * m));
  float** y = reinterpret_cast<float**>(free.take(2 * m));
  float** g = reinterpret_cast<float**>(free.take(2 * m));
  for (int r = 0; r < rows; ++r) x[r] = free.take(lanes);
  for (int r = 0; r < rows; ++r) y[r] = free.take(lanes);
  for (int r = 0; r < rows; ++r) g[r] = free.take(side);
  float* square = free.take(m * side);
  float* turned = free.take(static_cast<std::ptrdiff_t>(lanes) * side);
  float* weight = free.take(m * (m + 1));
  Layer layer{rows, rows, 0, rows * rows, free.take(m * (m + 1)), free.take(m * (m + 1))};
  std::fill_n(weight + m * m, m, 0.0f);

  double norm = 0;
  for (std::ptrdiff_t i = 0; i < m * columns; ++i)
    norm += static_cast<double>(matrix[i]) * static_cast<double>(matrix[i]);
  const float scale = 1.0f / (static_cast<float>(std::sqrt(norm)) + kLeastNorm);
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; ++c) x[r][c] = matrix[r * columns + c] * scale;
    std::fill_n(x[r] + columns, lanes - columns, 0.0f);
  }
  for (int step = 0; step < kIterations; ++step) {
    turn(x, rows, lanes, turned);
    clear(square, m * stride);
    add_products(x, rows, turned, stride, lanes, square);
    for (int r = 0; r < rows; ++r) {
      std::copy_n(square + r * stride, rows, g[r]);
      std::fill_n(g[r] + rows, side - rows, 0.0f);
      std::copy_n(g[r], rows, weight + r * m);
    }
    multiply(layer, weight, g, y, side);
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < rows; ++c)
        weight[r * m + c] = kFactors[1] * g[r][c] + kFactors[2] * y[r][c];
    for (int r = 0; r < rows; ++r) weight[r * m + r] += kFactors[0];
    multiply(layer, weight, x, y, lanes);
    std::swap(x, y);
  }
  for (int r = 0; r < rows; ++r) std::copy_n(x[r], columns, out + r * columns);
}

}  // namespace

const OrthogonalKernel orthogonal_kernel = {VIREO_TEXT(VIREO_ISA), scratch, run};

}  // namespace vireo::train::VIREO_ISA
