// The range coder: 48-bit code values, 16-bit probabilities, byte-wise output.
// Both directions live here so that they can be read side by side.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace vireo {

constexpr int kProbabilityBits = 16;
constexpr std::uint32_t kProbabilityOne = 1u << kProbabilityBits;
constexpr int kCodeBits = 48;
constexpr std::uint64_t kCodeOne = std::uint64_t{1} << kCodeBits;
constexpr std::uint64_t kRenormalise = kCodeOne >> 8;

// The probability of a one, adapted to the bits seen: 1/32 of the way each time.
struct AdaptiveBit {
  static constexpr int kRate = 5;
  std::uint32_t one = kProbabilityOne / 2;

  void update(bool bit) {
    if (bit)
      one += (kProbabilityOne - one) >> kRate;
    else
      one -= one >> kRate;
  }
};

// Reads what RangeEncoder wrote. Past the end the bytes are zeros: that is how the
// encoder leaves them out. Any input decodes to something, in bounded time.
class RangeDecoder {
 public:
  RangeDecoder(const std::uint8_t* data, std::size_t size)
      : begin_(data), at_(data), end_(data + size) {
    for (int i = 0; i < kCodeBits / 8; ++i) code_ = code_ << 8 | next();
  }

  // The interval's unit for symbols of `bits`-bit probability; code() / unit() is where
  // the symbol lies among the cumulative frequencies.
  std::uint64_t unit(int bits = kProbabilityBits) const { return range_ >> bits; }
  // The same for symbols whose frequencies are `total` in all, up to 2**20.
  std::uint64_t share(std::uint32_t total) const { return range_ / total; }
  std::uint64_t code() const { return code_; }

  // Takes the symbol whose interval is [start, start + size) in units.
  void take(std::uint64_t unit, std::uint32_t start, std::uint32_t size) {
    code_ -= unit * start;
    range_ = unit * size;
    while (range_ < kRenormalise) {
      range_ <<= 8;
      code_ = (code_ << 8 | next()) & (2 * kCodeOne - 1);
    }
  }

  // How many bits have been taken, those of a symbol that doesn't fill them in part; zeros past
  // the end count for nothing.
  double position() const {
    const double whole = 8.0 * static_cast<double>(at_ - begin_) - kCodeBits;
    return std::max(0.0, whole + kCodeBits - std::log2(static_cast<double>(range_)));
  }

  // An unsigned integer of `count` equally likely bits, 0 <= count <= 16.
  std::uint32_t bits(int count) {
    const std::uint64_t u = unit(count);
    std::uint64_t value = code_ / u;
    const std::uint64_t last = (std::uint64_t{1} << count) - 1;
    if (value > last) value = last;
    take(u, static_cast<std::uint32_t>(value), 1);
    return static_cast<std::uint32_t>(value);
  }

  template <class Model>
  bool bit(Model& model) {
    const std::uint64_t u = unit();
    const auto share = static_cast<std::uint32_t>(model.one);
    const bool one = code_ < u * share;
    if (one)
      take(u, 0, share);
    else
      take(u, share, kProbabilityOne - share);
    model.update(one);
    return one;
  }

 private:
  std::uint64_t next() { return at_ < end_ ? *at_++ : 0; }

  const std::uint8_t* begin_;
  const std::uint8_t* at_;
  const std::uint8_t* end_;
  std::uint64_t code_ = 0;
  std::uint64_t range_ = kCodeOne;
};

class RangeEncoder {
 public:
  void put(std::uint32_t start, std::uint32_t size, int bits = kProbabilityBits) {
    narrow(range_ >> bits, start, size);
  }

  // Of frequencies that are `total` in all (`RangeDecoder::share`).
  void put_in(std::uint32_t total, std::uint32_t start, std::uint32_t size) {
    narrow(range_ / total, start, size);
  }

  void bits(std::uint32_t value, int count) { put(value, 1, count); }

  template <class Model>
  void bit(bool one, Model& model) {
    const auto share = static_cast<std::uint32_t>(model.one);
    if (one)
      put(0, share);
    else
      put(share, kProbabilityOne - share);
    model.update(one);
  }

  // Ends the stream with the fewest bytes that identify it; the encoder is spent.
  std::vector<std::uint8_t> finish() {
    for (int bytes = 0; bytes <= kCodeBits / 8; ++bytes) {
      const std::uint64_t mask = (kCodeOne >> (8 * bytes)) - 1;
      const std::uint64_t value = (low_ + mask) & ~mask;
      if (value - low_ < range_) {
        low_ = value;
        for (int i = 0; i < bytes; ++i) shift();
        carry();
        break;
      }
    }
    while (!out_.empty() && out_.back() == 0) out_.pop_back();
    return std::move(out_);
  }

 private:
  void narrow(std::uint64_t unit, std::uint32_t start, std::uint32_t size) {
    low_ += unit * start;
    range_ = unit * size;
    while (range_ < kRenormalise) {
      shift();
      range_ <<= 8;
    }
  }

  void carry() {
    if (low_ < kCodeOne) return;
    low_ -= kCodeOne;
    for (std::size_t i = out_.size(); i-- > 0 && ++out_[i] == 0;) {
    }
  }

  void shift() {
    carry();
    out_.push_back(static_cast<std::uint8_t>(low_ >> (kCodeBits - 8)));
    low_ = (low_ << 8) & (kCodeOne - 1);
  }

  std::vector<std::uint8_t> out_;
  std::uint64_t low_ = 0;
  std::uint64_t range_ = kCodeOne;
};

}  // namespace vireo
