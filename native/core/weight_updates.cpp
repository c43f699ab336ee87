#include "core/weight_updates.hpp"

#include <algorithm>

#include "core/range_coder.hpp"

namespace vireo {
namespace {

// Whether a value changes: how often the tensor's values did so far, and before the first one
// value in 128 as if so many had been seen.
struct RareBit {
  static constexpr int kFirst = 128, kSlowest = 8192;
  static constexpr int kFineBits = 14;  // behind the 16 of a probability
  static constexpr std::uint32_t kLeast = 4;

  std::uint32_t one = kProbabilityOne / 128;
  std::int32_t fine = static_cast<std::int32_t>(one << kFineBits);
  int pace = kFirst;

  void update(bool bit) {
    const std::int32_t all = static_cast<std::int32_t>(kProbabilityOne << kFineBits);
    fine += ((bit ? all : 0) - fine) / pace;
    pace = std::min(pace + 1, kSlowest);
    one = std::clamp(static_cast<std::uint32_t>(fine) >> kFineBits, kLeast,
                     kProbabilityOne - kLeast);
  }
};

}  // namespace

std::vector<std::uint8_t> encode_updates(const SymbolTable& table, const std::int16_t* values,
                                         const std::vector<std::size_t>& sizes) {
  RangeEncoder coder;
  AdaptiveBit any;
  for (const std::size_t size : sizes) {
    const bool changes = std::any_of(values, values + size, [](auto v) { return v != 0; });
    coder.bit(changes, any);
    if (changes) {
      RareBit here;
      for (std::size_t i = 0; i < size; ++i) {
        coder.bit(values[i] != 0, here);
        if (values[i] != 0) table.encode(coder, values[i]);
      }
    }
    values += size;
  }
  return coder.finish();
}

void decode_updates(const SymbolTable& table, const std::uint8_t* data, std::size_t size,
                    std::int16_t* values, const std::vector<std::size_t>& sizes) {
  RangeDecoder coder(data, size);
  AdaptiveBit any;
  for (const std::size_t count : sizes) {
    const bool changes = coder.bit(any);
    RareBit here;
    for (std::size_t i = 0; i < count; ++i) {
      const bool here_too = changes && coder.bit(here);
      values[i] = here_too ? static_cast<std::int16_t>(table.decode(coder)) : std::int16_t{0};
    }
    values += count;
  }
}

}  // namespace vireo
