// Shapes and networks.
#include <optional>

#include "binding/coolchic.hpp"

namespace {

using Context = std::vector<std::pair<int, int>>;

std::vector<vireo::Offset> to_context(const Context& context) {
  std::vector<vireo::Offset> offsets;
  for (const auto& [dy, dx] : context) offsets.push_back({dy, dx});
  return offsets;
}

Architecture make_architecture(int grids, const Context& context,
                               std::vector<int> arm, int kernel, std::vector<int> synthesis,
                               int band_rows_log2, int block_log2, std::optional<Parts> parts) {
  Architecture a;
  a.grids = grids;
  a.context = to_context(context);
  a.arm = std::move(arm);
  a.kernel = kernel;
  a.synthesis = std::move(synthesis);
  a.band_rows_log2 = band_rows_log2;
  a.block_log2 = block_log2;
  a.parts = std::move(parts);
  if (!a.valid())
    throw std::invalid_argument("not a Cool-chic architecture that a stream may have");
  return a;
}

Networks make_networks(const Architecture& architecture, int references, int magnitude_bits) {
  if (references < 0 || references > 2 || magnitude_bits < 0 ||
      magnitude_bits > vireo::kMaxMagnitudeBits)
    throw std::invalid_argument("references are 0 ... 2, magnitude bits 0 ... 12");
  Networks networks = Networks::zeros(architecture, references);
  networks.magnitude_bits = magnitude_bits;
  return networks;
}

Networks decode_update(const Architecture& architecture, int references, const Bytes& data,
                       const Matrix<std::int16_t>& sets, const std::vector<Networks>& bases) {
  Networks networks = make_networks(architecture, references, 0);
  check_parts(networks, true);
  const std::size_t count = networks.parameters().size();
  if (sets.shape(1) != count) throw std::invalid_argument("the sets are of another architecture");
  if (static_cast<int>(bases.size()) != references)
    throw std::invalid_argument("as many references as the frame type says are needed");
  const auto shipped = std::min<std::size_t>(sets.shape(0), 1 << vireo::kSetBits);
  vireo::Bases known{sets.data(), static_cast<int>(shipped), {}};
  for (const Networks& base : bases) {
    known.references.push_back(base.parameters());
    if (known.references.back().size() != count)
      throw std::invalid_argument("a reference's networks are of another architecture");
  }
  if (!vireo::decode_update(data.data(), data.size(), known, networks))
    throw nb::value_error(
        "a network parameter or a corner's motion is out of range, or the base doesn't exist");
  if (networks.inherits && std::none_of(bases.begin(), bases.end(),
                                        [](const Networks& base) { return base.references > 0; }))
    throw nb::value_error("motion is inherited where no reference has any");
  return networks;
}

void set_mlp(QuantisedMlp& mlp, const Integers& parameters, int weight_bits, int bias_bits,
             std::vector<int> hidden_bits) {
  if (parameters.size() != mlp.parameters.size() || hidden_bits.size() != mlp.hidden_bits.size())
    throw std::invalid_argument("the parameters don't fit the architecture");
  const std::int32_t* layer = parameters.data();
  for (std::size_t l = 0; l < mlp.layers(); ++l) {
    check_weights(layer, static_cast<std::size_t>(mlp.widths[l] * mlp.widths[l + 1]));
    layer += (mlp.widths[l] + 1) * mlp.widths[l + 1];
  }
  std::copy_n(parameters.data(), parameters.size(), mlp.parameters.begin());
  mlp.weight_bits = weight_bits;
  mlp.bias_bits = bias_bits;
  mlp.hidden_bits = std::move(hidden_bits);
}

nb::object parameters_of(const std::vector<std::int32_t>& values) {
  Plane<std::int32_t> row(1, static_cast<int>(values.size()));
  row.samples = values;
  return to_numpy(std::move(row)).attr("reshape")(-1);
}

nb::tuple mlp_of(const QuantisedMlp& mlp) {
  return nb::make_tuple(parameters_of(mlp.parameters), mlp.weight_bits, mlp.bias_bits,
                        mlp.hidden_bits);
}

nb::list mlps_of(const std::vector<QuantisedMlp>& mlps) {
  nb::list list;
  for (const QuantisedMlp& mlp : mlps) list.append(mlp_of(mlp));
  return list;
}

constexpr const char* kOneBeginning =
    "vectors begin with a reference's motion or with the whole picture's, not with both";

}  // namespace

