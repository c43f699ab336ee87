#include "core/temporal_context.hpp"

#include <algorithm>
#include <array>

#include "core/kernels.hpp"

namespace vireo {
namespace {

// A plane with a sample of border on all sides, the outermost ones repeated.
class Bordered {
 public:
  Bordered(int height, int width)
      : height_(height),
        width_(width),
        stride_(static_cast<std::size_t>(width + 2 + kSlack)),
        samples_(stride_ * static_cast<std::size_t>(height + 2)) {}

  int height() const { return height_; }
  int width() const { return width_; }
  std::int16_t* row(int y) {
    return samples_.data() + static_cast<std::size_t>(y + 1) * stride_ + 1;
  }
  const std::int16_t* row(int y) const {
    return samples_.data() + static_cast<std::size_t>(y + 1) * stride_ + 1;
  }

  void repeat_border() {
    for (int y = 0; y < height_; ++y) {
      row(y)[-1] = row(y)[0];
      row(y)[width_] = row(y)[width_ - 1];
    }
    std::copy_n(row(0) - 1, width_ + 2, row(-1) - 1);
    std::copy_n(row(height_ - 1) - 1, width_ + 2, row(height_) - 1);
  }

  // Half the size, the mean of two by two samples.
  Bordered halved() const {
    Bordered half((height_ + 1) / 2, (width_ + 1) / 2);
    for (int y = 0; y < half.height_; ++y) {
      const std::int16_t* upper = row(2 * y);
      const std::int16_t* lower = row(2 * y + 1);  // perhaps border
      std::int16_t* out = half.row(y);
      for (int x = 0; x < half.width_; ++x)
        out[x] = static_cast<std::int16_t>(
            (upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1] + 2) >> 2);
    }
    half.repeat_border();
    return half;
  }

 private:
  int height_, width_;
  std::size_t stride_;
  std::vector<std::int16_t> samples_;
};

// Rows made when they are asked for, the last four of them kept; rows and samples beyond the
// border repeat it.
template <class Make>
class Rows {
 public:
  Rows(int height, int width, Make make)
      : height_(height), width_(width), stride_(static_cast<std::size_t>(width + 2 + kSlack)),
        samples_(4 * stride_), make_(std::move(make)) {
    kept_.fill(-1);
  }

  const std::int16_t* row(int y) {
    y = std::clamp(y, 0, height_ - 1);
    const auto slot = static_cast<std::size_t>(y & 3);
    std::int16_t* const out = samples_.data() + slot * stride_ + 1;
    if (kept_[slot] == y) return out;
    kept_[slot] = y;
    make_(y, out);
    out[-1] = out[0];
    out[width_] = out[width_ - 1];
    return out;
  }

 private:
  int height_, width_;
  std::size_t stride_;
  std::vector<std::int16_t> samples_;
  std::array<int, 4> kept_;
  Make make_;
};

// The mean of 3x3 samples of what has rows.
template <class Source>
auto blurred(Source& source, int height, int width) {
  return Rows(height, width, [&source, width](int y, std::int16_t* out) {
    kernels().blur_row(source.row(y - 1), source.row(y), source.row(y + 1), width, out);
  });
}

// How much each sample differs from that mean.
template <class Source, class Blurred>
auto detail(Source& source, Blurred& blur, int height, int width) {
  return Rows(height, width, [&source, &blur, width](int y, std::int16_t* out) {
    kernels().magnitude_row(source.row(y), blur.row(y), width, out);
  });
}

// In 1/64 sample: the luma of a prediction, and of two references what they say differently.
struct Predicted {
  Bordered luma, apart;

