// vireo._core: the normative decoder and what the encoder shares with it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "binding/entropy.hpp"
#include "core/coolchic.hpp"
#include "core/crc32c.hpp"
#include "core/kernels.hpp"
#include "core/loop_filter.hpp"
#include "core/prediction.hpp"
#include "core/temporal_context.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

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

nb::bytes to_bytes(const std::vector<std::uint8_t>& data) {
  return nb::bytes(reinterpret_cast<const char*>(data.data()), data.size());
}

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
  if (!a.valid()) throw std::invalid_argument("not a Cool-chic architecture that a stream may have");
  return a;
}

// What a stream can say, and what 16-bit multiply-adds rest on.
void check_weights(const std::int32_t* weights, std::size_t count) {
  if (std::any_of(weights, weights + count, [](std::int32_t w) {
        return w > vireo::kMaxWeight || w < -vireo::kMaxWeight;
      }))
    throw std::invalid_argument("weights and kernel samples are in -32767 ... 32767");
}

void check_parts(const Networks& networks, bool expected) {
  if (networks.has_parts() != expected)
    throw std::invalid_argument(expected ? "the networks have no parts"
                                         : "networks with parts are set and coded as a whole");
}

// The parameters of networks with parts that an array holds.
std::vector<std::int32_t> to_parameters(const Networks& networks, const Integers& values) {
  std::vector<std::int32_t> parameters = networks.parameters();
  if (values.size() != parameters.size())
    throw std::invalid_argument("the parameters don't fit the architecture");
  check_weights(values.data(), values.size());
  std::copy_n(values.data(), values.size(), parameters.begin());
  return parameters;
}

// Networks of another architecture would be read out of bounds.
void check_fits(const Architecture& architecture, const Networks& networks) {
  const auto same = [](const std::vector<QuantisedMlp>& mlps,
                       const std::vector<std::vector<int>>& widths) {
    return std::equal(
        mlps.begin(), mlps.end(), widths.begin(), widths.end(),
        [](const QuantisedMlp& m, const std::vector<int>& w) { return m.widths == w; });
  };
  if (!same(networks.arms, architecture.arm_widths()) ||
      !same(networks.syntheses, architecture.synthesis_widths(networks.references)) ||
      static_cast<int>(networks.kernel.size()) != architecture.kernel * architecture.kernel)
    throw std::invalid_argument("the networks are of another architecture");
}

Networks make_networks(const Architecture& architecture, int references, int magnitude_bits) {
  if (references < 0 || references > 2 || magnitude_bits < 0 ||
      magnitude_bits > vireo::kMaxMagnitudeBits)
    throw std::invalid_argument("references are 0 ... 2, magnitude bits 0 ... 12");
  Networks networks = Networks::zeros(architecture, references);
  networks.magnitude_bits = magnitude_bits;
  return networks;
}

