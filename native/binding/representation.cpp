#include "train/representation.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <tuple>

#include "binding/arrays.hpp"
#include "binding/representation.hpp"
#include "train/orthogonal.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace vireo::train;

namespace {

using Numbers = std::tuple<int, int, int>;  // start, inputs, outputs
using Stages = std::vector<std::pair<int, std::vector<Numbers>>>;
using Crops = std::vector<std::tuple<int, int, int, int>>;

LayerShape shape_of(const Numbers& n) {
  return {std::get<0>(n), std::get<1>(n), std::get<2>(n)};
}

std::vector<Crop> crops_of(const Crops& crops) {
  std::vector<Crop> found;
  for (const auto& [top, left, height, width] : crops) found.push_back({top, left, height, width});
  return found;
}

void check(const Representation& r, Floats<1> parameters) {
  require(parameters.size() >= at(r.parameters()), "there are fewer parameters than are named");
}

nb::tuple forward(Representation& r, Floats<4> stem, const std::vector<Floats<4>>& locals,
                  Floats<1> parameters, const Crops& crops, bool keep) {
  check(r, parameters);
  require(stem.shape(1) == at(r.channels()), "a stem's features are [B, C, H, W]");
  require(locals.size() == r.stages().size(), "each stage has its additions");
  std::vector<const float*> own;
  for (std::size_t s = 0; s < locals.size(); ++s) {
    const StageShape& stage = r.stages()[s];
    require(locals[s].shape(0) == stem.shape(0) && locals[s].shape(1) == at(stage.scale) &&
                locals[s].shape(2) == at(stage.scale) &&
                locals[s].shape(3) == at(stage.units[0].inputs),
            "additions are [B, scale, scale, C]");
    own.push_back(locals[s].data());
  }
  const int count = static_cast<int>(stem.shape(0)), height = static_cast<int>(stem.shape(2)),
            width = static_cast<int>(stem.shape(3));
  const auto [rows, columns] = r.size(height, width, crops_of(crops));
  const Array out = make({stem.shape(0), at(r.head().outputs), at(rows), at(columns)});
  std::unique_ptr<Held> held = keep ? std::make_unique<Held>() : nullptr;
  {
    nb::gil_scoped_release release;
    r.forward(count, height, width, stem.data(), own, parameters.data(), crops_of(crops), out.data,
              held.get());
  }
  return nb::make_tuple(out.object, std::move(held));
}

nb::tuple backward(Representation& r, const Held& held, Floats<4> d_out, Floats<1> parameters) {
  check(r, parameters);
  require(r.made(held), "what is held is of another representation");
  const std::size_t count = held.last.size();
  const FeaturePlanes& shown = held.last.at(0).planes();
  require(d_out.shape(0) == count && d_out.shape(1) == at(r.head().outputs) &&
              d_out.shape(2) == at(shown.height) && d_out.shape(3) == at(shown.width),
          "gradients are of what was made");
  const Array d_stem = make({count, at(r.channels()), at(held.height), at(held.width)});
  const Array d_parameters = make({parameters.size()});
  nb::list d_locals;
  std::vector<float*> own;
  for (const StageShape& stage : r.stages()) {
    const Array a = make({count, at(stage.scale), at(stage.scale), at(stage.units[0].inputs)});
    own.push_back(a.data);
    d_locals.append(a.object);
  }
  {
    nb::gil_scoped_release release;
    r.backward(held, d_out.data(), parameters.data(), d_stem.data, own, d_parameters.data);
  }
  return nb::make_tuple(d_stem.object, d_locals, d_parameters.object);
}

// A vector's matrices; its pool stays from step to step.
class Orthogonal {
 public:
  Orthogonal(const std::vector<Numbers>& matrices, int threads, const std::string& isa)
      : kernel_(choose_orthogonal_kernel(isa)), pool_(std::max(1, threads)) {
    for (const auto& [start, rows, columns] : matrices) {
      require(start >= 0 && rows >= 1 && columns >= 1, "matrices have rows and columns");
      shapes_.push_back({start, rows, columns});
      least_ = std::max(least_, at(start) + at(rows) * at(columns));
    }
  }

  nb::object of(Floats<1> vector) {
    require(vector.size() >= least_, "the vector is shorter than its matrices");
    const Array out = make({vector.size()});
    {
      nb::gil_scoped_release release;
      make_orthogonal(kernel_, shapes_, vector.data(), out.data, pool_);
    }
    return out.object;
  }

 private:
  const OrthogonalKernel& kernel_;
  Pool pool_;
  std::vector<MatrixShape> shapes_;
  std::size_t least_ = 0;
};

}  // namespace

void bind_representation(nb::module_& m) {
  nb::class_<Orthogonal>(m, "Orthogonal", "Matrices of a vector, with singular values about 1.")
      .def(nb::init<const std::vector<Numbers>&, int, const std::string&>(), "matrices"_a,
           "threads"_a = 1, "isa"_a = "")
      .def("of", &Orthogonal::of, "vector"_a);
  nb::class_<Held>(m, "Held", "What a forward pass leaves for the one back.");
  nb::class_<Representation>(m, "Representation",
                             "The stages of an NVRC network behind its stem, in floats.")
      .def(
          "__init__",
          [](Representation* self, const Stages& stages, int expansion, const Numbers& head,
             float offset, int threads, const std::string& isa) {
            std::vector<StageShape> shapes;
            for (const auto& [scale, units] : stages) {
              StageShape& own = shapes.emplace_back();
              own.scale = scale;
              for (const Numbers& unit : units) own.units.push_back(shape_of(unit));
            }
            new (self) Representation(std::move(shapes), expansion, shape_of(head), offset, threads,
                                      isa);
          },
          "stages"_a, "expansion"_a, "head"_a, "offset"_a, "threads"_a = 1, "isa"_a = "")
      .def("forward", &forward, "stem"_a, "locals"_a, "parameters"_a, "crops"_a, "keep"_a)
      .def("backward", &backward, "held"_a, "d_out"_a, "parameters"_a);
}