  Predicted(const BlockFields& fields, const std::vector<PictureView>& references, int height,
            int width)
      : luma(height, width), apart(references.size() == 2 ? height : 0, width) {
    const Predictor predictor(fields, references, height, width);
    const std::size_t stride = predictor.stride();
    std::vector<std::int16_t> rows(3 * kBlock * stride);
    const std::array<std::int16_t*, 2> single{rows.data() + kBlock * stride,
                                              rows.data() + 2 * kBlock * stride};
    const auto in_range = [](std::int16_t sample) {
      return std::clamp<std::int16_t>(sample, 0, kMostSample);
    };
    for (int by = 0; by < fields.rows; ++by) {
      predictor.luma_rows(by, rows.data(), single);
      for (int i = 0; i < std::min(kBlock, height - by * kBlock); ++i) {
        const std::size_t at = static_cast<std::size_t>(i) * stride;
        std::transform(rows.data() + at, rows.data() + at + width, luma.row(by * kBlock + i),
                       in_range);
        if (apart.height() == 0) continue;
        std::transform(single[0] + at, single[0] + at + width, single[1] + at,
                       apart.row(by * kBlock + i), [&](std::int16_t a, std::int16_t b) {
                         return static_cast<std::int16_t>(in_range(a) - in_range(b));
                       });
      }
    }
    luma.repeat_border();
    if (apart.height() > 0) apart.repeat_border();
  }
};

IntegerMlp network(const std::vector<std::int16_t>& parameters) {
  QuantisedMlp mlp = QuantisedMlp::zeros({kTemporalInputs, kTemporalHidden, 1});
  std::copy(parameters.begin(), parameters.end(), mlp.parameters.begin());
  mlp.weight_bits = mlp.bias_bits = kArmBits;
  mlp.hidden_bits.assign(1, kArmBits);
  return IntegerMlp(mlp, kFeatureBits);
}

Plane<std::int16_t> contexts_of_level(const IntegerMlp& mlp, int level, const Bordered& prediction,
                                      const Bordered& apart) {
  const int height = prediction.height(), width = prediction.width();
  const bool both = apart.height() > 0;
  auto smooth = blurred(prediction, height, width);
  auto texture = detail(prediction, smooth, height, width);
  auto textures = blurred(texture, height, width);
  auto smooth_apart = blurred(apart, height, width);
  auto texture_apart = detail(apart, smooth_apart, height, width);
  auto textures_apart = blurred(texture_apart, height, width);
  Rows size(height, width, [&](int y, std::int16_t* out) {
    kernels().magnitude_row(apart.row(y), nullptr, width, out);
  });
  auto near = blurred(size, height, width);
  auto around = blurred(near, height, width);

  constexpr int features = kTemporalInputs - kTemporalLevels;
  const auto room = static_cast<std::size_t>(width + kSlack);
  std::vector<std::int16_t> logarithms[features], zeros(room), ones(room, 1 << kFeatureBits);
  for (auto& row : logarithms) row.resize(room);
  const std::int16_t* inputs[kTemporalInputs];
  for (int i = 0; i < features; ++i) inputs[i] = logarithms[i].data();
  for (int i = 0; i < kTemporalLevels; ++i)
    inputs[features + i] =
        i == std::min(level, kTemporalLevels - 1) ? ones.data() : zeros.data();

  Plane<std::int16_t> plane(height, width);
  std::array<std::int32_t, kChunk> sums;
  for (int y = 0; y < height; ++y) {
    const auto take = [&](int feature, const std::int16_t* row) {
      kernels().logarithm_row(row, width, logarithms[feature].data());
    };
    take(0, texture.row(y));
    take(1, textures.row(y));
    if (both) {
      take(2, texture_apart.row(y));
      take(3, textures_apart.row(y));
      take(4, size.row(y));
      take(5, around.row(y));
    }
    for (int x = 0; x < width; x += kChunk) {
      const std::int16_t* at[kTemporalInputs];
      for (int i = 0; i < kTemporalInputs; ++i) at[i] = inputs[i] + x;
      const int count = std::min(kChunk, width - x);
      kernels().synthesise(mlp, at, count, sums.data());
      kernels().temporal_row(sums.data(), mlp.accumulator_bits, count, plane.row(y) + x);
    }
  }
  return plane;
}

}  // namespace

TemporalContexts temporal_contexts(const Architecture& architecture, const BlockFields& fields,
                                   const std::vector<PictureView>& references, int height,
                                   int width) {
  const IntegerMlp mlp = network(architecture.parts->temporal);
  auto [prediction, apart] = Predicted(fields, references, height, width);
  const bool both = references.size() == 2;
  TemporalContexts all;
  for (int level = 0; level < architecture.grids; ++level) {
    if (level > 0) {
      prediction = prediction.halved();
      if (both) apart = apart.halved();
    }
    all.push_back(contexts_of_level(mlp, level, prediction, apart));
  }
  return all;
}

}  // namespace vireo
