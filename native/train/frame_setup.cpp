// FrameTrainer's memory: how networks, latents, planes and pictures are laid out.
#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "train/frame_trainer.hpp"

namespace vireo::train {

namespace {

// Before the first and after the last latent, for the tiles' loads.
constexpr std::ptrdiff_t SLACK = 2 * ARM_TILE;

void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

Mlp describe(const std::vector<int>& widths) {
  require(widths.size() >= 2 && widths.size() <= MAX_DEPTH + 1, "networks have 1 to 8 layers");
  Mlp mlp{};
  mlp.depth = static_cast<int>(widths.size()) - 1;
  for (int l = 0; l < mlp.depth; ++l) {
    Layer& layer = mlp.layers[l];
    layer.inputs = widths[l];
    layer.outputs = widths[l + 1];
    require(layer.inputs >= 1 && layer.inputs <= MAX_WIDTH, "widths are 1 to 64");
    require(layer.outputs >= 1 && layer.outputs <= MAX_WIDTH, "widths are 1 to 64");
    layer.weight_at = mlp.parameters;
    layer.bias_at = mlp.parameters + layer.inputs * layer.outputs;
    mlp.parameters += (layer.inputs + 1) * layer.outputs;
    mlp.activations += layer.outputs;
  }
  return mlp;
}

std::ptrdiff_t packed_size(const Mlp& mlp) {
  std::ptrdiff_t size = 0;
  for (int l = 0; l < mlp.depth; ++l) {
    const Layer& layer = mlp.layers[l];
    size += (layer.inputs + 1) * layer.outputs + (layer.outputs + 1) * layer.inputs;
  }
  return size;
}

float* place_packed(Mlp& mlp, float* memory) {
  for (int l = 0; l < mlp.depth; ++l) {
    Layer& layer = mlp.layers[l];
    layer.forward = memory;
    layer.backward = layer.forward + (layer.inputs + 1) * layer.outputs;
    memory = layer.backward + (layer.outputs + 1) * layer.inputs;
  }
  return memory;
}

}  // namespace

Buffer::Buffer(std::ptrdiff_t size) : size_(size) {
  const std::size_t bytes = static_cast<std::size_t>(size) * sizeof(float);
  data_.reset(static_cast<float*>(::operator new(bytes, std::align_val_t(64))));
  std::memset(data_.get(), 0, bytes);
}

void Buffer::Free::operator()(float* p) const { ::operator delete(p, std::align_val_t(64)); }

FrameTrainer::FrameTrainer(const Shape& shape, const Planes& target,
                           const std::vector<Planes>& references, int threads,
                           const std::string& isa)
    : shape_(shape), kernels_(choose_kernels(isa)), pool_(std::max(1, threads)) {
  require(shape.height >= 2 && shape.height % 2 == 0, "the height must be even and positive");
  require(shape.width >= 2 && shape.width % 2 == 0, "the width must be even and positive");
  require(shape.height <= 16384 && shape.width <= 16384, "a side is at most 16384 samples");
  require(shape.references >= 0 && shape.references <= 2, "there are 0, 1 or 2 references");
  require(references.size() == static_cast<std::size_t>(shape.references),
          "as many references as the frame type has");
  require(shape.grids >= 1 && shape.grids <= 15, "there are 1 to 15 grids");
  require(shape.kernel >= 2 && shape.kernel <= 32 && shape.kernel % 2 == 0,
          "the upsampling kernel's side is even, 2 to 32");
  require(!shape.context.empty() && shape.context.size() <= MAX_WIDTH, "1 to 64 contexts");
  for (const auto& [dy, dx] : shape.context) {
    require(dy >= -16 && dy <= 0 && dx >= -16 && dx <= 16 && (dy < 0 || dx < 0),
            "contexts are causal and reach at most 16 samples");
  }
  require(!shape.synthesis.empty() && shape.synthesis.back() == outputs(),
          "the synthesis' last width is the number of signals: 3, 6 or 9");

  place_networks();
  place_grids();
  place_planes();
  load_target(target);
  for (const Planes& reference : references) load_reference(reference);

  synthesis_sums_ = Buffer(std::ptrdiff_t{picture_tasks_} * synthesis_.parameters);
  tap_sums_ = Buffer((std::ptrdiff_t{picture_tasks_} + shape.grids) * upsampling_.size());
  arm_sums_ = Buffer(static_cast<std::ptrdiff_t>(segments_.size()) * arm_.parameters);
  bits_.resize(segments_.size());
  errors_.resize(static_cast<std::size_t>(picture_tasks_) * 4);
  for (int i = 0; i < pool_.size(); ++i) scratch_.emplace_back(scratch_size());
  seconds_.resize(static_cast<std::size_t>(pool_.size()));
  noise_table_.resize(NOISE_TABLE + 2);
}

void FrameTrainer::place_networks() {
  std::vector<int> widths{static_cast<int>(shape_.context.size())};
  widths.insert(widths.end(), shape_.arm_hidden.begin(), shape_.arm_hidden.end());
  widths.push_back(2);
  arm_ = describe(widths);
  widths = {shape_.grids};
  widths.insert(widths.end(), shape_.synthesis.begin(), shape_.synthesis.end());
  synthesis_ = describe(widths);
  kernel_at_ = arm_.parameters;
  synthesis_at_ = kernel_at_ + shape_.kernel * shape_.kernel;
  const std::size_t count = static_cast<std::size_t>(synthesis_at_ + synthesis_.parameters);
  group_parameters();
  parameters_.resize(count);
  first_.resize(count);
  second_.resize(count);
  parameter_gradient_.resize(count);
  packed_ = Buffer(packed_size(arm_) + packed_size(synthesis_));
  place_packed(synthesis_, place_packed(arm_, packed_.get()));

  const int side = shape_.kernel, pad = side / 2, crop = side + side / 2 - 1;
  upsampling_ = {side, side / 4, nullptr};
  taps_ = Buffer(upsampling_.size());
  upsampling_.taps = taps_.get();
  // Tap t of a row of the transposed convolution joins output 2 i + p with source i + o.
  const int size = 2 * upsampling_.reach + 1;
  const auto tap_of = [&](int slot, int p) {
    const int tap = p + crop - 2 * (slot - upsampling_.reach + pad);
    return tap >= 0 && tap < side ? tap : -1;
  };
  for (int r = 0; r < size; ++r) {
    for (int c = 0; c < size; ++c) {
      for (int phase = 0; phase < 4; ++phase) {
        const int ty = tap_of(r, phase / 2), tx = tap_of(c, phase % 2);
        tap_index_.push_back(ty < 0 || tx < 0 ? -1 : ty * side + tx);
      }
    }
  }
}

void FrameTrainer::group_parameters() {
  groups_.assign(5, {});
  int at = 0;
  const auto add = [&](int count, std::size_t group) {
    for (int i = 0; i < count; ++i) groups_[group].push_back(at++);
  };
  const auto network = [&](const Mlp& mlp, std::size_t weights, std::size_t biases) {
    for (int l = 0; l < mlp.depth; ++l) {
      add(mlp.layers[l].inputs * mlp.layers[l].outputs, weights);
      add(mlp.layers[l].outputs, biases);
    }
  };
  network(arm_, 0, 1);
  add(shape_.kernel * shape_.kernel, 2);
  network(synthesis_, 3, 4);
}

void FrameTrainer::place_grids() {
  int up = 0, side = 0;
  for (const auto& [dy, dx] : shape_.context) {
    up = std::max(up, -dy);
    side = std::max(side, std::abs(dx));
  }
  std::ptrdiff_t end = SLACK, halos = 0;
  for (int k = 0; k < shape_.grids; ++k) {
    const int height = (shape_.height + (1 << k) - 1) >> k;
    const int width = (shape_.width + (1 << k) - 1) >> k;
    const std::ptrdiff_t stride = width + side;
    const std::ptrdiff_t halo = round_up(up * stride + side, LANES);
    const std::ptrdiff_t origin = end + round_up(halo, 64);
    const std::ptrdiff_t length = round_up(height * stride, 64);
    end = origin + length;
    grids_.push_back({origin, 0, length, stride, height, width});
    halo_.push_back(halo);
    offsets_.emplace_back();
    for (const auto& [dy, dx] : shape_.context) offsets_.back().push_back(dy * stride + dx);
    // A segment is longer than what its successor's contexts reach back.
    const std::ptrdiff_t step = round_up(std::max<std::ptrdiff_t>(8192, 2 * halo), ARM_TILE);
    for (std::ptrdiff_t begin = 0; begin < length; begin += step) {
      Segment segment = grids_.back();
      segment.begin = begin;
      segment.end = std::min(begin + step, length);
      segments_.push_back(segment);
      segment_grid_.push_back(k);
      halo_at_.push_back(halos);
      halos += halo;
    }
    if (k == 0) finest_segments_ = static_cast<int>(segments_.size());
  }
  for (Buffer* b : {&latents_, &quantised_, &slope_, &gradient_, &upsampled_, &latent_first_,
                    &latent_second_}) {
    *b = Buffer(end + SLACK);
  }
  halos_ = Buffer(halos);
}

void FrameTrainer::place_planes() {
  const int reach = upsampling_.reach;
  for (int k = 1; k < shape_.grids; ++k) {
    std::vector<std::ptrdiff_t> starts;
    std::vector<Plane> planes;
    std::ptrdiff_t size = 0;
    for (int level = 1; level <= k; ++level) {
      const Segment& grid = grids_[level];
      const std::ptrdiff_t stride = 2 * LANES + round_up(grid.width, LANES);
      starts.push_back(size + reach * stride + LANES);
      planes.push_back({nullptr, stride, grid.height, grid.width});
      size += (grid.height + 2 * reach) * stride;
    }
    plane_memory_.emplace_back(size + 4 * LANES);
    for (std::size_t i = 0; i < planes.size(); ++i) {
      planes[i].origin = plane_memory_.back().get() + starts[i];
    }
    half_planes_.push_back(planes[0]);
    planes_.push_back(std::move(planes));
  }
  lanes_ = round_up(shape_.width / 2, LANES);
  picture_rows_ = shape_.height <= 512 ? 8 : 16;
  picture_tasks_ = (shape_.height / 2 + picture_rows_ - 1) / picture_rows_;
  slab_stride_ = round_up(shape_.width / 2 + 2 * reach, LANES);
  slab_size_ = (picture_rows_ + 2 * reach) * (shape_.grids - 1) * slab_stride_;
  slabs_ = Buffer(picture_tasks_ * slab_size_);
}

std::ptrdiff_t FrameTrainer::scratch_size() const {
  const int reach = upsampling_.reach, grids = shape_.grids;
  std::ptrdiff_t arm = 0, down = upsampling_.size() * LANES;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    arm = std::max(arm, halo_[segment_grid_[i]] + segments_[i].end - segments_[i].begin);
  }
  arm += arm_.parameters * LANES + (arm_.activations + MAX_WIDTH) * ARM_TILE;
  for (int k = 1; k < grids; ++k) {
    down += (grids_[k].height + 2 * reach) *
            (round_up(grids_[k].width + 2 * reach, LANES) + 2 * LANES);
  }
  const std::ptrdiff_t wide = LANES + round_up(shape_.width / 2 + 2 * reach, LANES);
  down += 4 * wide;
  const std::ptrdiff_t pointers = 2 * grids * (2 * reach + 5) + 16;
  const std::ptrdiff_t picture = (synthesis_.parameters + upsampling_.size()) * LANES +
                                 grids * 4 * wide + pointers +
                                 (synthesis_.activations + 2 * grids) * 4 * PICTURE_TILE;
  return std::max({arm, down, picture}) + SLACK;
}

