#include "train/motion_search.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/prediction.hpp"
#include "train/motion_moves.hpp"

namespace vireo::train {
namespace {

// Goes from large cells down to small ones, then improves what was found.
class Search {
 public:
  Search(const PictureView& target, const std::vector<PictureView>& references,
         const MotionSettings& settings)
      : moves_(target, references, settings),
        references_(references.size()),
        first_(settings.first),
        finest_(std::max(settings.first, kSquareLevel)),
        coarsest_(settings.first + settings.grids - 1) {}

  // Finds latents; what they cost. Vectors begin with what is inherited, or at 0 if nothing is; a
  // run that they begin at 0 in is the first.
  double run(const InheritedMotion& inherited);
  const Latents& latents() const { return moves_.state().fields.latents(); }

 private:
  void search(std::size_t r, int level) {
    moves_.search_cells(r, level);
    for (int round = 0; round < 2; ++round) moves_.sweep_vectors(r, level);
  }
  // Two references' motion has two beginnings: one after the other, or mirrored.
  void search_both(int level);
  // From latents that are 0, from a grid down to that of squares.
  void descend(int from);
  void improve();

  MotionMoves moves_;
  const std::size_t references_;
  const int first_;
  const int finest_;  // of those whose cells are moved as a whole
  const int coarsest_;
};

void Search::search_both(int level) {
  const MotionState start = moves_.state();
  MotionState best = start;
  double least = std::numeric_limits<double>::max();
  for (const bool mirrored : {false, true}) {
    moves_.state() = start;
    if (mirrored) moves_.search_pairs(level);
    for (std::size_t r = 0; r < 2; ++r) search(r, level);
    const double now = moves_.loss();
    if (now >= least) continue;
    least = now;
    best = moves_.state();
  }
  moves_.state() = std::move(best);
}

void Search::descend(int from) {
  for (int k = from; k >= finest_; --k) {
    if (references_ == 2 && k == from)
      search_both(k);
    else
      for (std::size_t r = 0; r < references_; ++r) search(r, k);
    if (references_ == 2) moves_.sweep_blending(moves_.state().fields.beta(), k);
  }
}

void Search::improve() {
  constexpr int passes = 4;
  const MotionFields& fields = moves_.state().fields;
  for (int pass = 0; pass < passes; ++pass) {
    moves_.learn_rates();
    if (references_ == 2)
      for (int k = coarsest_; k >= first_; --k) moves_.sweep_blending(fields.beta(), k);
    for (int k = coarsest_; k >= first_; --k) {
      if (pass == 0 && k >= kSquareLevel) moves_.search_alpha(k);
      moves_.sweep_blending(fields.alpha(), k);
    }
    for (int k = coarsest_; k >= first_; --k)
      for (std::size_t r = 0; r < references_; ++r) moves_.sweep_vectors(r, k);
    for (int k = std::min(kSmoothLevel - 1, coarsest_); k >= finest_; --k) moves_.choose_anew(k);
  }
}

double Search::run(const InheritedMotion& inherited) {
  if (!inherited.empty()) moves_.begin(inherited);
  MotionState start = moves_.state();
  // Where much moves on its own, what large cells have in common only misleads.
  descend(coarsest_);
  double least = moves_.loss();
  for (int from = std::min(coarsest_ - 1, kSquareLevel + 1); from >= finest_; --from) {
    MotionState best = std::move(moves_.state());
    moves_.state() = start;
    descend(from);
    const double now = moves_.loss();
    if (now < least)
      least = now;
    else
      moves_.state() = std::move(best);
  }
  moves_.leave_guide();
  improve();
  const double found = moves_.loss();
  MotionState end = std::move(moves_.state());
  moves_.state() = std::move(start);
  moves_.leave_guide();
  moves_.predict_nothing();
  const double nothing = moves_.loss();
  if (nothing < found) return nothing;
  moves_.state() = std::move(end);
  return found;
}

}  // namespace

FoundMotion search_motion(const PictureView& target, const std::vector<PictureView>& references,
                          const MotionSettings& settings) {
  Search search(target, references, settings);
  FoundMotion found{{}, false, kInfinite};
  if (!settings.always) {
    found.cost = search.run({});
    found.latents = search.latents();
  }
  if (settings.inherited) {
    const double cost = search.run(*settings.inherited);
    if (cost < found.cost) found = {search.latents(), true, cost};
  }
  return found;
}

}  // namespace vireo::train
