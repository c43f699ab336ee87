// Updates of networks in a section of latents, before its tiles (docs/bitstream.md, "Networks").
#pragma once

#include "core/coolchic.hpp"
#include "core/decisions.hpp"
#include "core/range_coder.hpp"

namespace vireo {

void write_update(RangeEncoder& coder, const Networks& networks, const CodedUpdate& coded);
void count_update(DecisionCounter<kFrameContexts>& counter, const Networks& networks,
                  const CodedUpdate& coded);
// Passes over what decode_update has accepted, for networks of the same shapes.
void skip_update(RangeDecoder& coder, const Networks& networks);

}  // namespace vireo
