// vireo._train: native training of one Cool-chic frame, and of NVRC's network.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>

#include "binding/arrays.hpp"
#include "binding/representation.hpp"
#include "core/prediction.hpp"
#include "train/frame_trainer.hpp"
#include "train/motion_search.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace vireo::train;

namespace {

using Samples = nb::ndarray<const std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using SamplePlanes = std::vector<Samples>;
using Predicted = nb::ndarray<const std::int16_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Probabilities =
    nb::ndarray<const std::uint16_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
// One per block of a picture.
using BlockValues = nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Model = std::tuple<std::vector<std::pair<int, int>>, std::vector<int>>;  // context, widths

constexpr std::size_t COLUMNS = 6;  // of a schedule
constexpr std::size_t METRICS = 6;

template <class Result, class Array>
Result planes(const std::vector<Array>& arrays, int height, int width) {
  require(arrays.size() == 3, "a picture has three planes: Y, U, V");
  Result result{};
  for (std::size_t c = 0; c < 3; ++c) {
    const std::size_t h = at(c ? height / 2 : height), w = at(c ? width / 2 : width);
    require(arrays[c].shape(0) == h && arrays[c].shape(1) == w,
            "planes are Y [H, W], U and V [H/2, W/2]");
    result[c] = arrays[c].data();
  }
  return result;
}

void write(const Metrics& m, float* out) {
  const double values[METRICS] = {m.loss, m.mse[0], m.mse[1], m.mse[2], m.bits, m.flow_error};
  for (std::size_t i = 0; i < METRICS; ++i) out[i] = static_cast<float>(values[i]);
}

nb::tuple as_tuple(const Metrics& m) {
  return nb::make_tuple(m.loss, m.mse[0], m.mse[1], m.mse[2], m.bits, m.flow_error);
}

Settings settings(bool hard, const float* row, std::uint64_t seed, std::uint64_t iteration) {
  Settings s;
  s.hard = hard;
  s.temperature = row[0];
  s.noise_shape = row[1];
  s.rate_latents = row[2];
  s.rate_networks = row[3];
  s.lambda = row[4];
  s.flow_weight = row[5];
  s.seed = seed;
  s.iteration = iteration;
  require(hard || s.temperature > 0, "the temperature must be positive");
  require(hard || s.noise_shape >= 1, "the noise's shape is at least 1");
  return s;
}

void check_grid(const FrameTrainer& t, int k, const Floats<2>& array) {
  const auto [h, w] = t.grid_size(k);
  require(array.shape(0) == at(h) && array.shape(1) == at(w), "a grid's shape does not match");
}

nb::list latents(const FrameTrainer& t) {
  nb::list result;
  for (int k = 0; k < t.grids(); ++k) {
    const auto [h, w] = t.grid_size(k);
    const Array a = make({at(h), at(w)});
    t.get_latents(k, a.data);
    result.append(a.object);
  }
  return result;
}

void set_latents(FrameTrainer& t, const std::vector<Floats<2>>& grids) {
  require(grids.size() == at(t.grids()), "one array per grid");
  for (int k = 0; k < t.grids(); ++k) check_grid(t, k, grids[at(k)]);
  for (int k = 0; k < t.grids(); ++k) t.set_latents(k, grids[at(k)].data());
}

void set_given(FrameTrainer& t, const std::vector<Floats<2>>& grids) {
  require(grids.size() <= at(t.grids()), "one array per grid at most");
  for (std::size_t k = 0; k < grids.size(); ++k) {
    check_grid(t, static_cast<int>(k), grids[k]);
    t.set_given(static_cast<int>(k), grids[k].data());
  }
}

void set_weights(FrameTrainer& t, Floats<2> weights) {
  const Shape& shape = t.shape();
  require(weights.shape(0) == at(shape.height / 2) && weights.shape(1) == at(shape.width / 2),
          "weights have the size of a chroma plane");
  t.set_weights(weights.data());
}

nb::object run(FrameTrainer& t, Floats<2> schedule, bool hard, std::uint64_t seed,
               std::uint64_t first, float clip, float beta1, float beta2, float epsilon,
               float latent_beta1, float latent_beta2, float pooling, float parameter_rate) {
  require(schedule.shape(1) == COLUMNS, "a schedule has six columns");
  const std::size_t steps = schedule.shape(0);
  const Array result = make({steps, METRICS});
  const Optimiser optimiser{clip,         beta1,   beta2,         epsilon, latent_beta1,
                            latent_beta2, pooling, parameter_rate};
  for (std::size_t i = 0; i < steps; ++i) settings(hard, schedule.data() + i * COLUMNS, 0, 0);
  {
    nb::gil_scoped_release release;
    for (std::size_t i = 0; i < steps; ++i) {
      const Settings s = settings(hard, schedule.data() + i * COLUMNS, seed, first + i);
      write(t.step(s, optimiser), result.data + i * METRICS);
    }
  }
  return result.object;
}

nb::tuple gradients(FrameTrainer& t, bool hard, float temperature, float noise_shape, float lambda,
                    float flow_weight, std::uint64_t seed, std::uint64_t iteration,
                    const std::optional<std::vector<Floats<2>>>& noise) {
  const float row[COLUMNS] = {temperature, noise_shape, 0, 0, lambda, flow_weight};
  const Settings s = settings(hard, row, seed, iteration);
  std::vector<const float*> pointers;
  if (noise) {
    require(noise->size() == at(t.grids()), "one noise array per grid");
    for (int k = 0; k < t.grids(); ++k) {
      check_grid(t, k, (*noise)[at(k)]);
      pointers.push_back((*noise)[at(k)].data());
    }
  }
  Metrics m{};
  {
    nb::gil_scoped_release release;
    m = t.gradients(s, pointers);
  }
  nb::list by_latents;
  for (int k = 0; k < t.grids(); ++k) {
    const auto [h, w] = t.grid_size(k);
    const Array a = make({at(h), at(w)});
    t.get_latent_gradient(k, a.data);
    by_latents.append(a.object);
  }
  const auto& g = t.parameter_gradient();
  const Array by_parameters = make({g.size()});
  std::transform(g.begin(), g.end(), by_parameters.data,
                 [](double x) { return static_cast<float>(x); });
  return nb::make_tuple(as_tuple(m), by_latents, by_parameters.object);
}

nb::tuple evaluate(FrameTrainer& t, float lambda, float flow_weight) {
  Metrics m{};
  {
    nb::gil_scoped_release release;
    m = t.evaluate(lambda, flow_weight, nullptr, nullptr);
  }
  return as_tuple(m);
}

nb::tuple decode(FrameTrainer& t) {
  const std::size_t h = at(t.shape().height), w = at(t.shape().width);
  const Array y = make({h, w}), u = make({h / 2, w / 2}), v = make({h / 2, w / 2});
  const Array signals = make({at(t.shape().parts() ? 0 : t.outputs()), h, w});
  float* const decoded[3] = {y.data, u.data, v.data};
  t.evaluate(0, 0, decoded, signals.data);
  return nb::make_tuple(y.object, u.object, v.object, signals.object);
}

nb::list draw_noise(FrameTrainer& t, float noise_shape, std::uint64_t seed,
                    std::uint64_t iteration) {
  const float row[COLUMNS] = {1, noise_shape, 0, 0, 0, 0};
  nb::list result;
  for (int k = 0; k < t.grids(); ++k) {
    const auto [h, w] = t.grid_size(k);
    const Array a = make({at(h), at(w)});
    t.draw_noise(settings(false, row, seed, iteration), k, a.data);
    result.append(a.object);
  }
  return result;
}

vireo::PlaneView view(const Samples& plane) {
  return {plane.data(), static_cast<int>(plane.shape(0)), static_cast<int>(plane.shape(1))};
}

vireo::PictureView picture(const SamplePlanes& planes) {
  require(planes.size() == 3, "a picture has three planes: Y, U, V");
  const auto luma = view(planes[0]);
  require(luma.height > 0 && luma.width > 0 && luma.height % 2 == 0 && luma.width % 2 == 0,
          "pictures have an even size");
  const vireo::PictureView result{luma, view(planes[1]), view(planes[2])};
  for (const auto& p : {result[1], result[2]})
    require(p.height == luma.height / 2 && p.width == luma.width / 2,
            "chroma has half the size of luma");
  return result;
}

nb::tuple find_motion(const SamplePlanes& target, const std::vector<SamplePlanes>& references,
                      float lambda, int first, int grids, const Probabilities& probabilities,
                      const std::vector<BlockValues>& inherited, bool always) {
  require(lambda > 0, "lambda is positive");
  require(references.size() == 1 || references.size() == 2, "1 or 2 references");
  require(probabilities.shape(0) == vireo::kMotionRows &&
              probabilities.shape(1) == vireo::kMotionContexts,
          "probabilities are [rows, contexts]");
  require(first >= 2 && grids >= 1 && first + grids <= vireo::kMaxGrids, "no such grids");
  const vireo::PictureView wanted = picture(target);
  std::vector<vireo::PictureView> pictures;
  for (const SamplePlanes& r : references) {
    pictures.push_back(picture(r));
    require(pictures.back()[0].height == wanted[0].height &&
                pictures.back()[0].width == wanted[0].width,
            "references have the target's size");
  }
  vireo::InheritedMotion begin;
  for (const BlockValues& plane : inherited) {
    begin.emplace_back(static_cast<int>(plane.shape(0)), static_cast<int>(plane.shape(1)));
    std::copy_n(plane.data(), begin.back().samples.size(), begin.back().samples.begin());
  }
  const char* fault =
      vireo::inherited_fault(begin, references.size(), wanted[0].height, wanted[0].width);
  require(!fault, fault);
  require(!always || !begin.empty(), "vectors always begin with something, and that is missing");
  vireo::train::FoundMotion found;
  {
    nb::gil_scoped_release release;
    found = search_motion(wanted, pictures, {lambda, first, grids, probabilities.data(),
                                             begin.empty() ? nullptr : &begin, always});
  }
  nb::list result;
  for (auto& grid : found.latents) {
    auto* owned = new vireo::Plane<std::int16_t>(std::move(grid));
    nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<vireo::Plane<std::int16_t>*>(p); });
    const std::size_t shape[2] = {at(owned->height), at(owned->width)};
    result.append(nb::cast(nb::ndarray<nb::numpy, std::int16_t>(owned->samples.data(), 2, shape, owner)));
  }
  return nb::make_tuple(result, found.inherits, found.cost);
}

}  // namespace