void FrameTrainer::load_target(const Planes& target) {
  const int rows = shape_.height / 2, columns = shape_.width / 2;
  target_ = Buffer(rows * 6 * lanes_);
  for (int y = 0; y < rows; ++y) {
    float* row = target_.get() + y * 6 * lanes_;
    for (int x = 0; x < columns; ++x) {
      for (int p = 0; p < 4; ++p) {
        const std::ptrdiff_t at = std::ptrdiff_t{2 * y + p / 2} * shape_.width + 2 * x + p % 2;
        row[p * lanes_ + x] = static_cast<float>(target[0][at]) / 255.0f;
      }
      for (int c = 1; c < 3; ++c) {
        row[(3 + c) * lanes_ + x] =
            static_cast<float>(target[c][std::ptrdiff_t{y} * columns + x]) / 255.0f;
      }
    }
  }
}

void FrameTrainer::load_reference(const Planes& reference) {
  Reference packed{};
  for (int c = 0; c < 3; ++c) {
    const int h = c ? shape_.height / 2 : shape_.height, w = c ? shape_.width / 2 : shape_.width;
    std::vector<std::uint32_t> words;
    words.reserve(static_cast<std::size_t>(h + 1) * static_cast<std::size_t>(w + 1));
    for (int y = -1; y < h; ++y) {
      const std::uint8_t* upper = reference[c] + std::ptrdiff_t{std::max(y, 0)} * w;
      const std::uint8_t* lower = reference[c] + std::ptrdiff_t{std::min(y + 1, h - 1)} * w;
      for (int x = -1; x < w; ++x) {
        const int left = std::max(x, 0), right = std::min(x + 1, w - 1);
        words.push_back(upper[left] | std::uint32_t{upper[right]} << 8 |
                        std::uint32_t{lower[left]} << 16 | std::uint32_t{lower[right]} << 24);
      }
    }
    reference_memory_.push_back(std::move(words));
    packed.planes[c] = reference_memory_.back().data();
  }
  references_.push_back(packed);
}

void FrameTrainer::set_flow_targets(const float* flows) {
  const int planes = 2 * shape_.references, rows = shape_.height / 2, columns = shape_.width / 2;
  if (planes == 0) throw std::invalid_argument("an I frame has no flows");
  if (target_flows_.size() == 0) target_flows_ = Buffer(rows * planes * 4 * lanes_);
  for (int y = 0; y < rows; ++y) {
    for (int f = 0; f < planes; ++f) {
      for (int p = 0; p < 4; ++p) {
        const float* from =
            flows + (std::ptrdiff_t{f} * shape_.height + 2 * y + p / 2) * shape_.width + p % 2;
        float* to = target_flows_.get() + ((y * planes + f) * 4 + p) * lanes_;
        for (int x = 0; x < columns; ++x) to[x] = from[2 * x];
      }
    }
  }
}

}  // namespace vireo::train
