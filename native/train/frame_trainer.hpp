// Training of one frame's Cool-chic latents and networks: a step is quantisation, rate,
// decoding, loss, all gradients and Adam's update, without leaving native code.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "train/kernels.hpp"
#include "train/pool.hpp"

namespace vireo::train {

// An autoregressive model.
struct ModelShape {
  std::vector<std::pair<int, int>> context;  // (dy, dx), causal
  std::vector<int> widths;  // from the inputs' to 2; one input more than contexts: `other`, or what is given
};

struct GridShape {
  int level;  // ceil(H / 2**level) x ceil(W / 2**level) latents
  int model;
  int other;  // the grid whose latent at the same place is the model's last input, or -1
};

struct Shape {
  std::vector<ModelShape> models;
  // Luma's, of levels 0, 1, ...; then chroma's, if it has its own.
  std::vector<GridShape> layout;
  int grids;                   // luma's
  int kernel;                  // side, even
  std::vector<int> synthesis;  // widths of all layers
  std::vector<int> chroma;     // the same of chroma's own synthesis; empty if it has none
  int chroma_grids;            // chroma's own, of both planes
  int height, width;           // luma, even
  int references;              // 0 ... 2 that the synthesis' motion is for; with parts 0

  bool parts() const { return !chroma.empty(); }
};

using Planes = std::array<const std::uint8_t*, 3>;      // Y, U, V, contiguous
using Prediction = std::array<const std::int16_t*, 3>;  // the same in 1/64 sample value

struct Optimiser {
  float clip = 0;  // global norm of the networks' gradients; 0 leaves them
  float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;  // of the networks
  float latent_beta1 = 0.9f, latent_beta2 = 0.999f;
  // In a latent's second moment, the share of the mean over its grid, as it was a step before.
  float pooling = 0;
  // Times lambda: the weight of the parameters' own rate, as if they were coded under
  // Laplace distributions, one per group (weights, biases) of each network.
  float parameter_rate = 0;
};

struct Settings {
  bool hard = false;
  float temperature = 0.3f, noise_shape = 1, rate_latents = 0, rate_networks = 0;
  float lambda = 0, flow_weight = 0;
  std::uint64_t seed = 0, iteration = 0;
};

struct Metrics {
  double loss, mse[3], bits, flow_error;
};

enum Stage { QUANTISE, ARM, UPSAMPLING, PICTURE, ADAM, STAGES };

// Zeroed floats on a cache line's boundary.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::ptrdiff_t size);
  float* get() const { return data_.get(); }
  std::ptrdiff_t size() const { return size_; }

 private:
  struct Free {
    void operator()(float* p) const;
  };
  std::unique_ptr<float[], Free> data_;
  std::ptrdiff_t size_ = 0;
};

// The fastest build that this CPU runs, or the one named; throws std::invalid_argument.
const Kernels& choose_kernels(const std::string& name);
std::vector<std::string> available_kernels();
// Multiply-adds per second of one thread, by a loop that does nothing else.
double measure_peak(const std::string& isa);

class FrameTrainer {
 public:
  // Of what `prediction` leaves of the target, where there is one (only with parts).
  FrameTrainer(const Shape& shape, const Planes& target, const std::vector<Planes>& references,
               const std::optional<Prediction>& prediction, int threads, const std::string& isa);

  const Shape& shape() const { return shape_; }
  const char* isa() const { return kernels_.name; }
  int threads() const { return pool_.size(); }
  int outputs() const { return shape_.parts() ? 1 : 3 + 3 * shape_.references; }
  int grids() const { return static_cast<int>(grids_.size()); }
  std::pair<int, int> grid_size(int k) const { return {grids_[k].height, grids_[k].width}; }

  // Copies of one grid, [h, w] without padding.
  void get_latents(int grid, float* out) const { copy_out(latents_, grid, out); }
  void set_latents(int grid, const float* in) { copy_in(latents_, grid, in); }
  // A grid's model's last input, of a grid without `other`: zeros at first.
  void set_given(int grid, const float* in);
  std::vector<float>& parameters() { return parameters_; }
  // What the parameters' own rate is counted from; zeros at first.
  std::vector<float>& base() { return base_; }

  // Of the squared errors, only with parts: `[H/2, W/2]`, each for a chroma sample and the luma
  // samples there. Ones at first.
  void set_weights(const float* weights);
  void set_flow_targets(const float* flows);  // [2 references, H, W]

