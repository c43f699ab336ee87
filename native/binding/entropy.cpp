// Symbols under tables, for vireo.entropy.
#include "binding/entropy.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <numeric>
#include <tuple>
#include <utility>
#include <vector>

#include "core/grid_contexts.hpp"
#include "core/indices.hpp"
#include "core/symbols.hpp"
#include "core/weight_updates.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using vireo::SymbolTables;

template <class T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr std::size_t kMostTables = 1u << 16;

template <class T>
void check(const SymbolTables& tables, const Vector<T>& indices) {
  for (std::size_t i = 0; i < indices.shape(0); ++i)
    if (indices(i) >= tables.size()) throw std::invalid_argument("there is no such table");
}

template <class T>
void check(const SymbolTables& tables, const Vector<std::int16_t>& values,
           const Vector<T>& indices) {
  if (values.shape(0) != indices.shape(0))
    throw std::invalid_argument("as many indices as values are needed");
  check(tables, indices);
}

template <class T>
nb::object to_numpy(std::vector<T>&& values) {
  auto* owned = new std::vector<T>(std::move(values));
  nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  const std::size_t shape[1] = {owned->size()};
  return nb::cast(nb::ndarray<nb::numpy, T>(owned->data(), 1, shape, owner));
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

// They keep alive what they refer to.
class StepwiseEncoder {
 public:
  explicit StepwiseEncoder(nb::object tables)
      : tables_(std::move(tables)), coder_(nb::cast<const SymbolTables&>(tables_)) {}

  void encode(const Vector<std::int16_t>& values, const Vector<std::uint16_t>& indices) {
    check(nb::cast<const SymbolTables&>(tables_), values, indices);
    coder_.encode(values.data(), indices.data(), values.shape(0));
  }
  nb::bytes finish() { return to_bytes(coder_.finish()); }

 private:
  nb::object tables_;
  vireo::SymbolEncoder coder_;
};

class StepwiseDecoder {
 public:
  StepwiseDecoder(nb::object tables, nb::bytes data)
      : tables_(std::move(tables)),
        data_(std::move(data)),
        coder_(nb::cast<const SymbolTables&>(tables_), bytes_of(data_), data_.size()) {}

  nb::object decode(const Vector<std::uint16_t>& indices) {
    check(nb::cast<const SymbolTables&>(tables_), indices);
    std::vector<std::int16_t> values(indices.shape(0));
    coder_.decode(indices.data(), values.data(), values.size());
    return to_numpy(std::move(values));
  }

 private:
  nb::object tables_;
  nb::bytes data_;
  vireo::SymbolDecoder coder_;
};

using vireo::ContextGrid;
using vireo::ContextModels;
using Grids = std::vector<std::tuple<std::array<std::int32_t, 4>, std::vector<std::int32_t>,
                                     std::vector<std::int32_t>>>;
using Doubles = Vector<double>;

std::vector<ContextGrid> context_grids(const Grids& given, const ContextModels& models) {
  std::vector<ContextGrid> grids;
  for (const auto& [shape, own, steps] : given) {
    std::size_t blocks = 1;
    constexpr std::int32_t kBlock[] = {16, 8, 8};
    for (int axis = 0; axis < 4; ++axis) {
      const std::int32_t side = shape[static_cast<std::size_t>(axis)];
      if (side < 1 || side > 1 << 16) throw std::invalid_argument("a grid has places");
      if (axis < 3) blocks *= static_cast<std::size_t>((side + kBlock[axis] - 1) / kBlock[axis]);
    }
    const auto channels = static_cast<std::size_t>(shape[3]);
    if (own.size() != channels || steps.size() != channels * blocks)
      throw std::invalid_argument("each channel has a model, and each of its blocks a step");
    for (const auto model : own)
      if (model < 0 || static_cast<std::size_t>(model) >= models.count)
        throw std::invalid_argument("there is no such model");
    for (const auto step : steps)
      if (step < -1280 || step > 1280) throw std::invalid_argument("a step is within 20 octaves");
    grids.push_back({shape, own, steps});
  }
  return grids;
}

ContextModels context_models(std::size_t width, const std::vector<Doubles>& weights,
                             const Doubles& biases) {
  ContextModels models;
  models.width = width;
  if (width < 1 || width > 32 || weights.size() != 3 || biases.shape(0) % (2 * width + 2))
    throw std::invalid_argument("models have three layers of 1 to 32 channels");
  models.count = biases.shape(0) / (2 * width + 2);
  models.biases.assign(biases.data(), biases.data() + biases.shape(0));
  for (int layer = 0; layer < 3; ++layer) {
    const auto& own = weights[static_cast<std::size_t>(layer)];
    if (own.shape(0) != models.count * models.inputs(layer) * models.outputs(layer))
      throw std::invalid_argument("a layer has other weights");
    models.weights[static_cast<std::size_t>(layer)].assign(own.data(), own.data() + own.shape(0));
  }
  return models;
}

void check_powers(const std::vector<std::int64_t>& powers) {
  if (powers.size() != 64) throw std::invalid_argument("there are 64 powers");
  for (const auto power : powers)
    if (power < 0 || power >= std::int64_t{1} << 31) throw std::invalid_argument("a power");
}

nb::bytes write_grids(const SymbolTables& tables, const Grids& given, std::size_t width,
                      const std::vector<Doubles>& weights, const Doubles& biases,
                      const std::vector<std::int64_t>& powers,
                      const std::vector<Vector<std::int32_t>>& values) {
  const ContextModels models = context_models(width, weights, biases);
  const auto grids = context_grids(given, models);
  check_powers(powers);
  if (tables.size() != 1328) throw std::invalid_argument("there are 83 times 16 tables");
  if (values.size() != grids.size()) throw std::invalid_argument("each grid has numbers");
  std::vector<const std::int32_t*> numbers;
  for (std::size_t i = 0; i < grids.size(); ++i) {
    if (values[i].shape(0) != grids[i].size()) throw std::invalid_argument("a grid's numbers");
    for (std::size_t k = 0; k < grids[i].size(); ++k)
      if (values[i](k) < -(1 << 14) || values[i](k) > 1 << 14)
        throw std::invalid_argument("numbers are within 16384");
    numbers.push_back(values[i].data());
  }
  std::vector<std::uint8_t> data;
  {
    nb::gil_scoped_release release;
    data = vireo::encode_grids(tables, grids, models, powers, numbers);
  }
  return to_bytes(data);
}

nb::list read_grids(const SymbolTables& tables, const Grids& given, std::size_t width,
                    const std::vector<Doubles>& weights, const Doubles& biases,
                    const std::vector<std::int64_t>& powers, const nb::bytes& data) {
  const ContextModels models = context_models(width, weights, biases);
  const auto grids = context_grids(given, models);
  check_powers(powers);
  if (tables.size() != 1328) throw std::invalid_argument("there are 83 times 16 tables");
  std::vector<std::vector<std::int32_t>> values;
  {
    nb::gil_scoped_release release;
    values = vireo::decode_grids(tables, grids, models, powers, bytes_of(data), data.size());
  }
  nb::list found;
  for (auto& own : values) found.append(to_numpy(std::move(own)));
  return found;
}

using vireo::IndexCoder;
using Stages = std::vector<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t>>;
using Indices = Vector<std::uint16_t>;
using Skips = Vector<std::uint8_t>;

constexpr std::uint32_t kMostPlaces = 1u << 16;
constexpr std::uint64_t kMostFrequencies = vireo::AdaptiveTable::kMost;

IndexCoder make_index_coder(const Stages& given,
                            const std::vector<std::vector<std::uint32_t>>& frequencies) {
  std::vector<vireo::IndexStage> stages;
  std::vector<std::uint32_t> sizes;
  for (const auto& [rows, columns, books, size] : given) {
    if (rows < 1 || columns < 1 || rows > kMostPlaces || columns > kMostPlaces || books < 1 ||
        books > 256 || size < 1 || size > 1u << 16 || (size & (size - 1)))
      throw std::invalid_argument("a stage has places and books of 1 to 65536 = 2**n entries");
    stages.push_back({rows, columns, books, size});
    sizes.insert(sizes.end(), books, size);
  }
  if (stages.empty()) throw std::invalid_argument("there are no stages");
  for (const auto& stage : stages)
    if (stage.rows % stages.back().rows || stage.columns % stages.back().columns)
      throw std::invalid_argument("windows have whole places of every stage");
  if (sizes.size() != frequencies.size())
    throw std::invalid_argument("each book has its frequencies");
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    std::uint64_t total = 0;
    for (const auto f : frequencies[i]) {
      if (f < 1) throw std::invalid_argument("frequencies are at least 1");
      total += f;
    }
    if (frequencies[i].size() != sizes[i] || total > kMostFrequencies)
      throw std::invalid_argument("a book has a frequency per entry, 2**18 in all at most");
  }
  return IndexCoder(std::move(stages), frequencies);
}

