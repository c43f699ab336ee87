// Symbols under tables, for vireo.entropy.
#include "binding/entropy.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/symbols.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using vireo::SymbolTables;

template <class T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void check(const SymbolTables& tables, const Vector<std::uint8_t>& indices) {
  for (std::size_t i = 0; i < indices.shape(0); ++i)
    if (indices(i) >= tables.size()) throw std::invalid_argument("there is no such table");
}

void check(const SymbolTables& tables, const Vector<std::int16_t>& values,
           const Vector<std::uint8_t>& indices) {
  if (values.shape(0) != indices.shape(0))
    throw std::invalid_argument("as many indices as values are needed");
  check(tables, indices);
}

}  // namespace

void bind_entropy(nb::module_& m) {
  nb::class_<SymbolTables>(m, "SymbolTables", "Distributions of integers, in frequencies.")
      .def("__init__",
           [](SymbolTables* self,
              const std::vector<std::pair<std::int32_t, std::vector<std::uint32_t>>>& tables) {
             if (tables.empty() || tables.size() > 256)
               throw std::invalid_argument("there are 1 to 256 tables");
             for (const auto& [low, bounds] : tables)
               if (!vireo::SymbolTable::valid(low, bounds))
                 throw std::invalid_argument("a table's bounds rise from 0 to below 65536");
             std::vector<vireo::SymbolTable> all;
             for (const auto& [low, bounds] : tables) all.emplace_back(low, bounds);
             new (self) SymbolTables(std::move(all));
           },
           "tables"_a,
           "Each is its lowest symbol and where the symbols' shares of 65536 begin, then that "
           "of the escape.")
      .def("__len__", [](const SymbolTables& self) { return self.size(); })
      .def(
          "encode",
          [](const SymbolTables& self, const Vector<std::int16_t>& values,
             const Vector<std::uint8_t>& indices) {
            check(self, values, indices);
            std::vector<std::uint8_t> data;
            {
              nb::gil_scoped_release release;
              data = self.encode(values.data(), indices.data(), values.shape(0));
            }
            return nb::bytes(reinterpret_cast<const char*>(data.data()), data.size());
          },
          "values"_a, "indices"_a)
      .def(
          "decode",
          [](const SymbolTables& self, const nb::bytes& data,
             const Vector<std::uint8_t>& indices) {
            check(self, indices);
            auto* values = new std::vector<std::int16_t>(indices.shape(0));
            nb::capsule owner(values, [](void* p) noexcept {
              delete static_cast<std::vector<std::int16_t>*>(p);
            });
            {
              nb::gil_scoped_release release;
              self.decode(reinterpret_cast<const std::uint8_t*>(data.c_str()), data.size(), indices.data(),
                          values->data(), values->size());
            }
            const std::size_t shape[1] = {values->size()};
            return nb::ndarray<nb::numpy, std::int16_t>(values->data(), 1, shape, owner).cast();
          },
          "data"_a, "indices"_a)
      .def(
          "bits",
          [](const SymbolTables& self, const Vector<std::int16_t>& values,
             const Vector<std::uint8_t>& indices) {
            check(self, values, indices);
            return self.bits(values.data(), indices.data(), values.shape(0));
          },
          "values"_a, "indices"_a, "What encode spends.");
}
