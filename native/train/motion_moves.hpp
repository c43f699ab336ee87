// What can be done to motion so that it and the residual cost less: with whole cells of a grid, and
// with single latents.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "train/block_matching.hpp"
#include "train/motion_bits.hpp"
#include "train/motion_fields.hpp"
#include "train/motion_search.hpp"
#include "train/square_costs.hpp"

namespace vireo::train {

inline constexpr float kFewBits = 4;        // a latent that is not 0 hardly takes less
inline constexpr int kSquareLevel = 3;      // of grids with one cell a square
inline constexpr float kLeastGain = 0.01f;  // bits that a change must save
inline constexpr int kNothing = -3;         // alpha's latent where nothing is predicted
inline constexpr float kInfinite = std::numeric_limits<float>::max();

inline bool is_too_large(Step s) {
  return s.x > kMaxMotion || s.x < -kMaxMotion || s.y > kMaxMotion || s.y < -kMaxMotion;
}

// What is searched for, and how far it has come.
struct MotionState {
  MotionFields fields;
  SquareCosts costs;
  // What the activity around was when latents had their last turn, of each field and grid, and
  // when cells were chosen anew, of each grid.
  std::vector<std::vector<std::vector<double>>> seen;
  std::vector<std::vector<double>> chosen;
};

class MotionMoves {
 public:
  MotionMoves(const PictureView& target, const std::vector<PictureView>& references,
              const MotionSettings& settings);
  MotionMoves(const MotionMoves&) = delete;
  MotionMoves& operator=(const MotionMoves&) = delete;

  MotionState& state() { return state_; }
  const MotionState& state() const { return state_; }
  // Starts anew, from latents that are 0; vectors begin with what is inherited, which is something.
  void begin(const InheritedMotion& inherited);
  // From here on residuals cost what was measured. Of one reference's predictions, and at high
  // rates, many residuals are so large that this hardly says what is better: the guide stays.
  void leave_guide();
  // Of residuals and latents.
  double loss() const { return state_.costs.total() + lambda_ * bits_.total(); }
  // Rates as an adaptive code has them at the end.
  void learn_rates() { bits_.learn(); }

  // Moves each cell of a grid as if its vectors were its own, all of them alike. Neighbours that
  // move otherwise spoil some of it: the sweeps see to that.
  void search_cells(std::size_t r, int level);
  // Moves the cells of a grid for both references at once, mirrored, from latents that are 0: one
  // of two that are mixed tells little while the other is still wrong.
  void search_pairs(int level);
  // Predicts nothing in cells where that costs less, as if they had an alpha of their own.
  void search_alpha(int level);
  // Cells of one grid, below those that move smoothly: predicted by one reference alone with the
  // vector that then suits best, or by both with these.
  void choose_anew(int level);
  // Nothing is predicted anywhere.
  void predict_nothing();

  // Latents one by one, where something around them has changed since they had their last turn.
  void sweep_vectors(std::size_t r, int level);
  void sweep_blending(std::size_t field, int level);

 private:
  MotionState make_state(const InheritedMotion& inherited) const;

  // What is chosen together: a grid's cells hold each other's vectors and mixtures where they are,
  // if another vector pays only with another mixture.
  struct Cell {
    Place at;
    Region region;
    Choice now;
    float bits;  // of its own latents
  };

  // Where a cell's vectors could go, as changes.
  std::vector<Step> candidates(std::size_t r, const Place& at) const;
  // Puts into a square's mixture what a reference predicts where its vectors are changed by a step.
  void shift(Mixture& m, std::size_t r, Step s, int row, int column, std::int16_t* samples) const;
  Cell cell(const Place& at) const;
  // By how much costs would change, bits included.
  float trial(const Cell& cell, const Choice& choice, float limit) const;
  void set(const Cell& cell, const Choice& choice);

  // Calls turn(place, region it reaches) for those whose surroundings have changed since.
  template <class Turn>
  void sweep(std::size_t field, int level, Turn&& turn);
  // Sets the latents of a vector if that costs less.
  bool try_vector(std::size_t r, const Place& at, const Region& region, Step wanted);
  // Where the slopes of the prediction say that a vector's latents should be; as they are if that
  // gains too little.
  Step downhill(std::size_t r, const Place& at, const Region& region) const;

  const MotionPictures pictures_;
  const float lambda_;
  const int first_, grids_;
  std::vector<Matches> matches_;
  MotionState state_;
  MotionBits bits_;
};

}  // namespace vireo::train