void check(const IndexCoder& coder, const Indices& indices) {
  if (indices.shape(0) != coder.count()) throw std::invalid_argument("a frame has other indices");
  std::size_t at = 0;
  for (const auto& stage : coder.stages())
    for (std::size_t n = std::size_t{stage.rows} * stage.columns * stage.books; n > 0; --n, ++at)
      if (indices(at) >= stage.size) throw std::invalid_argument("there is no such entry");
}

void check(const IndexCoder& coder, const std::optional<Indices>& before, bool skips) {
  if (before) check(coder, *before);
  if (skips && !before) throw std::invalid_argument("windows can't be as in no frame");
}

nb::bytes encode_indices(IndexCoder& self, const Indices& indices,
                         const std::optional<Indices>& before, const std::optional<Skips>& skips) {
  check(self, indices);
  check(self, before, skips.has_value());
  if (skips && skips->shape(0) != self.windows())
    throw std::invalid_argument("there are as many skips as windows");
  std::vector<std::uint8_t> data;
  {
    nb::gil_scoped_release release;
    data = self.encode(indices.data(), before ? before->data() : nullptr,
                       skips ? skips->data() : nullptr);
  }
  return to_bytes(data);
}

nb::tuple decode_indices(IndexCoder& self, const nb::bytes& data,
                         const std::optional<Indices>& before, bool skips) {
  check(self, before, skips);
  std::vector<std::uint16_t> indices(self.count());
  std::vector<std::uint8_t> skipped(skips ? self.windows() : 0);
  {
    nb::gil_scoped_release release;
    self.decode(bytes_of(data), data.size(), indices.data(), before ? before->data() : nullptr,
                skips ? skipped.data() : nullptr);
  }
  return nb::make_tuple(to_numpy(std::move(indices)), to_numpy(std::move(skipped)));
}

}  // namespace

