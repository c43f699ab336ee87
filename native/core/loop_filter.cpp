#include "core/loop_filter.hpp"

#include <algorithm>

#include "core/kernels.hpp"

namespace vireo {
namespace {

// A plane's rows with a border of its outermost samples.
class Bordered {
 public:
  explicit Bordered(const PlaneView& plane)
      : stride_(static_cast<std::size_t>(plane.width + 2 * kFilterReach + kSlack)),
        samples_(stride_ * static_cast<std::size_t>(plane.height + 2 * kFilterReach)) {
    for (int y = -kFilterReach; y < plane.height + kFilterReach; ++y) {
      const int from = std::clamp(y, 0, plane.height - 1);
      const std::uint8_t* source = plane.samples + static_cast<std::ptrdiff_t>(from) * plane.width;
      std::uint8_t* out = samples_.data() + stride_ * static_cast<std::size_t>(y + kFilterReach);
      std::fill_n(out, kFilterReach, source[0]);
      std::copy_n(source, plane.width, out + kFilterReach);
      std::fill_n(out + kFilterReach + plane.width, kFilterReach, source[plane.width - 1]);
    }
  }

  const std::uint8_t* row(int y) const {
    return samples_.data() + stride_ * static_cast<std::size_t>(y + kFilterReach) + kFilterReach;
  }

  // The filtered row y and those around it.
  FilterRows around(int y) const {
    FilterRows rows;
    for (int i = -kFilterReach; i <= kFilterReach; ++i) rows.at[i + kFilterReach] = row(y + i);
    return rows;
  }

 private:
  std::size_t stride_;
  std::vector<std::uint8_t> samples_;
};

}  // namespace

FilterWeights::FilterWeights(const FilterShape& of, const std::int32_t* weights) : shape(&of) {
  for (int t = 0; t < of.taps; ++t)
    for (int l = 0; l < of.limits; ++l) {
      const auto w = static_cast<std::uint32_t>(weights[l * of.taps + t]);
      pairs[t * of.limits + l] = static_cast<std::int32_t>((w & 0xFFFF) | w << 16);
    }
}

Plane<std::uint8_t> filter_plane(const PlaneView& plane, const FilterWeights& weights) {
  const Bordered bordered(plane);
  Plane<std::uint8_t> out(plane.height, plane.width);
  std::vector<std::uint8_t> row(static_cast<std::size_t>(plane.width + kSlack));
  for (int y = 0; y < plane.height; ++y) {
    kernels().filter_row(weights, bordered.around(y), plane.width, row.data());
    std::copy_n(row.data(), plane.width, out.row(y));
  }
  return out;
}

FilterEquations filter_equations(const PlaneView& decoded, const PlaneView& target,
                                 const FilterShape& shape) {
  constexpr int kPiece = 256;  // of a row: sums of that many products have 32 bits
  const int count = shape.weights();
  const auto n = static_cast<std::size_t>(count);
  FilterEquations sums{std::vector<std::int64_t>(n * n), std::vector<std::int64_t>(n)};
  const Bordered bordered(decoded);
  // The last row is what is missing.
  std::vector<std::int16_t> features((n + 1) * kPiece);
  const auto feature = [&](int i) { return features.data() + i * kPiece; };
  const auto product = [&](const std::int16_t* a, const std::int16_t* b) {
    std::int32_t sum = 0;
    for (int x = 0; x < kPiece; ++x) sum += a[x] * b[x];
    return std::int64_t{sum};
  };
  for (int y = 0; y < decoded.height; ++y) {
    const std::uint8_t* wanted = target.samples + static_cast<std::ptrdiff_t>(y) * target.width;
    for (int left = 0; left < decoded.width; left += kPiece) {
      const int width = std::min(kPiece, decoded.width - left);
      if (width < kPiece) std::fill(features.begin(), features.end(), std::int16_t{0});
      const std::uint8_t* at = bordered.row(y) + left;
      for (int x = 0; x < width; ++x)
        feature(count)[x] = static_cast<std::int16_t>(wanted[left + x] - at[x]);
      for (int l = 0; l < shape.limits; ++l)
        for (int t = 0; t < shape.taps; ++t) {
          const Offset place = shape.places[t];
          const int limit = shape.limit[l];
          const std::uint8_t* one = bordered.row(y + place.dy) + left + place.dx;
          const std::uint8_t* other = bordered.row(y - place.dy) + left - place.dx;
          std::int16_t* out = feature(l * shape.taps + t);
          for (int x = 0; x < width; ++x)
            out[x] = static_cast<std::int16_t>(std::clamp(one[x] - at[x], -limit, limit) +
                                               std::clamp(other[x] - at[x], -limit, limit));
        }
      for (int i = 0; i < count; ++i) {
        for (int j = i; j < count; ++j)
          sums.products[static_cast<std::size_t>(i * count + j)] += product(feature(i), feature(j));
        sums.wanted[static_cast<std::size_t>(i)] += product(feature(i), feature(count));
      }
    }
  }
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < i; ++j) sums.products[i * n + j] = sums.products[j * n + i];
  return sums;
}

}  // namespace vireo
