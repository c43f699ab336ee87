// Indices of codebooks under adaptive frequencies.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/range_coder.hpp"

namespace vireo {

// Up to three symbols, each once, rising.
class Excluded {
 public:
  void add(std::uint16_t symbol) {
    std::size_t at = count_;
    for (; at > 0 && symbols_[at - 1] >= symbol; --at)
      if (symbols_[at - 1] == symbol) return;
    for (std::size_t i = count_++; i > at; --i) symbols_[i] = symbols_[i - 1];
    symbols_[at] = symbol;
  }
  bool has(std::uint16_t symbol) const {
    for (const auto s : *this)
      if (s == symbol) return true;
    return false;
  }
  const std::uint16_t* begin() const { return symbols_.data(); }
  const std::uint16_t* end() const { return symbols_.data() + count_; }

 private:
  std::array<std::uint16_t, 3> symbols_{};
  std::size_t count_ = 0;
};

// Frequencies of symbols that rise where a symbol is met, in a binary indexed tree.
class AdaptiveTable {
 public:
  static constexpr std::uint32_t kRise = 32;
  static constexpr std::uint32_t kMost = 1u << 18;  // of all together; then all are halved

  // `frequencies` are at least 1 each; their number is a power of two up to 2**16.
  explicit AdaptiveTable(std::vector<std::uint32_t> frequencies);

  const std::vector<std::uint32_t>& frequencies() const { return frequencies_; }

  // `excluded` are symbols that it isn't, rising; where they are all there are, it is any.
  std::uint32_t decode(RangeDecoder& coder, const Excluded& excluded);
  void encode(RangeEncoder& coder, std::uint32_t symbol, const Excluded& excluded);

 private:
  std::uint32_t below(std::uint32_t symbol) const;
  void meet(std::uint32_t symbol);
  void build();
  // Of all symbols together but the excluded ones; 0 where none is left.
  std::uint32_t rest(const Excluded& excluded) const;

  std::vector<std::uint32_t> frequencies_;
  std::vector<std::uint32_t> tree_;
  std::uint32_t total_ = 0;
};

// One stage of a frame's indices: `books` of them per place, each below `size`.
struct IndexStage {
  std::uint32_t rows, columns, books, size;
};

// Codes frame after frame, and adapts. The last stage has the fewest places; a window is one of
// them, with what the other stages have there.
class IndexCoder {
 public:
  // Each stage's rows and columns are multiples of the last one's, `frequencies` has `size` of
  // each book of each stage. Checked by the caller.
  IndexCoder(std::vector<IndexStage> stages,
             const std::vector<std::vector<std::uint32_t>>& frequencies);

  std::size_t count() const { return count_; }
  std::size_t windows() const { return stages_.back().rows * std::size_t{stages_.back().columns}; }
  const std::vector<IndexStage>& stages() const { return stages_; }

  // What it is adapted to: of each book of each stage the frequencies of entries, and how likely
  // an index is that of the frame before, by how many of the left one, the one above and the book
  // before are (3 for that), in 2**-16.
  struct Statistics {
    std::vector<std::uint32_t> frequencies;
    std::array<std::uint32_t, 6> as_before;
  };
  std::vector<Statistics> statistics() const;

  // `indices` are those of all stages, place by place, book by book. `before` are those of the
  // frame before, or null. `skips` has a 1 for each window that is as it was, or is null where
  // the frame has no such.
  std::vector<std::uint8_t> encode(const std::uint16_t* indices, const std::uint16_t* before,
                                   const std::uint8_t* skips);
  // Skipped windows get the indices of `before`, which then is needed.
  void decode(const std::uint8_t* data, std::size_t size, std::uint16_t* indices,
              const std::uint16_t* before, std::uint8_t* skips);

 private:
  struct Book {
    explicit Book(AdaptiveTable frequencies) : table(std::move(frequencies)) {}
    AdaptiveTable table;
    std::array<AdaptiveBit, 6> as_before;
    AdaptiveBit as_left, as_above;
  };

  template <class Coder>
  void code(Coder& coder, std::uint16_t* indices, const std::uint16_t* before,
            std::uint8_t* skips);
  template <class Coder>
  void code_skips(Coder& coder, std::uint8_t* skips);

  std::vector<IndexStage> stages_;
  std::size_t count_ = 0;
  std::vector<Book> books_;
  std::array<AdaptiveBit, 3> skip_;
};

}  // namespace vireo
