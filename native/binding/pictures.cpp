// Pictures: motion of blocks, what is predicted, the loop filter, and all of it together.
#include "binding/coolchic.hpp"
#include "core/loop_filter.hpp"
#include "core/prediction.hpp"

namespace {

nb::list block_fields(const std::vector<Matrix<std::int16_t>>& grids, int motion_first, int height,
                      int width, int references,
                      const std::vector<Matrix<std::int32_t>>& inherited) {
  if (references < 1 || references > 2) throw std::invalid_argument("1 or 2 references");
  const int count = 3 * references;
  const int per_field = static_cast<int>(grids.size()) / count;
  if (per_field < 1 || per_field * count != static_cast<int>(grids.size()) ||
      motion_first < vireo::kBlockLog2 || motion_first + per_field > vireo::kMaxGrids)
    throw std::invalid_argument("every field has as many grids");
  Latents fields;
  for (std::size_t i = 0; i < grids.size(); ++i) {
    fields.push_back(to_plane(grids[i]));
    const int k = motion_first + static_cast<int>(i) % per_field, cell = 1 << k;
    if (fields.back().height != (height + cell - 1) / cell ||
        fields.back().width != (width + cell - 1) / cell)
      throw std::invalid_argument("a latent grid has the wrong size");
  }
  const vireo::InheritedMotion begin =
      to_inherited(inherited, static_cast<std::size_t>(references), height, width);
  vireo::BlockFields result;
  {
    nb::gil_scoped_release release;
    result = vireo::block_fields(fields, count, per_field, motion_first, height, width, begin);
  }
  nb::list list;
  for (auto& field : result.values) list.append(to_numpy(std::move(field)));
  return list;
}

// One value per block and field, checked.
vireo::BlockFields to_block_fields(const std::vector<Matrix<std::int32_t>>& fields,
                                   const References& references, int height, int width) {
  if (height < 2 || width < 2 || height % 2 || width % 2)
    throw std::invalid_argument("pictures are coded at even sizes");
  if (references.empty() || references.size() > 2 || fields.size() != 3 * references.size())
    throw std::invalid_argument("one reference and three fields, or two and six");
  vireo::BlockFields blocks{(height + vireo::kBlock - 1) / vireo::kBlock,
                            (width + vireo::kBlock - 1) / vireo::kBlock, {}};
  for (std::size_t f = 0; f < fields.size(); ++f) {
    blocks.values.push_back(to_plane(fields[f]));
    const auto& values = blocks.values.back();
    if (values.height != blocks.rows || values.width != blocks.columns)
      throw std::invalid_argument("a field has one value per block");
    if (f >= 2 * references.size() &&
        std::any_of(values.samples.begin(), values.samples.end(),
                    [](std::int32_t v) { return v < 0 || v > vireo::kBlendOne; }))
      throw std::invalid_argument("alpha and beta are in 0 ... 64");
  }
  return blocks;
}

nb::list temporal_contexts(const Architecture& architecture,
                           const std::vector<Matrix<std::int32_t>>& fields,
                           const References& references, int height, int width) {
  if (!architecture.parts) throw std::invalid_argument("temporal contexts are of parts");
  const vireo::BlockFields blocks = to_block_fields(fields, references, height, width);
  const std::vector<vireo::PictureView> pictures = to_pictures(references, height, width);
  vireo::TemporalContexts temporal;
  {
    nb::gil_scoped_release release;
    temporal = vireo::temporal_contexts(architecture, blocks, pictures, height, width);
  }
  return to_list(std::move(temporal));
}

// Planes in 1/64 sample; rows of a last block beyond the picture are left out.
nb::tuple predict(const std::vector<Matrix<std::int32_t>>& fields, const References& references,
                  int height, int width) {
  const vireo::BlockFields blocks = to_block_fields(fields, references, height, width);
  const std::vector<vireo::PictureView> pictures = to_pictures(references, height, width);
  Plane<std::int16_t> planes[3] = {
      {height, width}, {height / 2, width / 2}, {height / 2, width / 2}};
  {
    nb::gil_scoped_release release;
    const vireo::Predictor predictor(blocks, pictures, height, width);
    std::vector<std::int16_t> rows(predictor.stride() * (vireo::kBlock + vireo::kBlock / 2));
    std::int16_t* const out[3] = {rows.data(), rows.data() + vireo::kBlock * predictor.stride(),
                                  rows.data() + (vireo::kBlock + 1) * predictor.stride()};
    for (int by = 0; by < blocks.rows; ++by) {
      predictor.rows(by, out[0], out[1], out[2]);
      for (int c = 0; c < 3; ++c) {
        const int side = c ? vireo::kBlock / 2 : vireo::kBlock;
        const std::size_t stride = predictor.stride() / (c ? 2 : 1);
        for (int i = 0; i < std::min(side, planes[c].height - by * side); ++i)
          std::copy_n(out[c] + static_cast<std::size_t>(i) * stride, planes[c].width,
                      planes[c].row(by * side + i));
      }
    }
  }
  return nb::make_tuple(to_numpy(std::move(planes[0])), to_numpy(std::move(planes[1])),
                        to_numpy(std::move(planes[2])));
}

const vireo::FilterShape& filter_of(int weights) {
  for (const auto* shape : {&vireo::kLumaFilter, &vireo::kChromaFilter})
    if (shape->weights() == weights) return *shape;
  throw std::invalid_argument("no loop filter has so many weights");
}

nb::object filter_plane(const Matrix<std::uint8_t>& plane, const Integers& weights) {
  const vireo::FilterShape& shape = filter_of(static_cast<int>(weights.size()));
  check_weights(weights.data(), weights.size());
  if (plane.size() == 0) throw std::invalid_argument("a plane without samples");
  return to_numpy(vireo::filter_plane(to_view(plane), {shape, weights.data()}));
}

nb::tuple filter_equations(const Matrix<std::uint8_t>& decoded, const Matrix<std::uint8_t>& target,
                           int weights) {
  const vireo::FilterShape& shape = filter_of(weights);
  const vireo::PlaneView a = to_view(decoded), b = to_view(target);
  if (a.height != b.height || a.width != b.width || decoded.size() == 0)
    throw std::invalid_argument("the planes have different sizes, or no samples");
  Plane<std::int64_t> products(weights, weights), wanted(1, weights);
  {
    nb::gil_scoped_release release;
    vireo::FilterEquations equations = vireo::filter_equations(a, b, shape);
    products.samples = std::move(equations.products);
    wanted.samples = std::move(equations.wanted);
  }
  return nb::make_tuple(to_numpy(std::move(products)),
                        to_numpy(std::move(wanted)).attr("reshape")(-1));
}

}  // namespace

