// What the bindings of Cool-chic's core share: arrays between C++ and NumPy, and checks of them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/coolchic.hpp"
#include "core/temporal_context.hpp"

namespace nb = nanobind;
using namespace nb::literals;

using vireo::Architecture;
using vireo::Latents;
using vireo::Networks;
using vireo::Parts;
using vireo::Picture;
using vireo::Plane;
using vireo::QuantisedMlp;

using Bytes = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Matrix = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Row = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Integers = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Samples = Matrix<std::uint8_t>;
using References = std::vector<std::vector<Samples>>;

template <class T>
nb::object to_numpy(Plane<T>&& plane) {
  auto* owned = new Plane<T>(std::move(plane));
  nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<Plane<T>*>(p); });
  const std::size_t shape[2] = {static_cast<std::size_t>(owned->height),
                                static_cast<std::size_t>(owned->width)};
  return nb::cast(nb::ndarray<nb::numpy, T>(owned->samples.data(), 2, shape, owner));
}

template <class T>
Plane<T> to_plane(const Matrix<T>& array) {
  Plane<T> plane(static_cast<int>(array.shape(0)), static_cast<int>(array.shape(1)));
  std::copy_n(array.data(), plane.samples.size(), plane.samples.begin());
  return plane;
}

inline nb::bytes to_bytes(const std::vector<std::uint8_t>& data) {
  return nb::bytes(reinterpret_cast<const char*>(data.data()), data.size());
}

inline vireo::PlaneView to_view(const Samples& plane) {
  return {plane.data(), static_cast<int>(plane.shape(0)), static_cast<int>(plane.shape(1))};
}

nb::list to_list(Latents&& latents);

// These raise ValueError for what a stream can't say, or for shapes that don't fit each other.

// What 16-bit multiply-adds rest on, too.
void check_weights(const std::int32_t* weights, std::size_t count);
void check_parts(const Networks& networks, bool expected);
// Networks of another architecture would be read out of bounds.
void check_fits(const Architecture& architecture, const Networks& networks);
void check_inherited(const Networks& networks, const vireo::InheritedMotion& inherited);
// The parameters of networks with parts that an array holds.
std::vector<std::int32_t> to_parameters(const Networks& networks, const Integers& values);
// A base to code networks against.
std::vector<std::int32_t> to_base(const Networks& networks, int number, const Integers& values);
Latents to_latents(const Architecture& architecture,
                   const std::vector<Matrix<std::int16_t>>& grids, int references);
Latents to_latents(const Architecture& architecture, const Networks& networks,
                   const std::vector<Matrix<std::int16_t>>& grids);
std::vector<vireo::PictureView> to_pictures(const References& references, int height, int width);
// What a frame's vectors begin with: x and y per reference, or none.
vireo::InheritedMotion to_inherited(const std::vector<Matrix<std::int32_t>>& planes,
                                    std::size_t references, int height, int width);
// Of a frame's luma grids, or none.
vireo::TemporalContexts to_temporal(const Architecture& architecture, int references,
                                    const Latents& latents,
                                    const std::vector<Matrix<std::int16_t>>& planes);

nb::tuple reconstruct(const Architecture& architecture, const Networks& networks,
                      const Latents& latents, const References& references, bool with_signals,
                      const vireo::InheritedMotion& inherited, vireo::StageTimes* times = nullptr);

void bind_networks(nb::module_& m);
void bind_latents(nb::module_& m);
void bind_pictures(nb::module_& m);
