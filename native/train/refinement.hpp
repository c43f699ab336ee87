// Descent on whole latents: one at a time moves by one where that lowers distortion and rate
// of the real pictures and the real model, networks and prediction held fixed. Gradients can't
// decide that: what a latent costs is in steps, and so is what its neighbours' contexts do.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "train/frame_trainer.hpp"
#include "train/kernels.hpp"

namespace vireo::train {

constexpr float kLargestRefined = 4095;  // magnitude of a latent that is coded

// What does not change.
struct RefinementNetworks {
  const Kernels& kernels;
  const Shape& shape;
  const std::vector<Mlp>& arms;
  const Mlp &luma, &chroma;
  const float* kernel;  // [side, side]
};

class Refinement {
 public:
  // `missing` is what the target, Y, U and V, has more than is decoded when all latents are 0;
  // `latents` are luma's and chroma's grids, whole numbers, [h, w] each, and `given` the last
  // inputs of their models where they have no `other`. `weights` [H/2, W/2] are of squared errors.
  Refinement(const RefinementNetworks& networks, const std::vector<std::vector<float>>& missing,
             const std::vector<float>& weights, const std::vector<std::vector<float>>& latents,
             const std::vector<std::vector<float>>& given, float lambda);

  // Gives every latent its turn, those of coarse grids only with `coarse`: they are few, and
  // reach over most of the picture. Returns how many moved.
  int sweep(bool coarse);

  void get_latents(int grid, float* out) const;

 private:
  // A plane with rows of whole tiles.
  struct Map {
    int height = 0, width = 0;
    std::ptrdiff_t stride = 0;
    std::vector<float> samples;

    Map() = default;
    Map(int h, int w);
    float* row(int y) { return samples.data() + y * stride; }
    const float* row(int y) const { return samples.data() + y * stride; }
  };
  // Latents with zeros around, as far as contexts reach, and what each of them costs.
  struct Grid {
    Map values, bits, given;
    int margin = 0;

    float* at(int y, int x) { return values.row(y + margin) + x + margin; }
    const float* at(int y, int x) const { return values.row(y + margin) + x + margin; }
  };
  // What one latent adds to its input of a synthesis per unit, on a rectangle.
  struct Footprint {
    int top, left, height, width;
    std::vector<float> weights;

    const float* row(int y) const { return weights.data() + std::ptrdiff_t{y} * width; }
  };
  // One of the two syntheses: its inputs as planes, and per output what is wanted of it, and
  // how much more it gives.
  struct Synthesis {
    const Mlp* mlp;
    int level;  // of its planes
    std::vector<Map> inputs, wanted, errors;
    Map weights;  // of squared errors
    // Slopes of its outputs by one input, as they were when they were last worked out.
    std::vector<Map> slopes;

    std::size_t outputs() const { return wanted.size(); }
  };
  // A latent's way into a synthesis.
  struct Way {
    Synthesis* synthesis;
    int input;
  };
  struct Place {
    int grid, row, column;
  };
  Footprint doubled(const Footprint& f, int level, bool endless) const;
  const Footprint& footprint(const Place& at, int to_level, Footprint& own);
  Footprint grown(int row, int column, int level, int to_level, bool endless) const;
  Map upsampled(const Map& from, int level) const;
  std::vector<Way> ways(int grid);
  void place(Synthesis& s, const std::vector<std::vector<float>>& missing, std::size_t first);
  // The outputs for `lanes` columns of inputs; row c begins at the result plus c * lanes.
  const float* run(const Synthesis& s, const float* const* inputs, int lanes);
  void refresh_slopes(Synthesis& s, int input);
  // Change of squared error by `change` of a latent, as the slopes have it: linear and
  // quadratic part.
  static void forecast(const Way& way, const Footprint& f, double& linear, double& quadratic);
  // The same worked out in full; with `keep` it is made so.
  double trial(const Way& way, const Footprint& f, float change, bool keep);
  template <class Visit>
  static void for_blocks(const Footprint& f, Visit&& visit);

  // Calls visit(place, input) for each latent whose distribution depends on this one, with the
  // number of the input that it is.
  template <class Visit>
  void for_dependent(const Place& at, Visit&& visit) const;
  // The inputs of a latent's model, input `replaced` being `value`, become a lane.
  void add_lane(const Place& at, int lane, int replaced = -1, float value = 0);
  const float* run_lanes(int grid, int lanes);
  // Change of all bits if a latent became each of `values`.
  void rate_changes(const Place& at, const float* values, int count, float* changes);
  void refresh_bits(const Place& at);
  void set(const Place& at, float value);

  // Which of some moves costs least, by its change of error and of rate; -1 if none gains.
  template <class Error>
  int cheapest(const Error* errors, const float* rates, int count) const;
  int sweep_finest();
  int sweep_grid(int grid);
  // Whether a latent moves by `step`, given what that does to the squared errors, about.
  bool promising(float value, float bits, int step, double error_change) const;

  const Mlp& arm_of(int grid) const {
    return networks_.arms[static_cast<std::size_t>(
        networks_.shape.layout[static_cast<std::size_t>(grid)].model)];
  }
  const std::vector<std::pair<int, int>>& context_of(int grid) const {
    const auto& layout = networks_.shape.layout[static_cast<std::size_t>(grid)];
    return networks_.shape.models[static_cast<std::size_t>(layout.model)].context;
  }

  const RefinementNetworks networks_;
  const float bit_cost_;  // in squared errors
  std::vector<Grid> grids_;
  std::vector<int> dependent_;  // per grid, the one that it is `other` of, or -1
  Synthesis luma_, chroma_;
  std::map<std::pair<int, int>, Footprint> interior_;  // by levels
  std::vector<float> memory_, lanes_, values_, bits_;
};

}  // namespace vireo::train
