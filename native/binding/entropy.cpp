// Symbols under tables, for vireo.entropy.
#include "binding/entropy.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <stdexcept>
#include <numeric>
#include <utility>
#include <vector>

#include "core/symbols.hpp"
#include "core/weight_updates.hpp"

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

nb::object to_numpy(std::vector<std::int16_t>&& values) {
  auto* owned = new std::vector<std::int16_t>(std::move(values));
  nb::capsule owner(owned,
                    [](void* p) noexcept { delete static_cast<std::vector<std::int16_t>*>(p); });
  const std::size_t shape[1] = {owned->size()};
  return nb::cast(nb::ndarray<nb::numpy, std::int16_t>(owned->data(), 1, shape, owner));
}

nb::bytes to_bytes(const std::vector<std::uint8_t>& data) {
  return nb::bytes(reinterpret_cast<const char*>(data.data()), data.size());
}

const std::uint8_t* bytes_of(const nb::bytes& data) {
  return reinterpret_cast<const std::uint8_t*>(data.c_str());
}

nb::bytes write_updates(const SymbolTables& table, const Vector<std::int16_t>& values,
                        const std::vector<std::size_t>& sizes) {
  if (std::accumulate(sizes.begin(), sizes.end(), std::size_t{0}) != values.shape(0))
    throw std::invalid_argument("the tensors have other sizes than the values");
  std::vector<std::uint8_t> data;
  {
    nb::gil_scoped_release release;
    data = vireo::encode_updates(table.front(), values.data(), sizes);
  }
  return to_bytes(data);
}

nb::object read_updates(const SymbolTables& table, const nb::bytes& data,
                        const std::vector<std::size_t>& sizes) {
  std::vector<std::int16_t> values(std::accumulate(sizes.begin(), sizes.end(), std::size_t{0}));
  {
    nb::gil_scoped_release release;
    vireo::decode_updates(table.front(), bytes_of(data), data.size(), values.data(), sizes);
  }
  return to_numpy(std::move(values));
}

}  // namespace

void bind_entropy(nb::module_& m) {
  m.def("encode_updates", &write_updates, "table"_a, "values"_a, "sizes"_a,
        "Changes of weights, tensor after tensor; `table` is for those that are not 0.");
  m.def("decode_updates", &read_updates, "table"_a, "data"_a, "sizes"_a);

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
            return to_bytes(data);
          },
          "values"_a, "indices"_a)
      .def(
          "decode",
          [](const SymbolTables& self, const nb::bytes& data,
             const Vector<std::uint8_t>& indices) {
            check(self, indices);
            std::vector<std::int16_t> values(indices.shape(0));
            {
              nb::gil_scoped_release release;
              self.decode(bytes_of(data), data.size(), indices.data(), values.data(),
                          values.size());
            }
            return to_numpy(std::move(values));
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
