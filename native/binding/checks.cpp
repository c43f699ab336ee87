#include "binding/coolchic.hpp"

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

std::vector<std::int32_t> to_parameters(const Networks& networks, const Integers& values) {
  std::vector<std::int32_t> parameters = networks.parameters();
  if (values.size() != parameters.size())
    throw std::invalid_argument("the parameters don't fit the architecture");
  check_weights(values.data(), values.size());
  std::copy_n(values.data(), values.size(), parameters.begin());
  return parameters;
}

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

std::vector<std::int32_t> to_base(const Networks& networks, int number, const Integers& values) {
  check_parts(networks, true);
  const int reference = number - vireo::kReferenceBase;
  const bool known = reference >= 0 ? reference < networks.references
                                    : number >= 0 && number < 1 << vireo::kSetBits;
  if (!known) throw std::invalid_argument("no such base");
  return to_parameters(networks, values);
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

vireo::InheritedMotion to_inherited(const std::vector<Matrix<std::int32_t>>& planes,
                                    std::size_t references, int height, int width) {
  vireo::InheritedMotion inherited;
  for (const auto& plane : planes) inherited.push_back(to_plane(plane));
  if (const char* fault = vireo::inherited_fault(inherited, references, height, width))
    throw std::invalid_argument(fault);
  return inherited;
}

void check_inherited(const Networks& networks, const vireo::InheritedMotion& inherited) {
  if (networks.begins() == inherited.empty())
    throw std::invalid_argument(
        "what vectors begin with is given where networks say so, and only there");
}

vireo::TemporalContexts to_temporal(const Architecture& architecture, int references,
                                    const Latents& latents,
                                    const std::vector<Matrix<std::int16_t>>& planes) {
  vireo::TemporalContexts temporal;
  if (planes.empty()) return temporal;
  if (!architecture.parts || references == 0 ||
      planes.size() != static_cast<std::size_t>(architecture.grids))
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