void bind_entropy(nb::module_& m) {
  nb::class_<IndexCoder>(m, "IndexCoder", "Codes frames of codebooks' indices, and adapts to them.")
      .def(
          "__init__",
          [](IndexCoder* self, const Stages& stages,
             const std::vector<std::vector<std::uint32_t>>& frequencies) {
            new (self) IndexCoder(make_index_coder(stages, frequencies));
          },
          "stages"_a, "frequencies"_a,
          "Of each stage rows, columns, books and entries; of each book how frequent entries are.")
      .def("copy", [](const IndexCoder& self) { return IndexCoder(self); })
      .def(
          "statistics",
          [](const IndexCoder& self) {
            nb::list found;
            for (auto& own : self.statistics()) {
              std::vector<std::uint32_t> as_before(own.as_before.begin(), own.as_before.end());
              found.append(nb::make_tuple(to_numpy(std::move(own.frequencies)),
                                          to_numpy(std::move(as_before))));
            }
            return found;
          },
          "Of each book of each stage: frequencies of entries, uint32 `[size]`, and the likelihoods "
          "that an index is that of the frame before, uint32 `[6]` in 2**-16.")
      .def("encode", &encode_indices, "indices"_a, "before"_a = nb::none(),
           "skips"_a = nb::none(),
           "Of all stages, place by place and book by book; `before` are those of the frame "
           "before, `skips` says which windows are as they were.")
      .def("decode", &decode_indices, "data"_a, "before"_a = nb::none(), "skips"_a = false,
           "Indices and skips.");

  m.def("encode_updates", &write_updates, "table"_a, "values"_a, "sizes"_a,
        "Changes of weights, tensor after tensor; `table` is for those that are not 0.");
  m.def("decode_updates", &read_updates, "table"_a, "data"_a, "sizes"_a);

  nb::class_<SymbolTables>(m, "SymbolTables", "Distributions of integers, in frequencies.")
      .def("__init__",
           [](SymbolTables* self,
              const std::vector<std::pair<std::int32_t, std::vector<std::uint32_t>>>& tables) {
             if (tables.empty() || tables.size() > kMostTables)
               throw std::invalid_argument("there are 1 to 65536 tables");
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

  m.def("encode_grids", &write_grids, "tables"_a, "grids"_a, "width"_a, "weights"_a, "biases"_a,
        "powers"_a, "values"_a,
        "Numbers of feature grids, under the tables that context models give.");
  m.def("decode_grids", &read_grids, "tables"_a, "grids"_a, "width"_a, "weights"_a, "biases"_a,
        "powers"_a, "data"_a);

  nb::class_<StepwiseEncoder>(m, "SymbolEncoder",
                              "Symbols under tables, some at a time, into one stream.")
      .def(nb::init<nb::object>(), "tables"_a)
      .def("encode", &StepwiseEncoder::encode, "values"_a, "indices"_a)
      .def("finish", &StepwiseEncoder::finish, "The stream; the encoder is spent.");

  nb::class_<StepwiseDecoder>(m, "SymbolDecoder", "What SymbolEncoder wrote, some at a time.")
      .def(nb::init<nb::object, nb::bytes>(), "tables"_a, "data"_a)
      .def("decode", &StepwiseDecoder::decode, "indices"_a);
}
