// What the prediction tells of the latents that code its residual (docs/bitstream.md, "Temporal
// contexts").
#pragma once

#include <cstdint>
#include <vector>

#include "core/coolchic.hpp"
#include "core/prediction.hpp"

namespace vireo {

constexpr int kTemporalLevels = 4;    // levels that are told apart: 0, 1, 2, and all above
constexpr int kTemporalInputs = 10;   // six features, and which level it is
constexpr int kTemporalHidden = 8;
constexpr int kTemporalParameters =
    kTemporalHidden * (kTemporalInputs + 1) + kTemporalHidden + 1;
constexpr int kFeatureBits = 3;       // fractional bits of a feature
constexpr std::int16_t kMostTemporal = 15;
constexpr std::int16_t kMostSample = 255 * 64;  // in 1/64

// Values 0 ... kMostTemporal, of a frame with references.
TemporalContexts temporal_contexts(const Architecture& architecture, const BlockFields& fields,
                                   const std::vector<PictureView>& references, int height,
                                   int width);

}  // namespace vireo
