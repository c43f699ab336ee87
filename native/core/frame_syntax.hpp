// What a frame with parts says in decisions, besides motion (docs/bitstream.md, "Networks" and
// "Latents"): how its update of networks begins, and the modes of its tiles.
#pragma once

#include "core/coolchic.hpp"
#include "core/decisions.hpp"

namespace vireo {

enum TileMode { kEmpty = 0, kFull = 1, kMapped = 2 };
// Luma's tiles, U's, whose models see V's, and V's.
enum TilePlane { kTileY, kTileU, kTileV };

using FrameDecisions = Decisions<kFrameContexts>;

inline FrameDecisions initial_frame_decisions(const Parts& parts, int references) {
  return initial_decisions<kFrameContexts>(parts.frame_probabilities.data(), references);
}

template <class Coder>
class FrameSyntax {
 public:
  FrameSyntax(Coder& coder, int references) : coder_(coder), references_(references) {}

  bool inherits(bool value) { return references_ > 0 && coder_.bit(kInherits, value); }

  // Whether vectors begin with the whole picture's motion; not asked of those that inherit.
  bool global(bool inherits, bool value) {
    return references_ > 0 && !inherits && coder_.bit(kGlobal, value);
  }

  bool filtered(int plane, bool value) { return coder_.bit(kFiltered + plane, value); }

  int magnitude_bits(int value) {
    int n = 0;
    while (n < kMaxMagnitudeBits && coder_.bit(kMagnitude + n, n < value)) ++n;
    return n;
  }

  // A base's number: of a set, or kReferenceBase and above.
  int base(int value) {
    const bool reference = value >= kReferenceBase;
    if (references_ > 0 && coder_.bit(kOfReference, reference)) {
      const bool second = references_ == 2 && coder_.bit(kOfSecond, value > kReferenceBase);
      return kReferenceBase + second;
    }
    int number = 0;
    for (int i = kSetBits - 1; i >= 0; --i) number |= coder_.raw(value >> i & 1) << i;
    return number;
  }

  // Whether any group of parameters changes, and whether one does.
  bool updated(bool value) { return coder_.bit(kUpdated, value); }
  bool changed(int group, bool value) { return coder_.bit(kGroup + group, value); }

  TileMode mode(TilePlane plane, int level, TileMode value) {
    const int at = plane * kLevels + (level < kLevels ? level : kLevels - 1);
    if (!coder_.bit(kLive + at, value != kEmpty)) return kEmpty;
    return coder_.bit(kMap + (plane != kTileY), value == kMapped) ? kMapped : kFull;
  }

 private:
  static constexpr int kLevels = 7;   // those beyond share the last one's contexts
  static constexpr int kGroups = 11;
  // Where each kind of decision has its contexts.
  static constexpr int kInherits = 0;
  static constexpr int kFiltered = kInherits + 1;              // [plane]
  static constexpr int kMagnitude = kFiltered + 2;             // [bits so far]
  static constexpr int kOfReference = kMagnitude + kMaxMagnitudeBits;
  static constexpr int kOfSecond = kOfReference + 1;
  static constexpr int kUpdated = kOfSecond + 1;
  static constexpr int kGroup = kUpdated + 1;                  // [group]
  static constexpr int kLive = kGroup + kGroups;               // [plane][level]
  static constexpr int kMap = kLive + 3 * kLevels;             // [chroma]
  static constexpr int kGlobal = kMap + 2;
  static_assert(kGlobal + 1 == kFrameContexts);

  Coder& coder_;
  int references_;
};

}  // namespace vireo
