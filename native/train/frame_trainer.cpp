#include "train/frame_trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "train/refinement.hpp"

namespace vireo::train {

namespace {

std::uint64_t splitmix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

template <class Work>
void FrameTrainer::phase(int tasks, Work work) {
  using Clock = std::chrono::steady_clock;
  pool_.run(tasks, [&](int task, int worker) {
    const auto start = Clock::now();
    const Stage stage = work(task, scratch_[worker].get());
    seconds_[worker][stage] += std::chrono::duration<double>(Clock::now() - start).count();
  });
}

void FrameTrainer::pack() {
  for (std::size_t m = 0; m < arms_.size(); ++m) {
    kernels_.pack(arms_[m], parameters_.data() + arms_at_[m]);
  }
  kernels_.pack(synthesis_, parameters_.data() + synthesis_at_);
  if (shape_.parts()) kernels_.pack(chroma_, parameters_.data() + chroma_at_);
  for (std::size_t i = 0; i < tap_index_.size(); ++i) {
    taps_.get()[i] = tap_index_[i] < 0 ? 0.0f : parameters_[kernel_at_ + tap_index_[i]];
  }
}

// The inverse of Kumaraswamy's distribution with its mode at one half, minus one half.
void FrameTrainer::prepare_noise(const Settings& settings) {
  const std::uint64_t key = splitmix(splitmix(settings.seed) ^ settings.iteration);
  key_[0] = static_cast<std::uint32_t>(key);
  key_[1] = static_cast<std::uint32_t>(key >> 32);
  const float shape = settings.noise_shape;
  if (shape == table_shape_) return;
  table_shape_ = shape;
  if (shape <= 1) return;
  const double a = shape, b = (std::pow(2.0, a) * (a - 1) + 1) / a;
  for (int i = 0; i <= NOISE_TABLE; ++i) {
    const double tail = std::pow(1 - static_cast<double>(i) / NOISE_TABLE, 1 / b);
    noise_table_[i] = static_cast<float>(std::pow(1 - tail, 1 / a) - 0.5);
  }
  noise_table_[NOISE_TABLE + 1] = noise_table_[NOISE_TABLE];
}

Quantise FrameTrainer::quantise_task(const Settings& settings, int segment) const {
  Quantise t{};
  t.segment = segments_[segment];
  t.latents = latents_.get();
  t.quantised = quantised_.get();
  t.hard = settings.hard;
  t.temperature = settings.temperature;
  t.noise_table = table_shape_ > 1 ? noise_table_.data() : nullptr;
  t.key[0] = key_[0];
  t.key[1] = key_[1];
  return t;
}

Chain FrameTrainer::chain(int channel) const {
  Chain t{};
  t.upsampling = &upsampling_;
  t.grid = grids_[channels_[channel]];
  t.quantised = quantised_.get();
  t.levels = static_cast<int>(planes_[channel].size());
  t.planes = planes_[channel].data();
  t.slabs = picture_tasks_;
  t.slab_rows = picture_rows_;
  t.channel = channel;
  t.channels = static_cast<int>(channels_.size());
  t.slab = slabs_.get();
  t.slab_size = slab_size_;
  t.slab_stride = slab_stride_;
  t.gradient = upsampled_.get();
  t.tap_gradient = tap_sums_.get() + (picture_tasks_ + channel) * upsampling_.size();
  return t;
}

Parts FrameTrainer::parts_task(int task) const {
  Parts t{};
  t.chroma = &chroma_;
  t.inputs = static_cast<int>(chroma_inputs_.size());
  t.channels = chroma_inputs_.data();
  t.parameter_gradient = chroma_sums_.get() + task * chroma_.parameters;
  return t;
}

Picture FrameTrainer::picture_task(const Settings& settings, const Wanted& wanted, int task,
                                   const Parts& parts) {
  Picture t{};
  t.height = shape_.height;
  t.width = shape_.width;
  t.first_row = task * picture_rows_;
  t.rows = std::min(picture_rows_, shape_.height / 2 - t.first_row);
  t.grids = shape_.grids;
  t.references = shape_.references;
  t.channels = static_cast<int>(channels_.size());
  t.parts = shape_.parts() ? &parts : nullptr;
  t.mlp = &synthesis_;
  t.upsampling = &upsampling_;
  t.finest = quantised_.get() + grids_[0].origin;
  t.finest_stride = grids_[0].stride;
  t.planes = half_planes_.data();
  t.target = target_.get();
  t.weights = weights_.get();
  t.reference = references_.data();
  t.target_flows = target_flows_.get();
  t.flow_weight = settings.flow_weight;
  t.gradients = wanted.any();
  t.networks = wanted.networks;
  t.decoded = wanted.decoded;
  t.signals = wanted.signals;
  t.finest_gradient = upsampled_.get() + grids_[0].origin;
  t.slab = slabs_.get() + task * slab_size_;
  t.slab_stride = slab_stride_;
  t.parameter_gradient = synthesis_sums_.get() + task * synthesis_.parameters;
  t.tap_gradient = tap_sums_.get() + task * upsampling_.size();
  t.errors = errors_.data() + 4 * task;
  return t;
}

// Forward and, where gradients are wanted, backward; sums stay per task until the end.
Metrics FrameTrainer::pass(const Settings& settings, const Wanted& wanted) {
  const int segments = static_cast<int>(segments_.size());
  const int coarse = static_cast<int>(channels_.size());
  const int coarse_segments = segments - finest_segments_;
  const double pixels = static_cast<double>(shape_.height) * shape_.width;
  if (settings.flow_weight != 0 && target_flows_.size() == 0) {
    throw std::invalid_argument("a flow weight needs flow targets");
  }
  pack();
  prepare_noise(settings);
  const auto quantise = [&](int segment) {
    Quantise t = quantise_task(settings, segment);
    t.noise = wanted.noise;
    t.slope = wanted.latents ? slope_.get() : nullptr;
    kernels_.quantise(t);
    return QUANTISE;
  };
  phase(coarse_segments, [&](int task, float*) { return quantise(finest_segments_ + task); });
  phase(coarse + finest_segments_, [&](int task, float* scratch) {
    if (task >= coarse) return quantise(task - coarse);
    kernels_.chain_forward(chain(task), scratch);
    return UPSAMPLING;
  });
  phase(picture_tasks_, [&](int task, float* scratch) {
    const Parts parts = parts_task(task);
    kernels_.picture(picture_task(settings, wanted, task, parts), scratch);
    return PICTURE;
  });
  const int chains = wanted.any() ? coarse : 0;
  phase(chains + segments, [&](int task, float* scratch) {
    if (task < chains) {
      kernels_.chain_backward(chain(task), scratch);
      return UPSAMPLING;
    }
    const int i = task - chains, grid = segment_grid_[i];
    const GridShape& shape = shape_.layout[static_cast<std::size_t>(grid)];
    Arm t{};
    t.segment = segments_[i];
    t.quantised = quantised_.get();
    t.mlp = &arms_[static_cast<std::size_t>(shape.model)];
    t.contexts = static_cast<int>(offsets_[grid].size());
    if (shape.other >= 0) {
      t.other = quantised_.get() + grids_[shape.other].origin;
      t.other_gradient = cross_.get() + grids_[shape.other].origin;
    } else if (given_.size() > 0) {
      t.other = given_.get() + grids_[grid].origin;
    }
    t.offsets = offsets_[grid].data();
    t.halo = halo_[grid];
    t.weight = static_cast<float>(settings.lambda / pixels);
    t.latents = wanted.latents;
    t.networks = wanted.networks;
    t.gradient = gradient_.get();
    t.halo_gradient = halos_.get() + halo_at_[i];
    t.parameter_gradient = arm_sums_.get() + arm_sums_at_[static_cast<std::size_t>(i)];
    t.bits = &bits_[i];
    kernels_.arm(t, scratch);
    return ARM;
  });

  Metrics m{};
  for (double bits : bits_) m.bits += bits;
  double errors[4] = {};
  for (std::size_t i = 0; i < errors_.size(); ++i) errors[i % 4] += errors_[i];
  m.mse[0] = errors[0] / pixels;
  m.mse[1] = errors[1] / (pixels / 4);
  m.mse[2] = errors[2] / (pixels / 4);
  m.flow_error = errors[3] / pixels;
  m.loss = (4 * m.mse[0] + m.mse[1] + m.mse[2]) / 6 + settings.lambda * m.bits / pixels;
  if (settings.flow_weight != 0) m.loss += settings.flow_weight * m.flow_error;
  if (!wanted.networks) return m;

  const auto gather = [](const Buffer& sums, int tasks, int count, double* out) {
    std::fill(out, out + count, 0.0);
    for (int task = 0; task < tasks; ++task) {
      for (int i = 0; i < count; ++i) out[i] += sums.get()[task * count + i];
    }
  };
  double* out = parameter_gradient_.data();
  std::fill(out, out + kernel_at_, 0.0);
  for (int i = 0; i < segments; ++i) {
    const int model = shape_.layout[static_cast<std::size_t>(segment_grid_[i])].model;
    const float* sums = arm_sums_.get() + arm_sums_at_[static_cast<std::size_t>(i)];
    for (int p = 0; p < arms_[model].parameters; ++p) out[arms_at_[model] + p] += sums[p];
  }
  gather(synthesis_sums_, picture_tasks_, synthesis_.parameters, out + synthesis_at_);
  if (shape_.parts())
    gather(chroma_sums_, picture_tasks_, chroma_.parameters, out + chroma_at_);
  std::vector<double> taps(tap_index_.size());
  gather(tap_sums_, picture_tasks_ + coarse, upsampling_.size(), taps.data());
  for (std::size_t i = 0; i < taps.size(); ++i) {
    if (tap_index_[i] >= 0) out[kernel_at_ + tap_index_[i]] = taps[i];
  }
  return m;
}

// Brings each latent's gradient together; with `update`, takes Adam's step.
void FrameTrainer::finish_latents(bool update, float rate, const Optimiser& optimiser) {
  if (update) ++latent_steps_;
  const double steps = static_cast<double>(latent_steps_);
  // What moments, which start at zero, have of a gradient that is always the same.
  const auto gathered = [](float beta, double n) { return 1 - std::pow(double{beta}, n); };
  const double pooling = steps > 1 ? double{optimiser.pooling} : 0;
  std::vector<double> sums(segments_.size());
  phase(static_cast<int>(segments_.size()), [&](int i, float*) {
    Adam t{};
    t.segment = segments_[i];
    t.latents = latents_.get();
    t.gradient = gradient_.get();
    const std::size_t next = static_cast<std::size_t>(i) + 1;
    if (next < segments_.size() && segment_grid_[next] == segment_grid_[i]) {
      t.next_halo = halos_.get() + halo_at_[next];
    }
    t.halo = halo_[segment_grid_[i]];
    t.upsampled = upsampled_.get();
    if (is_other_[static_cast<std::size_t>(segment_grid_[i])]) t.cross = cross_.get();
    t.slope = slope_.get();
    t.first = latent_first_.get();
    t.second = latent_second_.get();
    t.update = update;
    t.beta1 = optimiser.latent_beta1;
    t.beta2 = optimiser.latent_beta2;
    t.epsilon = optimiser.epsilon;
    t.sum = &sums[static_cast<std::size_t>(i)];
    if (update) {
      t.step = static_cast<float>(rate / gathered(t.beta1, steps));
      t.own = static_cast<float>((1 - pooling) / gathered(t.beta2, steps));
      if (pooling > 0) {
        const float pooled = pooled_[static_cast<std::size_t>(segment_grid_[i])];
        t.shared = static_cast<float>(pooling * pooled / gathered(t.beta2, steps - 1));
      }
    }
    kernels_.adam(t);
    return ADAM;
  });
  if (!update) return;
  std::vector<double> totals(grids_.size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    totals[static_cast<std::size_t>(segment_grid_[i])] += sums[i];
  }
  for (std::size_t k = 0; k < totals.size(); ++k) {
    const double latents = static_cast<double>(grids_[k].height) * grids_[k].width;
    pooled_[k] = static_cast<float>(totals[k] / latents);
  }
}

void FrameTrainer::update_networks(float rate, const Optimiser& optimiser) {
  ++network_steps_;
  const double steps = static_cast<double>(network_steps_);
  const double beta1 = optimiser.beta1, beta2 = optimiser.beta2;
  const double step = rate / (1 - std::pow(beta1, steps));
  const double correction = 1 / std::sqrt(1 - std::pow(beta2, steps));
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const double g = parameter_gradient_[i];
    const double m = beta1 * first_[i] + (1 - beta1) * g;
    const double v = beta2 * second_[i] + (1 - beta2) * g * g;
    first_[i] = static_cast<float>(m);
    second_[i] = static_cast<float>(v);
    const double root = std::sqrt(v) * correction + optimiser.epsilon;
    parameters_[i] -= static_cast<float>(step * m / root);
  }
}

// The gradient of sum over groups of n log2(mean |w|): what n parameters of a Laplace
// distribution cost, but for a constant. Below the finest step that is ever used a
// parameter costs nothing more to shrink.
void FrameTrainer::add_parameter_rate(float weight) {
  constexpr double finest = 1.0 / 64, log2_e = 1.4426950408889634;
  const double scale = weight * log2_e / (static_cast<double>(shape_.height) * shape_.width);
  for (const std::vector<int>& group : groups_) {
    double sum = 0;
    for (const int i : group) {
      const auto at = static_cast<std::size_t>(i);
      sum += std::abs(parameters_[at] - base_[at]);
    }
    const double pull = scale / (sum / static_cast<double>(group.size()) + finest);
    for (const int i : group) {
      const float w = parameters_[static_cast<std::size_t>(i)] - base_[static_cast<std::size_t>(i)];
      parameter_gradient_[static_cast<std::size_t>(i)] += w > 0 ? pull : w < 0 ? -pull : 0;
    }
  }
}

Metrics FrameTrainer::step(const Settings& settings, const Optimiser& optimiser) {
  Wanted wanted;
  wanted.latents = settings.rate_latents != 0;
  wanted.networks = settings.rate_networks != 0;
  const Metrics m = pass(settings, wanted);
  double square = 0;
  if (wanted.networks) {
    for (double g : parameter_gradient_) square += g * g;
  }
  if (!std::isfinite(m.loss) || !std::isfinite(square)) return m;
  if (wanted.networks) {
    const double scale = optimiser.clip / (std::sqrt(square) + 1e-6);
    if (optimiser.clip > 0 && scale < 1) {
      for (double& g : parameter_gradient_) g *= scale;
    }
    if (optimiser.parameter_rate > 0)
      add_parameter_rate(optimiser.parameter_rate * settings.lambda);
    update_networks(settings.rate_networks, optimiser);
  }
  if (wanted.latents) finish_latents(true, settings.rate_latents, optimiser);
  return m;
}

Metrics FrameTrainer::gradients(const Settings& settings, const std::vector<const float*>& noise) {
  Wanted wanted;
  wanted.latents = wanted.networks = true;
  if (!noise.empty()) {
    if (noise.size() != grids_.size()) throw std::invalid_argument("one noise array per grid");
    if (noise_.size() == 0) noise_ = Buffer(latents_.size());
    for (std::size_t k = 0; k < noise.size(); ++k) copy_in(noise_, static_cast<int>(k), noise[k]);
    wanted.noise = noise_.get();
  }
  const Metrics m = pass(settings, wanted);
  finish_latents(false, 0, {});
  return m;
}

Metrics FrameTrainer::evaluate(float lambda, float flow_weight, float* const* planes,
                               float* signals) {
  const int rows = shape_.height / 2, columns = shape_.width / 2;
  const int x = shape_.parts() ? 0 : outputs();
  Settings settings;
  settings.hard = true;
  settings.lambda = lambda;
  settings.flow_weight = flow_weight;
  Wanted wanted;
  Buffer decoded, raw;
  if (planes) {
    decoded = Buffer(rows * 6 * lanes_);
    raw = Buffer(rows * x * 4 * lanes_);
    wanted.decoded = decoded.get();
    wanted.signals = raw.get();
  }
  const Metrics m = pass(settings, wanted);
  if (!planes) return m;
  // One luma plane's rows, from four phases of a chroma row each.
  const auto join = [&](const float* phases, float* plane, int y) {
    for (int p = 0; p < 4; ++p) {
      float* to = plane + std::ptrdiff_t{2 * y + p / 2} * shape_.width + p % 2;
      for (int i = 0; i < columns; ++i) to[2 * i] = phases[p * lanes_ + i];
    }
  };
  for (int y = 0; y < rows; ++y) {
    const float* from = decoded.get() + y * 6 * lanes_;
    join(from, planes[0], y);
    for (int c = 1; c < 3; ++c) {
      std::copy_n(from + (3 + c) * lanes_, columns, planes[c] + std::ptrdiff_t{y} * columns);
    }
    for (int c = 0; c < x; ++c) {
      join(raw.get() + (y * x + c) * 4 * lanes_,
           signals + std::ptrdiff_t{c} * shape_.height * shape_.width, y);
    }
  }
  return m;
}

int FrameTrainer::refine(float lambda, int sweeps) {
  if (!shape_.parts()) throw std::invalid_argument("only latents of separate parts are refined");
  const int count = grids();
  for (const GridShape& g : shape_.layout) {
    if (g.other >= 0 && shape_.layout[static_cast<std::size_t>(g.other)].model != g.model)
      throw std::invalid_argument("a grid that is refined has its model in common with its other");
  }
  const std::size_t size =
      static_cast<std::size_t>(shape_.height) * static_cast<std::size_t>(shape_.width);
  std::vector<std::vector<float>> latents, given, planes;
  for (int k = 0; k < count; ++k) {
    const auto [h, w] = grid_size(k);
    std::vector<float>& grid =
        latents.emplace_back(static_cast<std::size_t>(h) * static_cast<std::size_t>(w));
    get_latents(k, grid.data());
    for (float& x : grid) x = std::clamp(std::nearbyint(x), -kLargestRefined, kLargestRefined);
    given.emplace_back(grid.size());
    if (given_.size() > 0) copy_out(given_, k, given.back().data());
    const std::vector<float> zeros(grid.size());
    set_latents(k, zeros.data());
  }
  // What is decoded of latents that are all zero is what the networks give then.
  for (const std::size_t n : {size, size / 4, size / 4}) planes.emplace_back(n);
  float* const decoded[3] = {planes[0].data(), planes[1].data(), planes[2].data()};
  evaluate(0, 0, decoded, nullptr);
  const int columns = shape_.width / 2;
  for (int y = 0; y < shape_.height / 2; ++y) {
    const float* row = target_.get() + y * 6 * lanes_;
    for (int x = 0; x < columns; ++x)
      for (int p = 0; p < 6; ++p) {
        const std::ptrdiff_t at =
            p < 4 ? std::ptrdiff_t{2 * y + p / 2} * shape_.width + 2 * x + p % 2
                  : std::ptrdiff_t{y} * columns + x;
        float& sample = planes[p < 4 ? 0 : static_cast<std::size_t>(p - 3)]
                              [static_cast<std::size_t>(at)];
        sample = row[p * lanes_ + x] - sample;
      }
  }
  std::vector<float> weights;
  for (int y = 0; y < shape_.height / 2; ++y) {
    const float* row = weights_.get() + y * lanes_;
    weights.insert(weights.end(), row, row + columns);
  }
  Refinement refinement(
      {kernels_, shape_, arms_, synthesis_, chroma_, parameters_.data() + kernel_at_}, planes,
      weights, latents, given, lambda);
  int changed = 0;
  for (int i = 0; i < sweeps; ++i)
    if ((changed = refinement.sweep(i == 0)) == 0) break;
  for (int k = 0; k < count; ++k) {
    refinement.get_latents(k, latents[static_cast<std::size_t>(k)].data());
    set_latents(k, latents[static_cast<std::size_t>(k)].data());
  }
  return changed;
}

void FrameTrainer::draw_noise(const Settings& settings, int grid, float* out) {
  // Where soft rounding is the identity, a latent of zero becomes its noise.
  Buffer zeros(latents_.size()), noise(latents_.size());
  prepare_noise(settings);
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    Quantise t = quantise_task(settings, static_cast<int>(i));
    t.latents = zeros.get();
    t.quantised = noise.get();
    t.hard = false;
    t.temperature = 1e4f;
    kernels_.quantise(t);
  }
  copy_out(noise, grid, out);
}

}  // namespace vireo::train