  // One iteration. If the loss is not finite nothing is updated.
  Metrics step(const Settings& settings, const Optimiser& optimiser);
  // Metrics and gradients, no update. `noise` per grid [h, w], or empty to draw it.
  Metrics gradients(const Settings& settings, const std::vector<const float*>& noise);
  void get_latent_gradient(int grid, float* out) const { copy_out(gradient_, grid, out); }
  const std::vector<double>& parameter_gradient() const { return parameter_gradient_; }
  // Metrics with hard rounding. With `planes`: decoded Y [H, W], U, V [H/2, W/2], with parts the
  // residual; and the signals [outputs, H, W].
  Metrics evaluate(float lambda, float flow_weight, float* const* planes, float* signals);
  // Moves luma's and chroma's latents, rounded, one at a time, where that lowers the loss with
  // everything else as it is: in `sweeps` rounds, or until none does; coarse grids have a turn
  // in the first one only. Returns how many moved in the last one. Only where luma, chroma and
  // motion have their own.
  int refine(float lambda, int sweeps);
  // The noise that an iteration draws.
  void draw_noise(const Settings& settings, int grid, float* out);

  void reset_optimiser();
  std::ptrdiff_t state_size() const;
  void get_state(float* out) const;
  void set_state(const float* in);

  // Seconds of processor time since the construction, by Stage.
  std::array<double, STAGES> stage_seconds() const;

 private:
  struct Wanted {
    bool latents = false, networks = false;
    float *decoded = nullptr, *signals = nullptr;
    const float* noise = nullptr;
    bool any() const { return latents || networks; }
  };

  void check_models() const;
  void check_layout() const;
  std::size_t model_of(int grid) const;
  void place_networks();
  void group_parameters();
  void place_grids();
  void place_planes();
  void load_target(const Planes& target, const std::optional<Prediction>& prediction);
  void load_reference(const Planes& reference);
  void copy_out(const Buffer& from, int grid, float* out) const;
  void copy_in(const Buffer& to, int grid, const float* in);
  std::ptrdiff_t scratch_size() const;

  Metrics pass(const Settings& settings, const Wanted& wanted);
  void pack();
  Quantise quantise_task(const Settings& settings, int segment) const;
  void prepare_noise(const Settings& settings);
  Chain chain(int channel) const;
  Parts parts_task(int task) const;
  Picture picture_task(const Settings& settings, const Wanted& wanted, int task,
                       const Parts& parts);
  void finish_latents(bool update, float rate, const Optimiser& optimiser);
  void update_networks(float rate, const Optimiser& optimiser);
  void add_parameter_rate(float weight);
  template <class Work>
  void phase(int tasks, Work work);  // work(task, scratch) returns its Stage

  Shape shape_;
  const Kernels& kernels_;
  Pool pool_;

  // Networks: parameters in the order of models, kernel, synthesis, chroma's synthesis.
  std::vector<Mlp> arms_;
  std::vector<int> arms_at_;
  Mlp synthesis_{}, chroma_{};
  Upsampling upsampling_{};
  std::vector<int> tap_index_;  // tap slot -> kernel element or -1
  Buffer packed_, taps_;
  std::vector<float> parameters_, base_, first_, second_;
  std::vector<double> parameter_gradient_;
  std::vector<std::vector<int>> groups_;  // parameters that share a distribution
  int kernel_at_ = 0, synthesis_at_ = 0, chroma_at_ = 0;

  // Latents: all grids in one linear array, rows separated and preceded by zeros.
  std::vector<Segment> grids_, segments_;
  std::vector<std::vector<std::ptrdiff_t>> offsets_;  // of contexts, per grid
  std::vector<std::ptrdiff_t> halo_;                  // per grid
  std::vector<int> segment_grid_;
  std::vector<std::ptrdiff_t> halo_at_;
  std::vector<std::ptrdiff_t> arm_sums_at_;
  std::vector<bool> is_other_;
  int finest_segments_ = 0;
  Buffer cross_;
  Buffer latents_, quantised_, slope_, gradient_, upsampled_, latent_first_, latent_second_;
  std::vector<float> pooled_;  // per grid, the mean of its latents' second moments
  Buffer halos_, noise_, given_;

  // Pictures.
  std::ptrdiff_t lanes_ = 0;
  std::vector<Buffer> plane_memory_;
  std::vector<int> channels_;               // the grids that are brought to half resolution
  std::vector<std::vector<Plane>> planes_;  // per channel, from half resolution on
  std::vector<int> chroma_inputs_;          // channels in the order of its synthesis' inputs
  std::vector<Plane> half_planes_;
  Buffer target_, target_flows_, weights_;
  std::vector<std::vector<std::uint32_t>> reference_memory_;
  std::vector<Reference> references_;
  int picture_rows_ = 0, picture_tasks_ = 0;
  std::ptrdiff_t slab_stride_ = 0, slab_size_ = 0;
  Buffer slabs_;

  // Sums per task.
  Buffer arm_sums_, synthesis_sums_, chroma_sums_, tap_sums_;
  std::vector<double> bits_, errors_;

  std::vector<Buffer> scratch_;
  std::vector<std::array<double, STAGES>> seconds_;
  std::vector<float> noise_table_;
  float table_shape_ = 1;
  std::uint32_t key_[2] = {0, 0};
  std::int64_t latent_steps_ = 0, network_steps_ = 0;
};

}  // namespace vireo::train
