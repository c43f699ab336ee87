// Arrays between C++ and NumPy.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <stdexcept>

template <int N>
using Floats = nanobind::ndarray<const float, nanobind::ndim<N>, nanobind::c_contig,
                                 nanobind::device::cpu>;

struct Array {
  float* data;
  nanobind::object object;
};

// Of zeros.
inline Array make(std::initializer_list<std::size_t> shape) {
  std::size_t size = 1;
  for (std::size_t n : shape) size *= n;
  float* data = new float[std::max<std::size_t>(size, 1)]();
  nanobind::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
  nanobind::ndarray<nanobind::numpy, float> array(data, shape.size(), std::data(shape), owner);
  return {data, nanobind::cast(array)};
}

inline std::size_t at(int n) { return static_cast<std::size_t>(n); }

inline void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}
