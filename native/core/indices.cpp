#include "core/indices.hpp"

#include <utility>

namespace vireo {

namespace {

// The two directions of `IndexCoder::code`: what is coded is given, or comes.
struct Writing {
  RangeEncoder coder;
  bool bit(bool value, AdaptiveBit& model) {
    coder.bit(value, model);
    return value;
  }
  std::uint16_t symbol(std::uint16_t value, AdaptiveTable& table, const Excluded& excluded) {
    table.encode(coder, value, excluded);
    return value;
  }
};

struct Reading {
  RangeDecoder coder;
  bool bit(bool, AdaptiveBit& model) { return coder.bit(model); }
  std::uint16_t symbol(std::uint16_t, AdaptiveTable& table, const Excluded& excluded) {
    return static_cast<std::uint16_t>(table.decode(coder, excluded));
  }
};

}  // namespace

AdaptiveTable::AdaptiveTable(std::vector<std::uint32_t> frequencies)
    : frequencies_(std::move(frequencies)) {
  build();
}

void AdaptiveTable::build() {
  const std::size_t size = frequencies_.size();
  tree_.assign(size + 1, 0);
  total_ = 0;
  for (std::size_t i = 0; i < size; ++i) {
    total_ += frequencies_[i];
    tree_[i + 1] += frequencies_[i];
    const std::size_t next = (i + 1) + ((i + 1) & -(i + 1));
    if (next <= size) tree_[next] += tree_[i + 1];
  }
}

std::uint32_t AdaptiveTable::below(std::uint32_t symbol) const {
  std::uint32_t sum = 0;
  for (std::size_t i = symbol; i > 0; i &= i - 1) sum += tree_[i];
  return sum;
}

void AdaptiveTable::meet(std::uint32_t symbol) {
  frequencies_[symbol] += kRise;
  total_ += kRise;
  if (total_ > kMost) {
    for (auto& f : frequencies_) f = (f + 1) / 2;
    build();
    return;
  }
  for (std::size_t i = symbol + 1; i < tree_.size(); i += i & -i) tree_[i] += kRise;
}

std::uint32_t AdaptiveTable::rest(const Excluded& excluded) const {
  std::uint32_t sum = total_;
  for (const auto symbol : excluded) sum -= frequencies_[symbol];
  return sum;
}

std::uint32_t AdaptiveTable::decode(RangeDecoder& coder, const Excluded& excluded) {
  const std::uint32_t rest_of_all = rest(excluded);
  if (rest_of_all == 0) return decode(coder, Excluded());
  const std::uint64_t unit = coder.share(rest_of_all);
  std::uint64_t at = coder.code() / unit;
  if (at >= rest_of_all) at = rest_of_all - 1;
  for (const auto symbol : excluded)
    if (at >= below(symbol)) at += frequencies_[symbol];
  std::size_t found = 0;
  std::uint32_t start = 0;
  for (std::size_t step = frequencies_.size(); step > 0; step /= 2) {
    const std::size_t next = found + step;
    if (next < tree_.size() && start + tree_[next] <= at) {
      found = next;
      start += tree_[next];
    }
  }
  const auto symbol = static_cast<std::uint32_t>(found);
  for (const auto other : excluded)
    if (other < symbol) start -= frequencies_[other];
  coder.take(unit, start, frequencies_[symbol]);
  meet(symbol);
  return symbol;
}

void AdaptiveTable::encode(RangeEncoder& coder, std::uint32_t symbol, const Excluded& excluded) {
  const std::uint32_t rest_of_all = rest(excluded);
  if (rest_of_all == 0) return encode(coder, symbol, Excluded());
  std::uint32_t start = below(symbol);
  for (const auto other : excluded)
    if (other < symbol) start -= frequencies_[other];
  coder.put_in(rest_of_all, start, frequencies_[symbol]);
  meet(symbol);
}

IndexCoder::IndexCoder(std::vector<IndexStage> stages,
                       const std::vector<std::vector<std::uint32_t>>& frequencies)
    : stages_(std::move(stages)) {
  for (const auto& stage : stages_)
    count_ += std::size_t{stage.rows} * stage.columns * stage.books;
  for (const auto& f : frequencies) books_.emplace_back(AdaptiveTable(f));
}

template <class Coder>
void IndexCoder::code_skips(Coder& coder, std::uint8_t* skips) {
  const auto& windows = stages_.back();
  for (std::uint32_t y = 0; y < windows.rows; ++y)
    for (std::uint32_t x = 0; x < windows.columns; ++x) {
      std::uint8_t* own = skips + std::size_t{y} * windows.columns + x;
      const int context = (x > 0 && own[-1]) + (y > 0 && *(own - windows.columns));
      *own = coder.bit(*own != 0, skip_[context]);
    }
}

template <class Coder>
void IndexCoder::code(Coder& coder, std::uint16_t* indices, const std::uint16_t* before,
                      std::uint8_t* skips) {
  if (skips) code_skips(coder, skips);
  const auto& windows = stages_.back();
  Book* first = books_.data();
  std::vector<std::uint8_t> same;  // of each index, whether it is that of the frame before
  for (const auto& stage : stages_) {
    const std::uint32_t side_y = stage.rows / windows.rows;
    const std::uint32_t side_x = stage.columns / windows.columns;
    const std::size_t row = std::size_t{stage.columns} * stage.books;
    same.assign(stage.rows * row, 0);
    std::size_t at = 0;
    for (std::uint32_t y = 0; y < stage.rows; ++y)
      for (std::uint32_t x = 0; x < stage.columns; ++x) {
        const bool skipped =
            skips && skips[std::size_t{y / side_y} * windows.columns + x / side_x];
        for (std::uint32_t b = 0; b < stage.books; ++b, ++at) {
          if (skipped) {
            indices[at] = before[at];
            same[at] = 1;
            continue;
          }
          Book& book = first[b];
          const std::uint16_t value = indices[at];  // when reading, whatever is there
          Excluded excluded;
          if (before) {
            const int context = (x > 0 && same[at - stage.books]) + (y > 0 && same[at - row]) +
                                3 * (b > 0 && same[at - 1]);
            if (coder.bit(value == before[at], book.as_before[context])) {
              indices[at] = before[at];
              same[at] = 1;
              continue;
            }
            excluded.add(before[at]);
          }
          const auto as = [&](std::uint16_t other, AdaptiveBit& model) {
            if (excluded.has(other)) return false;
            if (coder.bit(value == other, model)) {
              indices[at] = other;
              return true;
            }
            excluded.add(other);
            return false;
          };
          if (x > 0 && as(indices[at - stage.books], book.as_left)) continue;
          if (y > 0 && as(indices[at - row], book.as_above)) continue;
          indices[at] = coder.symbol(value, book.table, excluded);
        }
      }
    indices += at;
    if (before) before += at;
    first += stage.books;
  }
}

std::vector<IndexCoder::Statistics> IndexCoder::statistics() const {
  std::vector<Statistics> found;
  for (const auto& book : books_) {
    Statistics own{book.table.frequencies(), {}};
    for (std::size_t i = 0; i < own.as_before.size(); ++i)
      own.as_before[i] = static_cast<std::uint32_t>(book.as_before[i].one);
    found.push_back(std::move(own));
  }
  return found;
}

std::vector<std::uint8_t> IndexCoder::encode(const std::uint16_t* indices,
                                             const std::uint16_t* before,
                                             const std::uint8_t* skips) {
  Writing writing;
  std::vector<std::uint16_t> own(indices, indices + count_);
  std::vector<std::uint8_t> skipped;
  if (skips) skipped.assign(skips, skips + windows());
  code(writing, own.data(), before, skips ? skipped.data() : nullptr);
  return writing.coder.finish();
}

void IndexCoder::decode(const std::uint8_t* data, std::size_t size, std::uint16_t* indices,
                        const std::uint16_t* before, std::uint8_t* skips) {
  Reading reading{RangeDecoder(data, size)};
  code(reading, indices, before, skips);
}

}  // namespace vireo
