// FrameTrainer's memory: how networks, latents, planes and pictures are laid out.
#include <algorithm>
#include <cmath>
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
                           const std::vector<Planes>& references,
                           const std::optional<Prediction>& prediction, int threads,
                           const std::string& isa)
    : shape_(shape), kernels_(choose_kernels(isa)), pool_(std::max(1, threads)) {
  require(shape.height >= 2 && shape.height % 2 == 0, "the height must be even and positive");
  require(shape.width >= 2 && shape.width % 2 == 0, "the width must be even and positive");
  require(shape.height <= 16384 && shape.width <= 16384, "a side is at most 16384 samples");
  require(shape.references >= 0 && shape.references <= 2, "there are 0, 1 or 2 references");
  require(references.size() == static_cast<std::size_t>(shape.references),
          "as many references as the frame type has");
  require(!prediction || shape.parts(), "without parts the synthesis' motion predicts");
  require(shape.grids >= 1 && shape.grids <= 15, "there are 1 to 15 grids");
  require(shape.kernel >= 2 && shape.kernel <= 32 && shape.kernel % 2 == 0,
          "the upsampling kernel's side is even, 2 to 32");
  check_models();
  check_layout();
  require(!shape.synthesis.empty() && shape.synthesis.back() == outputs(),
          "the synthesis' last width is the number of signals: 3, 6 or 9; 1 if chroma has its own");

  place_networks();
  place_grids();
  place_planes();
  load_target(target, prediction);
  for (const Planes& reference : references) load_reference(reference);

  synthesis_sums_ = Buffer(std::ptrdiff_t{picture_tasks_} * synthesis_.parameters);
  chroma_sums_ = Buffer(std::ptrdiff_t{picture_tasks_} * chroma_.parameters);
  tap_sums_ = Buffer((picture_tasks_ + static_cast<std::ptrdiff_t>(channels_.size())) *
                     upsampling_.size());
  std::ptrdiff_t sums = 0;
  for (const int grid : segment_grid_) {
    arm_sums_at_.push_back(sums);
    sums += arms_[model_of(grid)].parameters;
  }
  arm_sums_ = Buffer(sums);
  bits_.resize(segments_.size());
  errors_.resize(static_cast<std::size_t>(picture_tasks_) * 4);
  for (int i = 0; i < pool_.size(); ++i) scratch_.emplace_back(scratch_size());
  seconds_.resize(static_cast<std::size_t>(pool_.size()));
  noise_table_.resize(NOISE_TABLE + 2);
}

void FrameTrainer::place_networks() {
  std::ptrdiff_t packed = 0;
  int count = 0;
  for (const ModelShape& model : shape_.models) {
    arms_.push_back(describe(model.widths));
    arms_at_.push_back(count);
    count += arms_.back().parameters;
    packed += packed_size(arms_.back());
  }
  std::vector<int> widths{shape_.grids};
  widths.insert(widths.end(), shape_.synthesis.begin(), shape_.synthesis.end());
  synthesis_ = describe(widths);
  kernel_at_ = count;
  synthesis_at_ = kernel_at_ + shape_.kernel * shape_.kernel;
  chroma_at_ = count = synthesis_at_ + synthesis_.parameters;
  packed += packed_size(synthesis_);
  if (shape_.parts()) {
    widths = {shape_.chroma_grids + shape_.grids - 1};
    widths.insert(widths.end(), shape_.chroma.begin(), shape_.chroma.end());
    chroma_ = describe(widths);
    count += chroma_.parameters;
    packed += packed_size(chroma_);
  }
  group_parameters();
  for (auto* v : {&parameters_, &base_, &first_, &second_}) v->resize(static_cast<std::size_t>(count));
  parameter_gradient_.resize(static_cast<std::size_t>(count));
  packed_ = Buffer(packed);
  float* memory = packed_.get();
  for (Mlp& arm : arms_) memory = place_packed(arm, memory);
  memory = place_packed(synthesis_, memory);
  if (shape_.parts()) place_packed(chroma_, memory);

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
  int at = 0;
  const auto add = [&](int count, std::vector<int>& group) {
    for (int i = 0; i < count; ++i) group.push_back(at++);
  };
  const auto network = [&](const Mlp& mlp) {
    std::vector<int> weights, biases;
    for (int l = 0; l < mlp.depth; ++l) {
      add(mlp.layers[l].inputs * mlp.layers[l].outputs, weights);
      add(mlp.layers[l].outputs, biases);
    }
    groups_.push_back(std::move(weights));
    groups_.push_back(std::move(biases));
  };
  for (const Mlp& arm : arms_) network(arm);
  add(shape_.kernel * shape_.kernel, groups_.emplace_back());
  network(synthesis_);
  if (shape_.parts()) network(chroma_);
}

