#include "core/symbols.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/exp_golomb.hpp"

namespace vireo {

bool SymbolTable::valid(std::int32_t low, const std::vector<std::uint32_t>& bounds) {
  if (low < -32768 || bounds.size() < 2 || bounds.size() > kProbabilityOne) return false;
  if (low + static_cast<std::int64_t>(bounds.size()) - 2 > 32767) return false;
  if (bounds.front() != 0 || bounds.back() >= kProbabilityOne) return false;
  return std::adjacent_find(bounds.begin(), bounds.end(),
                            [](auto a, auto b) { return a >= b; }) == bounds.end();
}

SymbolTable::SymbolTable(std::int32_t low, std::vector<std::uint32_t> bounds)
    : low_(low), bounds_(std::move(bounds)) {
  bounds_.push_back(kProbabilityOne);
  std::size_t i = 0;
  for (std::size_t coarse = 0; coarse < first_.size(); ++coarse) {
    while (bounds_[i + 1] <= coarse << kCoarseShift) ++i;
    first_[coarse] = static_cast<std::uint16_t>(i);
  }
}

// Beyond the symbols, by turns above and below: 0, 1, 2 … are high + 1, low - 1, high + 2 …
std::uint32_t SymbolTable::distance(std::int32_t value) const {
  return value > high() ? 2 * static_cast<std::uint32_t>(value - high() - 1)
                        : 2 * static_cast<std::uint32_t>(low_ - 1 - value) + 1;
}

std::int32_t SymbolTable::decode_escape(RangeDecoder& coder) const {
  const std::uint32_t d = decode_exp_golomb(coder);
  const auto steps = static_cast<std::int32_t>(d >> 1);
  const std::int32_t value = d & 1 ? low_ - 1 - steps : high() + 1 + steps;
  return std::clamp(value, -32768, 32767);
}

void SymbolTable::encode(RangeEncoder& coder, std::int32_t value) const {
  if (value >= low_ && value <= high()) {
    const auto i = static_cast<std::size_t>(value - low_);
    coder.put(bounds_[i], bounds_[i + 1] - bounds_[i]);
    return;
  }
  const std::uint32_t escape = bounds_[bounds_.size() - 2];
  coder.put(escape, kProbabilityOne - escape);
  encode_exp_golomb(coder, distance(value));
}

double SymbolTable::bits(std::int32_t value) const {
  const bool inside = value >= low_ && value <= high();
  const std::size_t i = inside ? static_cast<std::size_t>(value - low_) : bounds_.size() - 2;
  const double own = kProbabilityBits - std::log2(bounds_[i + 1] - bounds_[i]);
  return inside ? own : own + exp_golomb_bits(distance(value));
}

std::vector<std::uint8_t> SymbolTables::encode(const std::int16_t* values,
                                               const std::uint8_t* indices,
                                               std::size_t count) const {
  RangeEncoder coder;
  for (std::size_t i = 0; i < count; ++i) tables_[indices[i]].encode(coder, values[i]);
  return coder.finish();
}

void SymbolTables::decode(const std::uint8_t* data, std::size_t size, const std::uint8_t* indices,
                          std::int16_t* values, std::size_t count) const {
  RangeDecoder coder(data, size);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<std::int16_t>(tables_[indices[i]].decode(coder));
}

double SymbolTables::bits(const std::int16_t* values, const std::uint8_t* indices,
                          std::size_t count) const {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += tables_[indices[i]].bits(values[i]);
  return sum;
}

}  // namespace vireo
