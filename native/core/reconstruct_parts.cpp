// From latents of luma, chroma and motion to a picture (docs/bitstream.md, "Frames with parts"):
// a row of blocks at a time goes through everything.
#include "core/reconstruct_parts.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "core/kernels.hpp"
#include "core/loop_filter.hpp"
#include "core/prediction.hpp"
#include "core/stopwatch.hpp"
#include "core/synthesis.hpp"
#include "core/upsampling.hpp"

namespace vireo {
namespace {

using Rows = std::vector<DenseRow>;

// One synthesis' rows and the planes that its results are the residuals of.
class PartSynthesis {
 public:
  PartSynthesis(const QuantisedMlp& mlp, int latent_bits, std::vector<Plane<std::uint8_t>*> planes)
      : synthesis_(mlp, latent_bits), planes_(std::move(planes)) {}

  // Decodes row y; predictions[i] points to that of plane i.
  void code(const Rows& values, const std::int16_t* const* predictions, int y, Stopwatch& watch,
            StageTimes& spent) {
    const int width = planes_[0]->width;
    std::uint8_t samples[kChunk];
    for (int x = 0; x < width; x += kChunk) {
      const int count = std::min(kChunk, width - x);
      const std::int32_t* sums = synthesis_.run(0, values, x, count);
      spent.synthesis += watch.lap();
      for (std::size_t i = 0; i < planes_.size(); ++i) {
        kernels().add_residuals(sums + i * kChunk, predictions[i] + x, synthesis_.bits(), count,
                                samples);
        std::copy_n(samples, count, planes_[i]->row(y) + x);
      }
      spent.inter += watch.lap();
    }
  }

 private:
  Synthesis synthesis_;
  std::vector<Plane<std::uint8_t>*> planes_;
};

// The grids of luma and of chroma on their way up.
class Pyramids {
 public:
  Pyramids(const Architecture& architecture, const UpsamplingKernel& kernel, const Latents& latents,
           int latent_bits) {
    const std::vector<LatentGrid> grids = architecture.latent_grids(0);
    for (std::size_t i = 0; i < grids.size(); ++i) {
      const bool luma = grids[i].kind == kLuma;
      (luma ? luma_ : chroma_)
          .emplace_back(kernel, latents, static_cast<int>(i), grids[i].level, luma ? 0 : 1,
                        latent_bits);
    }
  }

  // Inputs of the chroma synthesis: U's and V's grids, and luma's but the finest one.
  Rows chroma(int y) {
    Rows rows;
    for (GridUpsampler& grid : chroma_) rows.push_back(grid.row(y));
    for (std::size_t k = 1; k < luma_.size(); ++k) rows.push_back(luma_[k].half_row(y));
    return rows;
  }

  Rows luma(int y) {
    Rows rows;
    for (GridUpsampler& grid : luma_) rows.push_back(grid.row(y));
    return rows;
  }

 private:
  std::vector<GridUpsampler> luma_, chroma_;
};

void filter(const LoopFilter& filter, const FilterShape& shape,
            std::initializer_list<Plane<std::uint8_t>*> planes) {
  if (!filter.on) return;
  const FilterWeights weights(shape, filter.weights.data());
  for (Plane<std::uint8_t>* plane : planes)
    *plane = filter_plane({plane->samples.data(), plane->height, plane->width}, weights);
}

}  // namespace

Picture reconstruct_parts(const Architecture& architecture, const Networks& networks,
                          const Latents& latents, const std::vector<PictureView>& references,
                          const InheritedMotion& inherited, StageTimes* times) {
  const int height = latents[0].height, width = latents[0].width;
  Picture picture{{height, width}, {height / 2, width / 2}, {height / 2, width / 2}};
  Stopwatch watch(times != nullptr);
  StageTimes spent;

  BlockFields fields;
  if (!references.empty()) fields = frame_fields(architecture, latents, networks.references, inherited);
  else fields = {((height - 1) >> kBlockLog2) + 1, ((width - 1) >> kBlockLog2) + 1, {}};
  const Predictor predictor(fields, references, height, width);
  const std::size_t stride = predictor.stride();
  std::vector<std::int16_t> predictions(kBlock * stride * 3 / 2 + kSlack);
  std::int16_t* const y_rows = predictions.data();
  std::int16_t* const u_rows = y_rows + kBlock * stride;
  std::int16_t* const v_rows = u_rows + kBlock / 2 * stride / 2;

  const UpsamplingKernel kernel(networks.kernel, architecture.kernel, networks.kernel_bits);
  Pyramids pyramids(architecture, kernel, latents, networks.latent_bits());
  PartSynthesis luma(networks.syntheses[0], networks.latent_bits(), {&picture.y});
  PartSynthesis chroma(networks.syntheses[1], networks.latent_bits(), {&picture.u, &picture.v});
  spent.inter += watch.lap();
  for (int block = 0; block < fields.rows; ++block) {
    if (!references.empty()) predictor.rows(block, y_rows, u_rows, v_rows);
    spent.inter += watch.lap();
    const int chroma_rows = std::min(kBlock, height - kBlock * block) / 2;
    for (int i = 0; i < chroma_rows; ++i) {
      const int y = kBlock / 2 * block + i;
      const Rows rows = pyramids.chroma(y);
      spent.upsampling += watch.lap();
      const auto at = static_cast<std::size_t>(i) * stride / 2;
      const std::int16_t* const from[2] = {u_rows + at, v_rows + at};
      chroma.code(rows, from, y, watch, spent);
    }
    for (int i = 0; i < 2 * chroma_rows; ++i) {
      const int y = kBlock * block + i;
      const Rows rows = pyramids.luma(y);
      spent.upsampling += watch.lap();
      const std::int16_t* const from[1] = {y_rows + static_cast<std::size_t>(i) * stride};
      luma.code(rows, from, y, watch, spent);
    }
  }
  filter(networks.filters[kLuma], kLumaFilter, {&picture.y});
  filter(networks.filters[kChroma], kChromaFilter, {&picture.u, &picture.v});
  spent.filter += watch.lap();
  if (times) *times = spent;
  return picture;
}

}  // namespace vireo