std::size_t FrameTrainer::model_of(int grid) const {
  return static_cast<std::size_t>(shape_.layout[static_cast<std::size_t>(grid)].model);
}

void FrameTrainer::check_models() const {
  require(!shape_.models.empty(), "there is at least one autoregressive model");
  for (const ModelShape& model : shape_.models) {
    require(!model.context.empty() && model.context.size() <= MAX_WIDTH, "1 to 64 contexts");
    for (const auto& [dy, dx] : model.context) {
      require(dy >= -16 && dy <= 0 && dx >= -16 && dx <= 16 && (dy < 0 || dx < 0),
              "contexts are causal and reach at most 16 samples");
    }
    const auto contexts = static_cast<int>(model.context.size());
    require(model.widths.size() >= 2 && model.widths.back() == 2 &&
                (model.widths.front() == contexts || model.widths.front() == contexts + 1),
            "a model goes from its contexts, and perhaps one input more, to 2");
  }
}

void FrameTrainer::check_layout() const {
  const auto count = static_cast<int>(shape_.layout.size());
  const bool parts = shape_.parts();
  require(shape_.chroma_grids >= 0 && count == shape_.grids + shape_.chroma_grids,
          "the layout lists luma's grids and chroma's");
  require(parts || shape_.chroma_grids == 0, "grids of chroma come with chroma's synthesis");
  require(!parts || shape_.references == 0, "with parts, what is left of a prediction is coded");
  for (int i = 0; i < count; ++i) {
    const GridShape& g = shape_.layout[static_cast<std::size_t>(i)];
    require(g.model >= 0 && g.model < static_cast<int>(shape_.models.size()),
            "a grid's model doesn't exist");
    require(g.other < count, "a grid's other doesn't exist");
    require(g.other < 0 || shape_.layout[static_cast<std::size_t>(g.other)].level == g.level,
            "a grid and its other have the same size");
    if (i < shape_.grids) {
      require(g.level == i, "luma's grids are levels 0, 1, ...");
    } else {
      require(g.level >= 1 && g.level < shape_.grids, "a grid of chroma is of a level of luma's");
    }
  }
}