void bind_networks(nb::module_& m) {
  nb::class_<Parts>(m, "Parts", "Shapes where luma, chroma and motion have their own latents.")
      .def("__init__",
           [](Parts* self, int chroma_first, std::vector<int> chroma_synthesis, int motion_first,
              int motion_grids, const Matrix<std::uint16_t>& motion_probabilities,
              const Matrix<std::uint16_t>& frame_probabilities,
              const Row<std::int16_t>& temporal) {
             new (self) Parts{chroma_first, std::move(chroma_synthesis), motion_first,
                              motion_grids,
                              {motion_probabilities.data(),
                               motion_probabilities.data() + motion_probabilities.size()},
                              {frame_probabilities.data(),
                               frame_probabilities.data() + frame_probabilities.size()},
                              {temporal.data(), temporal.data() + temporal.size()}};
           },
           "chroma_first"_a, "chroma_synthesis"_a, "motion_first"_a, "motion_grids"_a,
           "motion_probabilities"_a, "frame_probabilities"_a, "temporal"_a);
  m.attr("MOTION_CONTEXTS") = vireo::kMotionContexts;
  m.attr("FRAME_CONTEXTS") = vireo::kFrameContexts;
  m.attr("MAX_INHERITED") = vireo::kMaxInherited;
  m.attr("MAX_CORNER") = vireo::kMaxCorner;
  m.attr("MAX_MOTION") = vireo::kMaxMotion;

  nb::class_<Architecture>(m, "Architecture", "Shapes of a Cool-chic decoder.")
      .def("__init__",
           [](Architecture* self, int grids, const Context& context, std::vector<int> arm,
              int kernel, std::vector<int> synthesis, int band_rows_log2, int block_log2,
              std::optional<Parts> parts) {
             new (self) Architecture(make_architecture(grids, context, std::move(arm), kernel,
                                                       std::move(synthesis), band_rows_log2,
                                                       block_log2, std::move(parts)));
           },
           "grids"_a, "context"_a, "arm"_a, "kernel"_a, "synthesis"_a, "band_rows_log2"_a,
           "block_log2"_a, "parts"_a = nb::none());

  nb::class_<Networks>(m, "Networks", "The quantised networks of one frame.")
      .def("__init__",
           [](Networks* self, const Architecture& a, int references, int magnitude_bits) {
             new (self) Networks(make_networks(a, references, magnitude_bits));
             check_parts(*self, false);
           },
           "architecture"_a, "references"_a, "magnitude_bits"_a)
      .def("__init__",
           [](Networks* self, const Architecture& a, int references, int magnitude_bits,
              const Integers& parameters) {
             new (self) Networks(make_networks(a, references, magnitude_bits));
             check_parts(*self, true);
             self->set_parameters(to_parameters(*self, parameters).data());
           },
           "architecture"_a, "references"_a, "magnitude_bits"_a,
           "parameters"_a)
      .def("set_arm",
           [](Networks& n, const Integers& p, int weight_bits, int bias_bits,
              std::vector<int> hidden_bits) {
             check_parts(n, false);
             set_mlp(n.arms[0], p, weight_bits, bias_bits, std::move(hidden_bits));
           },
           "parameters"_a, "weight_bits"_a, "bias_bits"_a, "hidden_bits"_a)
      .def("set_synthesis",
           [](Networks& n, const Integers& p, int weight_bits, int bias_bits,
              std::vector<int> hidden_bits) {
             check_parts(n, false);
             set_mlp(n.syntheses[0], p, weight_bits, bias_bits, std::move(hidden_bits));
           },
           "parameters"_a, "weight_bits"_a, "bias_bits"_a, "hidden_bits"_a)
      .def("set_kernel",
           [](Networks& n, const Integers& p, int bits) {
             check_parts(n, false);
             if (p.size() != n.kernel.size())
               throw std::invalid_argument("the kernel has another size");
             check_weights(p.data(), p.size());
             std::copy_n(p.data(), p.size(), n.kernel.begin());
             n.kernel_bits = bits;
           },
           "parameters"_a, "bits"_a)
      .def_ro("references", &Networks::references)
      .def_ro("magnitude_bits", &Networks::magnitude_bits)
      .def_prop_ro("parameters", [](const Networks& n) { return parameters_of(n.parameters()); })
      .def_prop_ro("arms", [](const Networks& n) { return mlps_of(n.arms); })
      .def_prop_ro("syntheses", [](const Networks& n) { return mlps_of(n.syntheses); })
      .def_prop_ro("arm", [](const Networks& n) { return mlp_of(n.arms[0]); })
      .def_prop_ro("synthesis", [](const Networks& n) { return mlp_of(n.syntheses[0]); })
      .def_prop_ro("kernel", [](const Networks& n) {
        return nb::make_tuple(parameters_of(n.kernel), n.kernel_bits);
      })
      .def("encode",
           [](const Networks& n) {
             check_parts(n, false);
             return to_bytes(vireo::encode_networks(n));
           })
      .def_prop_ro("bits",
                   [](const Networks& n) {
                     check_parts(n, false);
                     return vireo::measure_networks(n);
                   })
      .def_prop_rw(
          "filtered",
          [](const Networks& n) {
            check_parts(n, true);
            return std::pair(n.filters[vireo::kLuma].on, n.filters[vireo::kChroma].on);
          },
          [](Networks& n, std::pair<bool, bool> on) {
            check_parts(n, true);
            n.filters[vireo::kLuma].on = on.first;
            n.filters[vireo::kChroma].on = on.second;
          },
          "Whether luma and whether chroma go through the loop filter.")
      .def_prop_rw(
          "inherits",
          [](const Networks& n) {
            check_parts(n, true);
            return n.inherits;
          },
          [](Networks& n, bool on) {
            check_parts(n, true);
            if (on && n.references == 0)
              throw std::invalid_argument("a frame without references inherits no motion");
            if (on && !n.corners.empty()) throw std::invalid_argument(kOneBeginning);
            n.inherits = on;
          },
          "Whether vectors begin with a reference's motion.")
      .def_prop_rw(
          "corners",
          [](const Networks& n) { return std::vector<std::int32_t>(n.corners); },
          [](Networks& n, const std::vector<std::int32_t>& corners) {
            check_parts(n, true);
            const std::size_t wanted = vireo::kCorners * static_cast<std::size_t>(n.references);
            if (!corners.empty() && corners.size() != wanted)
              throw std::invalid_argument("six numbers per reference, or none");
            if (!corners.empty() && n.inherits) throw std::invalid_argument(kOneBeginning);
            for (const std::int32_t c : corners)
              if (c > vireo::kMaxCorner || c < -vireo::kMaxCorner)
                throw std::invalid_argument("a corner moves too far");
            n.corners = corners;
          },
          "The whole picture's motion, which vectors begin with, six numbers per reference; or "
          "none.")
      .def_ro("coded_bits", &Networks::coded_bits,
              "What decode_update has read of the bytes, in bits.")
      .def("encode_update",
           [](const Networks& n, int number, const Integers& base) {
             return to_bytes(vireo::encode_update(n, number, to_base(n, number, base)));
           },
           "number"_a, "base"_a)
      .def("update_bits",
           [](const Networks& n, int number, const Integers& base) {
             return vireo::measure_update(n, number, to_base(n, number, base));
           },
           "number"_a, "base"_a)
      .def_static("decode_update", &decode_update, "architecture"_a, "references"_a, "data"_a,
                  "sets"_a, "bases"_a)
      .def_static(
          "decode",
          [](const Architecture& a, int references, const Bytes& data) {
            Networks n = make_networks(a, references, 0);
            check_parts(n, false);
            if (!vireo::decode_networks(data.data(), data.size(), n))
              throw nb::value_error("a network parameter is out of range");
            return n;
          },
          "architecture"_a, "references"_a, "data"_a);
}
