// Integers coded under integer tables, one of many for each: latents of a codec whose networks
// say which table an integer has (docs/bitstream.md, "Symbols under tables").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/range_coder.hpp"

namespace vireo {

// One distribution. Symbol i, 0 <= i < symbols, stands for low + i and has the frequency
// bounds[i + 1] - bounds[i] of 2**16; what the last bound leaves is that of an escape, behind
// which the distance to the nearest symbol follows.
class SymbolTable {
 public:
  // `bounds` rise strictly from 0 to less than 2**16, so that every symbol and the escape have
  // room; at least two, at most 2**16.
  SymbolTable(std::int32_t low, std::vector<std::uint32_t> bounds);

  static bool valid(std::int32_t low, const std::vector<std::uint32_t>& bounds);

  std::int32_t decode(RangeDecoder& coder) const {
    const std::uint64_t unit = coder.unit();
    std::uint64_t at = coder.code() / unit;
    if (at >= kProbabilityOne) at = kProbabilityOne - 1;
    std::size_t i = first_[at >> kCoarseShift];
    while (bounds_[i + 1] <= at) ++i;
    coder.take(unit, bounds_[i], bounds_[i + 1] - bounds_[i]);
    if (i + 2 == bounds_.size()) return decode_escape(coder);
    return low_ + static_cast<std::int32_t>(i);
  }

  void encode(RangeEncoder& coder, std::int32_t value) const;
  // Of `value`, in bits.
  double bits(std::int32_t value) const;

 private:
  static constexpr int kCoarseBits = 8;
  static constexpr int kCoarseShift = kProbabilityBits - kCoarseBits;

  std::int32_t high() const { return low_ + static_cast<std::int32_t>(bounds_.size()) - 3; }
  std::uint32_t distance(std::int32_t value) const;
  std::int32_t decode_escape(RangeDecoder& coder) const;

  std::int32_t low_;
  std::vector<std::uint32_t> bounds_;  // then that of the escape, 2**16
  // The symbol that each 256th of the range begins in.
  std::array<std::uint16_t, 1 << kCoarseBits> first_;
};

// Distributions to choose from: each of `count` values is under the table that its index names.
class SymbolTables {
 public:
  explicit SymbolTables(std::vector<SymbolTable> tables) : tables_(std::move(tables)) {}

  std::size_t size() const { return tables_.size(); }
  const SymbolTable& front() const { return tables_.front(); }
  std::vector<std::uint8_t> encode(const std::int16_t* values, const std::uint8_t* indices,
                                   std::size_t count) const;
  void decode(const std::uint8_t* data, std::size_t size, const std::uint8_t* indices,
              std::int16_t* values, std::size_t count) const;
  // What encode spends.
  double bits(const std::int16_t* values, const std::uint8_t* indices, std::size_t count) const;

 private:
  friend class SymbolEncoder;
  friend class SymbolDecoder;

  std::vector<SymbolTable> tables_;
};

// One stream of symbols whose indices become known as it is made, some at a time.
class SymbolEncoder {
 public:
  explicit SymbolEncoder(const SymbolTables& tables) : tables_(tables.tables_) {}

  void encode(const std::int16_t* values, const std::uint16_t* indices, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) tables_[indices[i]].encode(coder_, values[i]);
  }
  std::vector<std::uint8_t> finish() { return coder_.finish(); }

 private:
  const std::vector<SymbolTable>& tables_;
  RangeEncoder coder_;
};

// Reads it; `data` stays where it is as long as this is used.
class SymbolDecoder {
 public:
  SymbolDecoder(const SymbolTables& tables, const std::uint8_t* data, std::size_t size)
      : tables_(tables.tables_), coder_(data, size) {}

  void decode(const std::uint16_t* indices, std::int16_t* values, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
      values[i] = static_cast<std::int16_t>(tables_[indices[i]].decode(coder_));
  }

 private:
  const std::vector<SymbolTable>& tables_;
  RangeDecoder coder_;
};

}  // namespace vireo
