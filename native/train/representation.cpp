#include "train/representation.hpp"

#include <algorithm>
#include <stdexcept>

namespace vireo::train {

namespace {

constexpr int kTaps = 9;
// Shares of a picture with gradients of their own, so that sums don't depend on the threads.
constexpr int kBands = 8;
constexpr int kTileFloats = 32768;  // of what is hidden
constexpr std::size_t kKeptFloats = std::size_t{1} << 23;

// Where a unit's parameters are, from its start.
struct Offsets {
  int bias, scale, shift, expand, expand_bias, project, project_bias, end;

  Offsets(const LayerShape& s, int hidden)
      : bias(kTaps * s.inputs),
        scale(bias + s.inputs),
        shift(scale + s.inputs),
        expand(shift + s.inputs),
        expand_bias(expand + hidden * s.inputs),
        project(expand_bias + hidden),
        project_bias(project + hidden * s.outputs),
        end(project_bias + s.outputs) {}
};

std::vector<Tile> tiles_of(const Unit& unit, int height, int width) {
  const int samples = std::clamp(kTileFloats / unit.hidden / 64 * 64, 64, 1024);
  const int rows = std::max(1, samples / width);
  const int parts = (width + samples - 1) / samples;
  std::vector<Tile> found;
  for (int top = 0; top < height; top += rows)
    for (int part = 0; part < parts; ++part) {
      const int left = width * part / parts;
      found.push_back({top, std::min(rows, height - top), left, width * (part + 1) / parts - left});
    }
  return found;
}

std::size_t most_scratch(const Unit& unit, const std::vector<Tile>& tiles) {
  std::size_t most = 0;
  for (const Tile& t : tiles) most = std::max(most, unit_scratch(unit, t.rows * t.columns));
  return most;
}

Layer layer(int inputs, int outputs, int weight_at, std::vector<float>& forward,
            std::vector<float>& backward) {
  forward.resize(static_cast<std::size_t>((inputs + 1) * outputs));
  backward.resize(static_cast<std::size_t>((outputs + 1) * inputs));
  return {inputs, outputs, weight_at, weight_at + inputs * outputs, forward.data(),
          backward.data()};
}

// A part of `whole`, or the whole of a part.
void copy(const Features& part, const Features& whole, const Crop& crop, bool out) {
  for (int c = 0; c < whole.channels(); ++c)
    for (int y = 0; y < crop.height; ++y) {
      float* inner = part.planes().row(c, y);
      float* outer = whole.planes().row(c, crop.top + y) + crop.left;
      std::copy_n(out ? outer : inner, crop.width, out ? inner : outer);
    }
}

bool is_all(const Crop& crop, const Features& whole) {
  return crop.height == whole.planes().height && crop.width == whole.planes().width;
}

}  // namespace

std::size_t unit_scratch(const Unit& unit, int samples) {
  const int lanes = static_cast<int>(round_up(samples, 64));
  const int pointers = 2 * unit.inputs + 2 * unit.hidden + unit.outputs;
  return static_cast<std::size_t>(lanes) * static_cast<std::size_t>(pointers + 1) + kBehind +
         static_cast<std::size_t>(lanes) *
             static_cast<std::size_t>(std::max(unit.inputs, unit.outputs) + 16) +
         2 * static_cast<std::size_t>(pointers);
}

std::vector<float> Store::take(std::size_t size) {
  const std::lock_guard lock(mutex_);
  std::size_t best = free_.size();
  for (std::size_t i = 0; i < free_.size(); ++i)
    if (free_[i].size() >= size && (best == free_.size() || free_[i].size() < free_[best].size()))
      best = i;
  if (best == free_.size() || free_[best].size() > 2 * size) return std::vector<float>(size);
  std::vector<float> found = std::move(free_[best]);
  kept_ -= found.size();
  free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(best));
  return found;
}

void Store::give(std::vector<float> memory) {
  const std::lock_guard lock(mutex_);
  if (kept_ + memory.size() > kKeptFloats) return;
  kept_ += memory.size();
  free_.push_back(std::move(memory));
}

Features::Features(std::shared_ptr<Store> store, int channels, int height, int width)
    : store_(std::move(store)), channels_(channels) {
  const std::ptrdiff_t stride = width + 2, size = stride * (height + 2);
  memory_ = store_->take(static_cast<std::size_t>(channels * size + kBehind));
  planes_ = {memory_.data() + stride + 1, height, width, stride, size};
  for (int c = 0; c < channels; ++c) {
    std::fill_n(planes_.row(c, -1) - 1, stride, 0.0f);
    std::fill_n(planes_.row(c, height) - 1, stride, 0.0f);
    for (int y = 0; y < height; ++y) planes_.row(c, y)[-1] = planes_.row(c, y)[width] = 0;
  }
}

