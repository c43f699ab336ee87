// What goes in and out of a FrameTrainer: latents, the optimiser's state, measurements.
#include <algorithm>

#include "train/frame_trainer.hpp"

namespace vireo::train {

void FrameTrainer::copy_out(const Buffer& from, int grid, float* out) const {
  const Segment& g = grids_.at(static_cast<std::size_t>(grid));
  for (int y = 0; y < g.height; ++y) {
    const float* row = from.get() + g.origin + y * g.stride;
    std::copy(row, row + g.width, out + std::ptrdiff_t{y} * g.width);
  }
}

void FrameTrainer::copy_in(const Buffer& to, int grid, const float* in) {
  const Segment& g = grids_.at(static_cast<std::size_t>(grid));
  for (int y = 0; y < g.height; ++y, in += g.width) {
    std::copy(in, in + g.width, to.get() + g.origin + y * g.stride);
  }
}

void FrameTrainer::set_given(int grid, const float* in) {
  const GridShape& g = shape_.layout.at(static_cast<std::size_t>(grid));
  const ModelShape& model = shape_.models[static_cast<std::size_t>(g.model)];
  if (g.other >= 0 || static_cast<std::size_t>(model.widths.front()) == model.context.size())
    throw std::invalid_argument("the grid's model has no input for what is given");
  if (given_.size() == 0) given_ = Buffer(latents_.size());
  copy_in(given_, grid, in);
}

void FrameTrainer::reset_optimiser() {
  std::fill(first_.begin(), first_.end(), 0.0f);
  std::fill(second_.begin(), second_.end(), 0.0f);
  for (Buffer* b : {&latent_first_, &latent_second_}) std::fill_n(b->get(), b->size(), 0.0f);
  std::fill(pooled_.begin(), pooled_.end(), 0.0f);
  latent_steps_ = network_steps_ = 0;
}

std::ptrdiff_t FrameTrainer::state_size() const {
  return 3 * latents_.size() + 3 * static_cast<std::ptrdiff_t>(parameters_.size()) +
         static_cast<std::ptrdiff_t>(pooled_.size()) + 2;
}

void FrameTrainer::get_state(float* out) const {
  for (const Buffer* b : {&latents_, &latent_first_, &latent_second_}) {
    out = std::copy_n(b->get(), b->size(), out);
  }
  for (const auto* v : {&parameters_, &first_, &second_, &pooled_}) {
    out = std::copy(v->begin(), v->end(), out);
  }
  *out++ = static_cast<float>(latent_steps_);
  *out++ = static_cast<float>(network_steps_);
}

void FrameTrainer::set_state(const float* in) {
  for (Buffer* b : {&latents_, &latent_first_, &latent_second_}) {
    std::copy_n(in, b->size(), b->get());
    in += b->size();
  }
  for (auto* v : {&parameters_, &first_, &second_, &pooled_}) {
    std::copy_n(in, v->size(), v->begin());
    in += v->size();
  }
  latent_steps_ = static_cast<std::int64_t>(in[0]);
  network_steps_ = static_cast<std::int64_t>(in[1]);
}

std::array<double, STAGES> FrameTrainer::stage_seconds() const {
  std::array<double, STAGES> total{};
  for (const auto& worker : seconds_) {
    for (int i = 0; i < STAGES; ++i) total[i] += worker[i];
  }
  return total;
}

}  // namespace vireo::train