NB_MODULE(_train, m) {
  m.doc() = "Native training of one Cool-chic frame, and of NVRC's network.";
  m.def("available_kernels", &available_kernels,
        "Names of the kernels' builds that this machine runs, the fastest first.");
  m.def("measure_peak", &measure_peak, "isa"_a = "",
        "Multiply-adds per second of one thread.");

  m.def("search_motion", &find_motion, "target"_a, "references"_a, "lambda_"_a, "first"_a,
        "grids"_a, "probabilities"_a, "inherited"_a = nb::list(),
        "always"_a = false,
        "Latents of the fields that predict a picture from others, whether their vectors begin with "
        "what may be inherited (`always`: they do), and what the search found that they cost.");

  bind_representation(m);

  nb::class_<FrameTrainer>(m, "FrameTrainer")
      .def(
          "__init__",
          [](FrameTrainer* self, const std::vector<Model>& models,
             const std::vector<std::tuple<int, int, int>>& layout, int grids, int kernel,
             std::vector<int> synthesis, std::vector<int> chroma, int chroma_grids,
             const SamplePlanes& target, const std::vector<SamplePlanes>& references,
             const std::optional<std::vector<Predicted>>& prediction, int threads,
             const std::string& isa) {
            require(target.size() == 3, "a picture has three planes: Y, U, V");
            Shape shape{};
            for (const auto& [context, widths] : models) shape.models.push_back({context, widths});
            for (const auto& [level, model, other] : layout) {
              shape.layout.push_back({level, model, other});
            }
            shape.grids = grids;
            shape.kernel = kernel;
            shape.synthesis = std::move(synthesis);
            shape.chroma = std::move(chroma);
            shape.chroma_grids = chroma_grids;
            const int h = shape.height = static_cast<int>(target[0].shape(0));
            const int w = shape.width = static_cast<int>(target[0].shape(1));
            shape.references = static_cast<int>(references.size());
            std::vector<Planes> packed;
            for (const SamplePlanes& r : references) packed.push_back(planes<Planes>(r, h, w));
            std::optional<Prediction> predicted;
            if (prediction) predicted = planes<Prediction>(*prediction, h, w);
            new (self)
                FrameTrainer(shape, planes<Planes>(target, h, w), packed, predicted, threads, isa);
          },
          "models"_a, "layout"_a, "grids"_a, "kernel"_a, "synthesis"_a, "chroma"_a,
          "chroma_grids"_a, "target"_a, "references"_a, "prediction"_a.none(), "threads"_a = 1,
          "isa"_a = "")
      .def_prop_ro("isa", &FrameTrainer::isa)
      .def_prop_ro("threads", &FrameTrainer::threads)
      .def("latents", &latents)
      .def("set_latents", &set_latents, "latents"_a)
      .def("set_given", &set_given, "grids"_a)
      .def("set_weights", &set_weights, "weights"_a)
      .def("parameters",
           [](FrameTrainer& t) {
             const Array a = make({t.parameters().size()});
             std::copy(t.parameters().begin(), t.parameters().end(), a.data);
             return a.object;
           })
      .def(
          "set_parameters",
          [](FrameTrainer& t, Floats<1> values) {
            require(values.size() == t.parameters().size(), "the number of parameters differs");
            std::copy_n(values.data(), values.size(), t.parameters().begin());
          },
          "parameters"_a)
      .def("base",
           [](FrameTrainer& t) {
             const Array a = make({t.base().size()});
             std::copy(t.base().begin(), t.base().end(), a.data);
             return a.object;
           })
      .def(
          "set_base",
          [](FrameTrainer& t, Floats<1> values) {
            require(values.size() == t.base().size(), "the number of parameters differs");
            std::copy_n(values.data(), values.size(), t.base().begin());
          },
          "parameters"_a)
      .def(
          "set_flow_targets",
          [](FrameTrainer& t, Floats<3> flows) {
            require(flows.shape(0) == at(2 * t.shape().references) &&
                        flows.shape(1) == at(t.shape().height) &&
                        flows.shape(2) == at(t.shape().width),
                    "flow targets are [2 references, H, W]");
            t.set_flow_targets(flows.data());
          },
          "flows"_a)
      .def("run", &run, "schedule"_a, "hard"_a, "seed"_a, "first_iteration"_a, "clip"_a,
           "beta1"_a, "beta2"_a, "epsilon"_a, "latent_beta1"_a, "latent_beta2"_a, "pooling"_a,
           "parameter_rate"_a)
      .def("gradients", &gradients, "hard"_a, "temperature"_a, "noise_shape"_a, "lambda_"_a,
           "flow_weight"_a, "seed"_a, "iteration"_a, "noise"_a.none())
      .def("evaluate", &evaluate, "lambda_"_a, "flow_weight"_a)
      .def("decode", &decode)
      .def(
          "refine",
          [](FrameTrainer& t, float lambda, int sweeps) {
            nb::gil_scoped_release release;
            return t.refine(lambda, sweeps);
          },
          "lambda_"_a, "sweeps"_a)
      .def("draw_noise", &draw_noise, "noise_shape"_a, "seed"_a, "iteration"_a)
      .def("reset_optimiser", &FrameTrainer::reset_optimiser)
      .def("state",
           [](const FrameTrainer& t) {
             const Array a = make({static_cast<std::size_t>(t.state_size())});
             t.get_state(a.data);
             return a.object;
           })
      .def(
          "set_state",
          [](FrameTrainer& t, Floats<1> state) {
            require(static_cast<std::ptrdiff_t>(state.size()) == t.state_size(),
                    "the state is of another shape");
            t.set_state(state.data());
          },
          "state"_a)
      .def("stage_seconds", [](const FrameTrainer& t) {
        const auto s = t.stage_seconds();
        nb::dict d;
        d["quantise"] = s[QUANTISE];
        d["arm"] = s[ARM];
        d["upsampling"] = s[UPSAMPLING];
        d["picture"] = s[PICTURE];
        d["adam"] = s[ADAM];
        return d;
      });
}