Features::~Features() {
  if (store_) store_->give(std::move(memory_));
}

void Features::swap(Features& other) noexcept {
  std::swap(store_, other.store_);
  std::swap(memory_, other.memory_);
  std::swap(planes_, other.planes_);
  std::swap(channels_, other.channels_);
}

Representation::Representation(std::vector<StageShape> stages, int expansion, LayerShape head,
                               float offset, int threads, const std::string& build)
    : stages_(std::move(stages)),
      head_shape_(head),
      kernels_(choose_representation_kernels(build)),
      pool_(std::max(1, threads)),
      scratch_(static_cast<std::size_t>(std::max(1, threads))),
      sums_(kBands) {
  int channels = stages_.empty() || stages_[0].units.empty() ? 0 : stages_[0].units[0].inputs;
  if (channels < 1 || expansion < 1)
    throw std::invalid_argument("a representation has stages, and these units");
  for (const StageShape& stage : stages_) {
    if (stage.scale < 1 || stage.units.empty())
      throw std::invalid_argument("stages enlarge, and have units");
    auto& packed = packed_.emplace_back();
    for (const LayerShape& shape : stage.units) {
      if (shape.inputs != channels || shape.outputs < 1 || shape.start < 0)
        throw std::invalid_argument("a unit gets what the one before makes");
      channels = shape.outputs;
      Packed& p = packed.emplace_back();
      const int hidden = expansion * shape.outputs;
      p.unit.inputs = shape.inputs;
      p.unit.hidden = hidden;
      p.unit.outputs = shape.outputs;
      p.unit.expand = layer(shape.inputs, hidden, 0, p.forward, p.backward);
      p.unit.project = layer(hidden, shape.outputs, (shape.inputs + 1) * hidden,
                             p.project_forward, p.project_backward);
      p.own.resize(static_cast<std::size_t>((shape.inputs + 1) * hidden +
                                            (hidden + 1) * shape.outputs));
      parameters_ = std::max(parameters_, shape.start + Offsets(shape, hidden).end);
    }
  }
  if (head.inputs != channels || head.outputs < 1 || head.start < 0)
    throw std::invalid_argument("the head gets what the last unit makes");
  head_.layer = layer(head.inputs, head.outputs, 0, head_forward_, head_backward_);
  head_.offset = offset;
  parameters_ = std::max(parameters_, head.start + (head.inputs + 1) * head.outputs);
}

std::pair<int, int> Representation::size(int height, int width,
                                         const std::vector<Crop>& crops) const {
  if (height < 1 || width < 1) throw std::invalid_argument("features have rows and columns");
  if (!crops.empty() && crops.size() != stages_.size())
    throw std::invalid_argument("each stage is cropped, or none");
  for (std::size_t s = 0; s < stages_.size(); ++s) {
    height *= stages_[s].scale;
    width *= stages_[s].scale;
    if (crops.empty()) continue;
    const Crop& c = crops[s];
    if (c.top < 0 || c.left < 0 || c.height < 1 || c.width < 1 || c.top + c.height > height ||
        c.left + c.width > width)
      throw std::invalid_argument("what is kept of a stage is within it");
    height = c.height;
    width = c.width;
  }
  return {height, width};
}

float* Representation::scratch(int worker, std::size_t size) {
  auto& own = scratch_[static_cast<std::size_t>(worker)];
  if (own.size() < size) own.resize(size);
  return own.data();
}

Features Representation::features(int channels, int height, int width) const {
  return Features(store_, channels, height, width);
}

// The scale and shift of a unit's normalisation go into the layer behind it.
void Representation::pack(const float* parameters) {
  for (std::size_t s = 0; s < stages_.size(); ++s)
    for (std::size_t u = 0; u < stages_[s].units.size(); ++u) {
      const LayerShape& shape = stages_[s].units[u];
      Packed& p = packed_[s][u];
      const Offsets at(shape, p.unit.hidden);
      const float* own = parameters + shape.start;
      p.unit.depthwise = own;
      p.unit.depthwise_bias = own + at.bias;
      float* to = p.own.data();
      float* bias = to + p.unit.expand.bias_at;
      for (int h = 0; h < p.unit.hidden; ++h) {
        float shift = own[at.expand_bias + h];
        for (int i = 0; i < shape.inputs; ++i) {
          const float weight = own[at.expand + h * shape.inputs + i];
          to[h * shape.inputs + i] = weight * (1 + own[at.scale + i]);
          shift += weight * own[at.shift + i];
        }
        bias[h] = shift;
      }
      std::copy_n(own + at.project, at.end - at.project, to + p.unit.project.weight_at);
      kernels_.pack(p.unit.expand, to);
      kernels_.pack(p.unit.project, to);
    }
  kernels_.pack(head_.layer, parameters + head_shape_.start);
}