void FrameTrainer::place_grids() {
  std::ptrdiff_t end = SLACK, halos = 0;
  is_other_.resize(shape_.layout.size());
  for (const GridShape& g : shape_.layout) {
    if (g.other < 0) continue;
    require(!is_other_[static_cast<std::size_t>(g.other)], "a grid is the other of one at most");
    is_other_[static_cast<std::size_t>(g.other)] = true;
  }
  for (int k = 0; k < static_cast<int>(shape_.layout.size()); ++k) {
    const auto& context = shape_.models[model_of(k)].context;
    int up = 0, side = 0;
    for (const ModelShape& model : shape_.models) {  // of all, so that equal sizes have one layout
      for (const auto& [dy, dx] : model.context) {
        up = std::max(up, -dy);
        side = std::max(side, std::abs(dx));
      }
    }
    const int level = shape_.layout[static_cast<std::size_t>(k)].level;
    const int height = (shape_.height + (1 << level) - 1) >> level;
    const int width = (shape_.width + (1 << level) - 1) >> level;
    const std::ptrdiff_t stride = width + side;
    const std::ptrdiff_t halo = round_up(up * stride + side, LANES);
    const std::ptrdiff_t origin = end + round_up(halo, 64);
    const std::ptrdiff_t length = round_up(height * stride, 64);
    end = origin + length;
    grids_.push_back({origin, 0, length, stride, height, width});
    halo_.push_back(halo);
    offsets_.emplace_back();
    for (const auto& [dy, dx] : context) offsets_.back().push_back(dy * stride + dx);
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
  if (std::find(is_other_.begin(), is_other_.end(), true) != is_other_.end())
    cross_ = Buffer(end + SLACK);
  halos_ = Buffer(halos);
  pooled_.assign(grids_.size(), 0.0f);
}

void FrameTrainer::place_planes() {
  const int reach = upsampling_.reach;
  for (int grid = 1; grid < shape_.grids + shape_.chroma_grids; ++grid) {
    channels_.push_back(grid);
    std::vector<std::ptrdiff_t> starts;
    std::vector<Plane> planes;
    std::ptrdiff_t size = 0;
    for (int level = 1; level <= shape_.layout[static_cast<std::size_t>(grid)].level; ++level) {
      const Segment& scale = grids_[level];
      const std::ptrdiff_t stride = 2 * LANES + round_up(scale.width, LANES);
      starts.push_back(size + reach * stride + LANES);
      planes.push_back({nullptr, stride, scale.height, scale.width});
      size += (scale.height + 2 * reach) * stride;
    }
    plane_memory_.emplace_back(size + 4 * LANES);
    for (std::size_t i = 0; i < planes.size(); ++i) {
      planes[i].origin = plane_memory_.back().get() + starts[i];
    }
    half_planes_.push_back(planes[0]);
    planes_.push_back(std::move(planes));
  }
  if (shape_.parts()) {  // chroma's own grids, then luma's
    for (int c = shape_.grids - 1; c < static_cast<int>(channels_.size()); ++c)
      chroma_inputs_.push_back(c);
    for (int c = 0; c < shape_.grids - 1; ++c) chroma_inputs_.push_back(c);
  }
  lanes_ = round_up(shape_.width / 2, LANES);
  picture_rows_ = shape_.height <= 512 ? 8 : 16;
  picture_tasks_ = (shape_.height / 2 + picture_rows_ - 1) / picture_rows_;
  slab_stride_ = lanes_ + round_up(2 * reach, LANES);  // whole vectors of chroma fit behind `reach`
  slab_size_ = (picture_rows_ + 2 * reach) * static_cast<std::ptrdiff_t>(channels_.size()) * slab_stride_;
  slabs_ = Buffer(picture_tasks_ * slab_size_);
}

std::ptrdiff_t FrameTrainer::scratch_size() const {
  const int reach = upsampling_.reach, grids = shape_.grids;
  std::ptrdiff_t arm = 0, down = upsampling_.size() * LANES;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    arm = std::max(arm, halo_[segment_grid_[i]] + segments_[i].end - segments_[i].begin);
  }
  std::ptrdiff_t model = 0;
  for (const Mlp& m : arms_) {
    model = std::max(model, m.parameters * std::ptrdiff_t{LANES} +
                                (m.activations + MAX_WIDTH + 1) * std::ptrdiff_t{ARM_TILE});
  }
  arm += model;
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
  const std::ptrdiff_t parts = chroma_.parameters * std::ptrdiff_t{LANES} +
                               (chroma_.activations + std::ptrdiff_t{MAX_WIDTH}) * PICTURE_TILE;
  return std::max({arm, down, picture + (shape_.parts() ? parts : 0)}) + SLACK;
}

void FrameTrainer::load_target(const Planes& target, const std::optional<Prediction>& prediction) {
  const auto sample = [&](std::size_t c, std::ptrdiff_t at) {
    const float value = static_cast<float>(target[c][at]) / 255.0f;
    if (!prediction) return value;
    return value - static_cast<float>((*prediction)[c][at]) * (1.0f / (64 * 255));
  };
  const int rows = shape_.height / 2, columns = shape_.width / 2;
  if (shape_.parts()) {
    weights_ = Buffer(rows * lanes_);
    std::fill_n(weights_.get(), rows * lanes_, 1.0f);
  }
  target_ = Buffer(rows * 6 * lanes_);
  for (int y = 0; y < rows; ++y) {
    float* row = target_.get() + y * 6 * lanes_;
    for (int x = 0; x < columns; ++x) {
      for (int p = 0; p < 4; ++p) {
        const std::ptrdiff_t at = std::ptrdiff_t{2 * y + p / 2} * shape_.width + 2 * x + p % 2;
        row[p * lanes_ + x] = sample(0, at);
      }
      for (std::size_t c = 1; c < 3; ++c)
        row[static_cast<std::ptrdiff_t>(3 + c) * lanes_ + x] =
            sample(c, std::ptrdiff_t{y} * columns + x);
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

void FrameTrainer::set_weights(const float* weights) {
  if (!shape_.parts()) throw std::invalid_argument("without parts errors are not weighted");
  const int columns = shape_.width / 2;
  for (int y = 0; y < shape_.height / 2; ++y, weights += columns)
    std::copy_n(weights, columns, weights_.get() + y * lanes_);
}

void FrameTrainer::set_flow_targets(const float* flows) {
  if (shape_.parts()) throw std::invalid_argument("with parts motion is searched, not trained");
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
