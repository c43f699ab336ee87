// The stages of an NVRC network behind its stem, forward and backward, in floats.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "train/pool.hpp"
#include "train/representation_kernels.hpp"

namespace vireo::train {

// Where a layer's parameters begin in the vector of all, and what it makes of what. A unit's are
// [inputs, 9], [inputs], scale and shift of the normalisation [inputs] each, [hidden, inputs],
// [hidden], [outputs, hidden], [outputs]; hidden is `expansion` times outputs.
struct LayerShape {
  int start, inputs, outputs;
};

struct StageShape {
  int scale;
  std::vector<LayerShape> units;
};

// Part of a stage's features.
struct Crop {
  int top, left, height, width;
};

// Memory that is used again, some of it: fresh pages cost as much as what is computed in them.
class Store {
 public:
  std::vector<float> take(std::size_t size);
  void give(std::vector<float> memory);

 private:
  std::mutex mutex_;
  std::vector<std::vector<float>> free_;
  std::size_t kept_ = 0;  // floats
};

// Features with a memory of their own; only their border is set, to zeros.
class Features {
 public:
  Features() = default;
  Features(std::shared_ptr<Store> store, int channels, int height, int width);
  Features(Features&& other) noexcept { swap(other); }
  Features& operator=(Features&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Features();

  const FeaturePlanes& planes() const { return planes_; }
  int channels() const { return channels_; }

 private:
  void swap(Features& other) noexcept;

  std::shared_ptr<Store> store_;
  std::vector<float> memory_;
  FeaturePlanes planes_{};
  int channels_ = 0;
};

// What `Representation::forward` leaves for `backward`: of each picture, of each stage, what it
// began with and what each of its units got; the last is what the head got.
struct Held {
  Held() = default;
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  const void* owner = nullptr;
  int height = 0, width = 0;  // of the stem's features
  std::vector<Crop> crops;
  std::vector<std::vector<Features>> small, inputs;
  std::vector<Features> last;
};

class Representation {
 public:
  // Throws std::invalid_argument for shapes that don't fit each other, or an unknown build.
  Representation(std::vector<StageShape> stages, int expansion, LayerShape head, float offset,
                 int threads, const std::string& build);

  // How many rows and columns pictures have of a stem's features, with such crops.
  std::pair<int, int> size(int height, int width, const std::vector<Crop>& crops) const;

  // Of the stem's features [count, channels, height, width], each stage's additions [count, scale,
  // scale, channels], and the parameters; out is [count, outputs, ...]. `crops`: what each stage
  // leaves of its features; none keeps all.
  void forward(int count, int height, int width, const float* stem,
               const std::vector<const float*>& locals, const float* parameters,
               const std::vector<Crop>& crops, float* out, Held* held);

  // Gradients of all that `forward` of this representation got, by those of what it made; with the
  // same parameters. `d_parameters` begins as zeros.
  void backward(const Held& held, const float* d_out, const float* parameters, float* d_stem,
                const std::vector<float*>& d_locals, float* d_parameters);

  const std::vector<StageShape>& stages() const { return stages_; }
  bool made(const Held& held) const { return held.owner == this; }
  const LayerShape& head() const { return head_shape_; }
  int parameters() const { return parameters_; }
  int channels() const { return stages_.front().units.front().inputs; }

 private:
  struct Packed {
    Unit unit;
    std::vector<float> own, forward, backward, project_forward, project_backward;
  };

  void pack(const float* parameters);
  void run_unit(const Packed& packed, const FeaturePlanes& x, const FeaturePlanes& out);
  void unit_backward(const LayerShape& shape, const Packed& packed, const float* parameters,
                     const FeaturePlanes& x, const FeaturePlanes& d_out, const FeaturePlanes& d_x,
                     float* d_parameters);
  void unfold(const LayerShape& shape, const Unit& unit, const float* parameters,
              const float* folded, float* d_parameters) const;
  float* scratch(int worker, std::size_t size);
  Features features(int channels, int height, int width) const;

  std::mutex mutex_;  // forward and backward take turns
  std::vector<StageShape> stages_;
  LayerShape head_shape_;
  Head head_{};
  std::vector<float> head_own_, head_forward_, head_backward_;
  std::vector<std::vector<Packed>> packed_;
  const RepresentationKernels& kernels_;
  Pool pool_;
  std::shared_ptr<Store> store_ = std::make_shared<Store>();
  std::vector<std::vector<float>> scratch_, sums_;
  int parameters_ = 0;
};

}  // namespace vireo::train