void Representation::run_unit(const Packed& packed, const FeaturePlanes& x,
                              const FeaturePlanes& out) {
  const auto tiles = tiles_of(packed.unit, x.height, x.width);
  const std::size_t size = most_scratch(packed.unit, tiles);
  pool_.run(static_cast<int>(tiles.size()), [&](int task, int worker) {
    kernels_.unit_forward(packed.unit, tiles[static_cast<std::size_t>(task)], x, out,
                          scratch(worker, size));
  });
}

void Representation::forward(int count, int height, int width, const float* stem,
                             const std::vector<const float*>& locals, const float* parameters,
                             const std::vector<Crop>& crops, float* out, Held* held) {
  const auto [rows, columns] = size(height, width, crops);
  const std::lock_guard lock(mutex_);
  pack(parameters);
  if (held) {
    held->owner = this;
    held->height = height;
    held->width = width;
    held->crops = crops;
  }
  for (int n = 0; n < count; ++n) {
    Features x = features(channels(), height, width);
    for (int c = 0; c < channels(); ++c)
      for (int y = 0; y < height; ++y, stem += width)
        std::copy_n(stem, width, x.planes().row(c, y));
    std::vector<Features> small, inputs;
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      const int scale = stages_[s].scale, channels = x.channels();
      Features large = features(channels, x.planes().height * scale, x.planes().width * scale);
      const float* local = locals[s] + static_cast<std::ptrdiff_t>(n) * scale * scale * channels;
      const Enlarging enlarging{scale, x.planes(), large.planes(), const_cast<float*>(local),
                                channels};
      const std::size_t need = enlarging_scratch(scale, x.planes().width);
      pool_.run(channels, [&](int task, int worker) {
        kernels_.enlarge(enlarging, task, scratch(worker, need));
      });
      if (held) small.push_back(std::move(x));
      x = std::move(large);
      for (const Packed& packed : packed_[s]) {
        Features made = features(packed.unit.outputs, x.planes().height, x.planes().width);
        run_unit(packed, x.planes(), made.planes());
        if (held) inputs.push_back(std::move(x));
        x = std::move(made);
      }
      if (!crops.empty() && !is_all(crops[s], x)) {
        Features part = features(x.channels(), crops[s].height, crops[s].width);
        copy(part, x, crops[s], true);
        x = std::move(part);
      }
    }
    const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(rows) * columns;
    const std::size_t need = head_scratch(head_, columns);
    pool_.run(rows, [&](int task, int worker) {
      kernels_.head_forward(head_, task, x.planes(), out, area, scratch(worker, need));
    });
    out += area * head_.layer.outputs;
    if (held) {
      held->small.push_back(std::move(small));
      held->inputs.push_back(std::move(inputs));
      held->last.push_back(std::move(x));
    }
  }
}

// From gradients of what `pack` made to those of parameters.
void Representation::unfold(const LayerShape& shape, const Unit& unit, const float* parameters,
                            const float* folded, float* d_parameters) const {
  const Offsets at(shape, unit.hidden);
  const float* own = parameters + shape.start;
  float* to = d_parameters + shape.start;
  const float* d_bias = folded + unit.expand.bias_at;
  for (int h = 0; h < unit.hidden; ++h) {
    to[at.expand_bias + h] += d_bias[h];
    for (int i = 0; i < shape.inputs; ++i) {
      const float weight = own[at.expand + h * shape.inputs + i];
      const float d = folded[h * shape.inputs + i];
      to[at.expand + h * shape.inputs + i] +=
          d * (1 + own[at.scale + i]) + d_bias[h] * own[at.shift + i];
      to[at.scale + i] += d * weight;
      to[at.shift + i] += d_bias[h] * weight;
    }
  }
  for (int i = 0; i < at.end - at.project; ++i)
    to[at.project + i] += folded[unit.project.weight_at + i];
}