// A base to code networks against.
std::vector<std::int32_t> to_base(const Networks& networks, int number, const Integers& values) {
  check_parts(networks, true);
  const int reference = number - vireo::kReferenceBase;
  const bool known = reference >= 0 ? reference < networks.references
                                    : number >= 0 && number < 1 << vireo::kSetBits;
  if (!known) throw std::invalid_argument("no such base");
  return to_parameters(networks, values);
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
    throw nb::value_error("a network parameter or a corner's motion is out of range, or the base doesn't exist");
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

Latents to_latents(const Architecture& architecture,
                   const std::vector<Matrix<std::int16_t>>& grids, int references) {
  if (grids.size() != architecture.latent_grids(references).size())
    throw std::invalid_argument("as many latent grids as the architecture has are needed");
  Latents latents;
  for (const auto& grid : grids) latents.push_back(to_plane(grid));
  const Latents expected = vireo::make_latents(architecture, references, latents[0].height,
                                               latents[0].width);
  for (std::size_t k = 0; k < latents.size(); ++k)
    if (latents[k].height != expected[k].height || latents[k].width != expected[k].width)
      throw std::invalid_argument("a latent grid has the wrong size");
  for (std::size_t k = architecture.latent_grids(0).size(); k < latents.size(); ++k)
    for (const std::int16_t q : latents[k].samples)
      if (q > vireo::kMaxMotion || q < -vireo::kMaxMotion)
        throw std::invalid_argument("a latent of motion is in -4095 ... 4095");
  return latents;
}

Latents to_latents(const Architecture& architecture, const Networks& networks,
                   const std::vector<Matrix<std::int16_t>>& grids) {
  check_fits(architecture, networks);
  Latents latents = to_latents(architecture, grids, networks.references);
  const int most = (1 << networks.magnitude_bits) - 1;
  for (std::size_t k = 0; k < architecture.latent_grids(0).size(); ++k)
    for (const std::int16_t q : latents[k].samples)
      if (q > most || q < -most)
        throw std::invalid_argument("a latent is beyond what the networks allow");
  return latents;
}

nb::list to_list(Latents&& latents) {
  nb::list list;
  for (auto& grid : latents) list.append(to_numpy(std::move(grid)));
  return list;
}

vireo::PlaneView to_view(const Samples& plane) {
  return {plane.data(), static_cast<int>(plane.shape(0)), static_cast<int>(plane.shape(1))};
}

std::vector<vireo::PictureView> to_pictures(const References& references, int height, int width) {
  std::vector<vireo::PictureView> pictures;
  for (const auto& planes : references) {
    if (planes.size() != 3) throw std::invalid_argument("a reference has three planes");
    const vireo::PictureView picture{to_view(planes[0]), to_view(planes[1]), to_view(planes[2])};
    for (int c = 0; c < 3; ++c)
      if (picture[c].height != height >> (c > 0) || picture[c].width != width >> (c > 0))
        throw std::invalid_argument("a reference has the wrong size");
    pictures.push_back(picture);
  }
  return pictures;
}

// What a frame's vectors begin with: x and y per reference, or none.
vireo::InheritedMotion to_inherited(const std::vector<Matrix<std::int32_t>>& planes,
                                    std::size_t references, int height, int width) {
  vireo::InheritedMotion inherited;
  for (const auto& plane : planes) inherited.push_back(to_plane(plane));
  if (const char* fault = vireo::inherited_fault(inherited, references, height, width))
    throw std::invalid_argument(fault);
  return inherited;
}

constexpr const char* kOneBeginning =
    "vectors begin with a reference's motion or with the whole picture's, not with both";

void check_inherited(const Networks& networks, const vireo::InheritedMotion& inherited) {
  if (networks.begins() == inherited.empty())
    throw std::invalid_argument("what vectors begin with is given where networks say so, and only there");
}

// Of a frame's luma grids, or none.
vireo::TemporalContexts to_temporal(const Architecture& architecture, int references,
                                    const Latents& latents,
                                    const std::vector<Matrix<std::int16_t>>& planes) {
  vireo::TemporalContexts temporal;
  if (planes.empty()) return temporal;
  if (!architecture.parts || references == 0 || planes.size() != static_cast<std::size_t>(architecture.grids))
    throw std::invalid_argument(
        "luma's grids have a temporal context each, with parts and references");
  for (std::size_t k = 0; k < planes.size(); ++k) {
    temporal.push_back(to_plane(planes[k]));
    if (temporal[k].height != latents[k].height || temporal[k].width != latents[k].width)
      throw std::invalid_argument("a temporal context has its grid's size");
    for (const std::int16_t c : temporal[k].samples)
      if (c < 0 || c > vireo::kMostTemporal)
        throw std::invalid_argument("a temporal context is in 0 ... 15");
  }
  return temporal;
}

// What is being decoded of one frame: grids fill up as sections arrive.
class LatentReader {
 public:
  LatentReader(const Architecture& architecture, const Networks& networks, int height, int width)
      : architecture_(architecture),
        networks_(networks),
        latents_(vireo::make_latents(architecture, networks.references, height, width)) {
    check_fits(architecture, networks);
  }

  int tiles() const { return vireo::tile_count(architecture_, latents_); }
  int luma_tiles() const { return vireo::luma_tile_count(architecture_, latents_); }
  // How many of them, the first ones, need no reference's samples.
  int free_tiles() const {
    return architecture_.parts && networks_.references > 0 && !given_
               ? tiles() - luma_tiles()
               : tiles();
  }

  // Tiles that need no reference's samples; or, given the references, the others.
  void read(vireo::TileDecoder& decoder, int first, int count, const References* references) {
    std::vector<vireo::PictureView> pictures;
    if (references) {
      if (static_cast<int>(references->size()) != networks_.references)
        throw std::invalid_argument("as many references as the frame type says are needed");
      pictures = to_pictures(*references, latents_[0].height, latents_[0].width);
      check_inherited(networks_, inherited_);
    }
    bool fine;
    {
      nb::gil_scoped_release release;
      fine = decoder.decode(architecture_, networks_, first, count,
                            [&]() -> const vireo::TemporalContexts& {
                              std::call_once(once_, [&] { find_temporal(pictures); });
                              return temporal_;
                            },
                            latents_);
    }
    if (!fine) throw nb::value_error("a tile has a mode that doesn't exist");
  }

  nb::list grids() const { return to_list(Latents(latents_)); }
  // Empty where nothing asked for them.
  nb::list temporal() const { return to_list(Latents(temporal_)); }
  const Latents& latents() const { return latents_; }
  const Networks& networks() const { return networks_; }
  void set_temporal(const std::vector<Matrix<std::int16_t>>& planes) {
    temporal_ = to_temporal(architecture_, networks_.references, latents_, planes);
    given_ = true;
  }
  bool inherits() const { return !inherited_.empty(); }
  void set_inherited(const std::vector<Matrix<std::int32_t>>& planes) {
    inherited_ = to_inherited(planes, static_cast<std::size_t>(networks_.references),
                              latents_[0].height, latents_[0].width);
  }
  const vireo::InheritedMotion& inherited() const { return inherited_; }
  nb::list vectors() const {
    if (!architecture_.parts) throw std::invalid_argument("vectors are of parts");
    vireo::BlockFields blocks;
    {
      nb::gil_scoped_release release;
      blocks = fields();
    }
    nb::list list;
    for (std::size_t f = 0; f < 2 * static_cast<std::size_t>(networks_.references); ++f)
      list.append(to_numpy(std::move(blocks.values[f])));
    return list;
  }

 private:
  vireo::BlockFields fields() const {
    return vireo::frame_fields(architecture_, latents_, networks_.references, inherited_);
  }
  void find_temporal(const std::vector<vireo::PictureView>& pictures) {
    if (pictures.empty() || given_) return;
    temporal_ = vireo::temporal_contexts(architecture_, fields(), pictures, latents_[0].height,
                                         latents_[0].width);
  }

  Architecture architecture_;
  Networks networks_;
  Latents latents_;
  vireo::InheritedMotion inherited_;
  std::once_flag once_;
  vireo::TemporalContexts temporal_;
  bool given_ = false;
};

// A section of latents on its way into a frame's grids.
class SectionReader {
 public:
  SectionReader(LatentReader& reader, Bytes data, int first, int count, bool behind_networks)
      : reader_(reader),
        data_(data),
        decoder_(data.data(), data.size(), start(reader, behind_networks)),
        next_(first) {
    if (first < 0 || count < 1 || count > reader.tiles() - first)
      throw nb::value_error("a section names tiles that the picture doesn't have");
    end_ = first + count;
  }

  // What stands before the tiles, if it is networks that follow from a base.
  static const Networks* start(const LatentReader& reader, bool behind_networks) {
    if (!behind_networks) return nullptr;
    check_parts(reader.networks(), true);
    return &reader.networks();
  }

  // As many tiles as need no reference's samples, or with references all that are left.
  void read(const References* references) {
    const int end = references ? end_ : std::min(end_, reader_.free_tiles());
    if (next_ >= end) return;
    reader_.read(decoder_, next_, end - next_, references);
    next_ = end;
  }
  bool done() const { return next_ == end_; }

 private:
  LatentReader& reader_;
  Bytes data_;
  vireo::TileDecoder decoder_;
  int next_, end_ = 0;
};

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
  Plane<std::int16_t> planes[3] = {{height, width}, {height / 2, width / 2}, {height / 2, width / 2}};
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

nb::tuple reconstruct(const Architecture& architecture, const Networks& networks,
                      const Latents& latents, const References& references, bool with_signals,
                      const vireo::InheritedMotion& inherited, vireo::StageTimes* times = nullptr) {
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

template <std::size_t contexts>
nb::object table_of(const std::array<std::array<std::int32_t, 2>, contexts>& counts) {
  Plane<std::int32_t> table(static_cast<int>(contexts), 2);
  for (std::size_t i = 0; i < contexts; ++i)
    std::copy_n(counts[i].data(), 2, table.row(static_cast<int>(i)));
  return to_numpy(std::move(table));
}

}  // namespace

NB_MODULE(_core, m) {
  m.doc() = "Vireo's compiled core: exact integer decoding.";

  m.def(
      "crc32c",
      [](Bytes data, std::uint32_t previous) {
        // What is done at once isn't worth waiting for the interpreter afterwards.
        if (data.size() < 1 << 16) return vireo::crc32c(data.data(), data.size(), previous);
        nb::gil_scoped_release release;
        return vireo::crc32c(data.data(), data.size(), previous);
      },
      "data"_a, "previous"_a = 0,
      "CRC-32C of a contiguous uint8 array; `previous` continues an earlier checksum.");

  nb::enum_<vireo::Isa>(m, "Isa", "Instruction sets that the kernels are built for.")
      .value("BASELINE", vireo::Isa::kBaseline)
      .value("AVX2", vireo::Isa::kAvx2)
      .value("AVX512", vireo::Isa::kAvx512)
      .value("AVX512_VNNI", vireo::Isa::kAvx512Vnni);
  m.def("has_isa", &vireo::has_isa, "isa"_a, "Whether this machine can run that build.");
  m.def("force_isa", &vireo::force_isa, "isa"_a, "Use that build from now on (for tests).");

  m.def("measure_peak", &vireo::measure_peak,
        "16-bit multiply-adds per second that one core does at best, with the build in use.");

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
             if (p.size() != n.kernel.size()) throw std::invalid_argument("the kernel has another size");
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

  nb::class_<vireo::StageTimes>(m, "StageTimes", "Seconds that a reconstruction took.")
      .def(nb::init<>())
      .def_ro("upsampling", &vireo::StageTimes::upsampling)
      .def_ro("synthesis", &vireo::StageTimes::synthesis)
      .def_ro("inter", &vireo::StageTimes::inter)
      .def_ro("filter", &vireo::StageTimes::filter);

  nb::class_<LatentReader>(m, "LatentReader", "The latents of one frame as its sections arrive.")
      .def(nb::init<const Architecture&, const Networks&, int, int>(), "architecture"_a,
           "networks"_a, "height"_a, "width"_a)
      .def_prop_ro("tiles", &LatentReader::tiles)
      .def_prop_ro("luma_tiles", &LatentReader::luma_tiles)
      .def_prop_ro("free_tiles", &LatentReader::free_tiles)
      .def("set_temporal", &LatentReader::set_temporal, "planes"_a,
           "Gives luma's temporal contexts, which come from the references otherwise.")
      .def("vectors", &LatentReader::vectors,
           "Of each block, x and y per reference in 1/64 sample, with what is inherited.")
      .def("set_inherited", &LatentReader::set_inherited, "planes"_a,
           "Gives what the frame's vectors begin with, before anything asks for it.")
      .def_prop_ro("inherits", &LatentReader::inherits, "Whether that is given.")
      .def("temporal", &LatentReader::temporal,
           "Luma's temporal contexts; empty where nothing has asked for them.")
      .def("grids", &LatentReader::grids)
      .def(
          "reconstruct",
          [](const LatentReader& r, const Architecture& a, const Networks& n,
             const References& references, vireo::StageTimes* times) {
            check_fits(a, n);
            if (r.latents().size() != a.latent_grids(n.references).size())
              throw std::invalid_argument("as many latent grids as the architecture has are needed");
            return reconstruct(a, n, r.latents(), references, false, r.inherited(), times);
          },
          "architecture"_a, "networks"_a, "references"_a, "times"_a = nb::none());
  nb::class_<SectionReader>(m, "SectionReader", "One section's tiles, `count` from `first` on.")
      .def(nb::init<LatentReader&, Bytes, int, int, bool>(), nb::keep_alive<1, 2>(), "latents"_a,
           "data"_a, "first"_a, "count"_a, "behind_networks"_a = false)
      .def_prop_ro("done", &SectionReader::done)
      .def(
          "read",
          [](SectionReader& r, const std::optional<References>& references) {
            r.read(references ? &*references : nullptr);
          },
          "references"_a = nb::none(),
          "Tiles that need no reference's samples; given these, all that are left.");

  m.def(
      "encode_latents",
      [](const Architecture& a, const Networks& n, const std::vector<Matrix<std::int16_t>>& grids,
         int first, int count, const std::vector<Matrix<std::int16_t>>& planes,
         std::optional<int> number, const std::optional<Integers>& base) {
        const Latents latents = to_latents(a, n, grids);
        const vireo::TemporalContexts temporal = to_temporal(a, n.references, latents, planes);
        if (number.has_value() != base.has_value())
          throw std::invalid_argument("an update has a base and its number");
        std::vector<std::int32_t> known;
        if (base) known = to_base(n, *number, *base);
        if (first < 0 || count < 1 || count > vireo::tile_count(a, latents) - first)
          throw std::invalid_argument("no such tiles");
        std::vector<std::uint8_t> data;
        {
          nb::gil_scoped_release release;
          const vireo::CodedUpdate update{number.value_or(0), known};
          data = vireo::encode_latents(a, n, latents, temporal, first, count,
                                       base ? &update : nullptr);
        }
        return to_bytes(data);
      },
      "architecture"_a, "networks"_a, "grids"_a, "first"_a, "count"_a,
      "temporal"_a = nb::list(), "number"_a = nb::none(), "base"_a = nb::none(),
      "Tiles as a section holds them; behind an update of base `number`, if `base` is given.");
  m.def(
      "tile_count",
      [](const Architecture& a, int height, int width, int references) {
        return vireo::tile_count(a, vireo::make_latents(a, references, height, width));
      },
      "architecture"_a, "height"_a, "width"_a, "references"_a = 0);
  m.def(
      "measure_latents",
      [](const Architecture& a, const Networks& n, const std::vector<Matrix<std::int16_t>>& grids,
         const std::vector<Matrix<std::int16_t>>& planes) {
        const Latents latents = to_latents(a, n, grids);
        const vireo::TemporalContexts temporal = to_temporal(a, n.references, latents, planes);
        nb::gil_scoped_release release;
        return vireo::measure_latents(a, n, latents, temporal);
      },
      "architecture"_a, "networks"_a, "grids"_a, "temporal"_a = nb::list(), "Bits per grid.");
  m.def(
      "count_motion",
      [](const Architecture& a, const std::vector<Matrix<std::int16_t>>& grids, int references) {
        if (!a.parts || references < 1 || references > 2)
          throw std::invalid_argument("motion is of parts, from 1 or 2 references");
        return table_of(vireo::count_motion(a, to_latents(a, grids, references), references));
      },
      "architecture"_a, "grids"_a, "references"_a,
      "How often each of motion's decisions came out 0 and 1: [contexts, 2].");
  m.def(
      "count_frame",
      [](const Architecture& a, const Networks& n, const std::vector<Matrix<std::int16_t>>& grids,
         const std::vector<Matrix<std::int16_t>>& temporal, int number, const Integers& base) {
        const Latents latents = to_latents(a, n, grids);
        const std::vector<std::int32_t> parameters = to_base(n, number, base);
        const vireo::TemporalContexts seen = to_temporal(a, n.references, latents, temporal);
        std::array<std::array<std::int32_t, 2>, vireo::kFrameContexts> counts;
        {
          nb::gil_scoped_release release;
          counts = vireo::count_frame(a, n, latents, seen, {number, parameters});
        }
        return table_of(counts);
      },
      "architecture"_a, "networks"_a, "grids"_a, "temporal"_a, "number"_a, "base"_a,
      "How often each of a frame's other decisions came out 0 and 1: [contexts, 2].");
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

  bind_entropy(m);
}
