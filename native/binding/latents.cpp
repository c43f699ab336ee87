// Latents from and to bytes, and what is counted of them.
#include <array>
#include <mutex>
#include <optional>

#include "binding/coolchic.hpp"

namespace {

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

template <std::size_t contexts>
nb::object table_of(const std::array<std::array<std::int32_t, 2>, contexts>& counts) {
  Plane<std::int32_t> table(static_cast<int>(contexts), 2);
  for (std::size_t i = 0; i < contexts; ++i)
    std::copy_n(counts[i].data(), 2, table.row(static_cast<int>(i)));
  return to_numpy(std::move(table));
}

}  // namespace

void bind_latents(nb::module_& m) {
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
              throw std::invalid_argument(
                  "as many latent grids as the architecture has are needed");
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
}
