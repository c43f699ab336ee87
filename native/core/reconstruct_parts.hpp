#pragma once

#include <vector>

#include "core/coolchic.hpp"

namespace vireo {

// `reconstruct` where luma, chroma and motion have latents of their own.
Picture reconstruct_parts(const Architecture& architecture, const Networks& networks,
                          const Latents& latents, const std::vector<PictureView>& references,
                          const InheritedMotion& inherited, StageTimes* times);

}  // namespace vireo