void Representation::unit_backward(const LayerShape& shape, const Packed& packed,
                                   const float* parameters, const FeaturePlanes& x,
                                   const FeaturePlanes& d_out, const FeaturePlanes& d_x,
                                   float* d_parameters) {
  const Unit& unit = packed.unit;
  const auto tiles = tiles_of(unit, x.height, x.width);
  const int bands = std::min<int>(kBands, static_cast<int>(tiles.size()));
  const std::size_t need = most_scratch(unit, tiles);
  const int depthwise = unit.inputs * (kTaps + 1), layers = static_cast<int>(packed.own.size());
  const std::size_t sums = static_cast<std::size_t>(kernels_.unit_sums(unit));
  const Features made = features(unit.inputs, x.height, x.width);
  std::vector<std::vector<float>> reduced(static_cast<std::size_t>(bands));
  pool_.run(bands, [&](int band, int worker) {
    auto& own = sums_[static_cast<std::size_t>(band)];
    if (own.size() < sums) own.resize(sums);
    std::fill_n(own.data(), sums, 0.0f);
    float* memory = scratch(worker, need);
    const int count = static_cast<int>(tiles.size());
    for (int t = count * band / bands; t < count * (band + 1) / bands; ++t)
      kernels_.unit_backward(unit, tiles[static_cast<std::size_t>(t)], x, d_out, made.planes(),
                             own.data(), memory);
    auto& found = reduced[static_cast<std::size_t>(band)];
    found.resize(static_cast<std::size_t>(depthwise + layers));
    kernels_.unit_reduce(unit, own.data(), found.data());
  });
  for (std::size_t band = 1; band < reduced.size(); ++band)
    for (std::size_t i = 0; i < reduced[0].size(); ++i) reduced[0][i] += reduced[band][i];
  const float* found = reduced[0].data();
  float* to = d_parameters + shape.start;
  for (int c = 0; c < unit.inputs; ++c, found += kTaps + 1) {
    for (int k = 0; k < kTaps; ++k) to[c * kTaps + k] += found[k];
    to[kTaps * unit.inputs + c] += found[kTaps];
  }
  unfold(shape, unit, parameters, found, d_parameters);
  pool_.run(unit.inputs * bands, [&](int task, int) {
    const int channel = task / bands, band = task % bands;
    for (int y = x.height * band / bands; y < x.height * (band + 1) / bands; ++y)
      kernels_.depthwise_backward(unit, channel, y, made.planes(), d_out, d_x);
  });
}

void Representation::backward(const Held& held, const float* d_out, const float* parameters,
                              float* d_stem, const std::vector<float*>& d_locals,
                              float* d_parameters) {
  const std::lock_guard lock(mutex_);
  pack(parameters);
  for (std::size_t n = 0; n < held.last.size(); ++n) {
    const Features& last = held.last[n];
    const int rows = last.planes().height, columns = last.planes().width;
    const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(rows) * columns;
    Features d = features(last.channels(), rows, columns);
    const int bands = std::min(kBands, rows), count = static_cast<int>(head_forward_.size());
    const std::size_t need = head_scratch(head_, columns);
    std::vector<std::vector<float>> reduced(static_cast<std::size_t>(bands));
    pool_.run(bands, [&](int band, int worker) {
      std::vector<float> sums(static_cast<std::size_t>(count * kernels_.lanes));
      for (int y = rows * band / bands; y < rows * (band + 1) / bands; ++y)
        kernels_.head_backward(head_, y, last.planes(), d_out, area, d.planes(), sums.data(),
                               scratch(worker, need));
      auto& found = reduced[static_cast<std::size_t>(band)];
      found.resize(static_cast<std::size_t>(count));
      kernels_.reduce(sums.data(), count, found.data());
    });
    for (const auto& found : reduced)
      for (int i = 0; i < count; ++i)
        d_parameters[head_shape_.start + i] += found[static_cast<std::size_t>(i)];
    d_out += area * head_.layer.outputs;
    std::size_t input = held.inputs[n].size();
    for (std::size_t s = stages_.size(); s-- > 0;) {
      const FeaturePlanes& shape = held.inputs[n][input - 1].planes();
      if (d.planes().height != shape.height || d.planes().width != shape.width) {
        Features whole = features(d.channels(), shape.height, shape.width);
        for (int c = 0; c < d.channels(); ++c)
          for (int y = 0; y < shape.height; ++y)
            std::fill_n(whole.planes().row(c, y), shape.width, 0.0f);
        copy(d, whole, held.crops[s], false);
        d = std::move(whole);
      }
      for (std::size_t u = stages_[s].units.size(); u-- > 0;) {
        const Features& x = held.inputs[n][--input];
        Features d_x = features(x.channels(), x.planes().height, x.planes().width);
        unit_backward(stages_[s].units[u], packed_[s][u], parameters, x.planes(), d.planes(),
                      d_x.planes(), d_parameters);
        d = std::move(d_x);
      }
      const FeaturePlanes& small = held.small[n][s].planes();
      const int scale = stages_[s].scale, channels = d.channels();
      Features d_small = features(channels, small.height, small.width);
      const Enlarging enlarging{
          scale, d_small.planes(), d.planes(),
          d_locals[s] + static_cast<std::ptrdiff_t>(n) * scale * scale * channels, channels};
      const std::size_t room = enlarging_scratch(scale, small.width);
      pool_.run(channels, [&](int task, int worker) {
        kernels_.enlarge_backward(enlarging, task, scratch(worker, room));
      });
      d = std::move(d_small);
    }
    for (int c = 0; c < d.channels(); ++c)
      for (int y = 0; y < held.height; ++y, d_stem += held.width)
        std::copy_n(d.planes().row(c, y), held.width, d_stem);
  }
}

}  // namespace vireo::train