nb::tuple reconstruct(const Architecture& architecture, const Networks& networks,
                      const Latents& latents, const References& references, bool with_signals,
                      const vireo::InheritedMotion& inherited, vireo::StageTimes* times) {
  const int height = latents[0].height, width = latents[0].width;
  if (height % 2 || width % 2) throw std::invalid_argument("pictures are coded at even sizes");
  if (static_cast<int>(references.size()) != networks.references)
    throw std::invalid_argument("as many references as the frame type says are needed");
  const std::vector<vireo::PictureView> pictures = to_pictures(references, height, width);
  check_inherited(networks, inherited);
  if (with_signals && architecture.parts)
    throw std::invalid_argument("an architecture with parts has no such signals");
  vireo::SignalPlanes signals;
  Picture out;
  {
    nb::gil_scoped_release release;
    out = vireo::reconstruct(architecture, networks, latents, pictures,
                             with_signals ? &signals : nullptr, times, inherited);
  }
  nb::tuple planes = nb::make_tuple(to_numpy(std::move(out.y)), to_numpy(std::move(out.u)),
                                    to_numpy(std::move(out.v)));
  if (!with_signals) return planes;
  nb::list flows;
  for (auto& flow : signals.flows) flows.append(to_numpy(std::move(flow)));
  return nb::make_tuple(planes, flows, to_numpy(std::move(signals.residual)),
                        to_numpy(std::move(signals.alpha)), to_numpy(std::move(signals.beta)));
}

void bind_pictures(nb::module_& m) {
  nb::class_<vireo::StageTimes>(m, "StageTimes", "Seconds that a reconstruction took.")
      .def(nb::init<>())
      .def_ro("upsampling", &vireo::StageTimes::upsampling)
      .def_ro("synthesis", &vireo::StageTimes::synthesis)
      .def_ro("inter", &vireo::StageTimes::inter)
      .def_ro("filter", &vireo::StageTimes::filter);

  m.def(
      "reconstruct",
      [](const Architecture& a, const Networks& n, const std::vector<Matrix<std::int16_t>>& grids,
         const References& references, bool signals,
         const std::vector<Matrix<std::int32_t>>& inherited) {
        const Latents latents = to_latents(a, n, grids);
        return reconstruct(a, n, latents, references, signals,
                           to_inherited(inherited, references.size(), latents[0].height,
                                        latents[0].width));
      },
      "architecture"_a, "networks"_a, "grids"_a, "references"_a, "signals"_a = false,
      "inherited"_a = nb::list(),
      "The decoded picture; `inherited` is what its vectors begin with, per block.");
  m.def("block_fields", &block_fields, "grids"_a, "motion_first"_a, "height"_a, "width"_a,
        "references"_a, "inherited"_a = nb::list(),
        "Vectors, alpha (and beta) of each block, from the fields' grids.");
  m.def("temporal_contexts", &temporal_contexts, "architecture"_a, "fields"_a, "references"_a,
        "height"_a, "width"_a, "What prediction tells of luma's latents: a plane per grid.");
  m.def("filter_plane", &filter_plane, "plane"_a, "weights"_a,
        "A plane after the loop filter of luma or of chroma, whichever has so many weights.");
  m.def("filter_equations", &filter_equations, "decoded"_a, "target"_a, "weights"_a,
        "Normal equations of the loop filter with so many weights: [n, n] and [n].");
  m.attr("TEMPORAL_PARAMETERS") = vireo::kTemporalParameters;
  m.def("predict", &predict, "fields"_a, "references"_a, "height"_a, "width"_a,
        "Inter prediction in 1/64 sample: Y, U, V.");
}
