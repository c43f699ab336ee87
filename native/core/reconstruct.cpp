// From latents to a picture: upsampling, synthesis, inter coding (docs/bitstream.md,
// "Upsampling and synthesis"; paper, section 2). Two luma rows at a time, in pieces of
// kChunk columns, go through everything, so that what lies between stays in cache.
#include <algorithm>

#include "core/coolchic.hpp"
#include "core/kernels.hpp"
#include "core/reconstruct_parts.hpp"
#include "core/stopwatch.hpp"
#include "core/synthesis.hpp"
#include "core/upsampling.hpp"

namespace vireo {
namespace {

// One plane of a picture and of what it is predicted from.
struct CodedPlane {
  Plane<std::uint8_t>& out;
  PlaneView references[2];

  void code(const Signals& signals, int count_references, int x, int y, int count) {
    std::uint8_t row[kChunk];
    kernels().inter_code(signals, references, count_references, x, y, count, row);
    std::copy_n(row, count, out.row(y) + x);
  }
};

CodedPlane coded_plane(Plane<std::uint8_t>& out, const std::vector<PictureView>& references,
                       std::size_t index) {
  CodedPlane plane{out, {}};
  for (std::size_t r = 0; r < references.size(); ++r) plane.references[r] = references[r][index];
  return plane;
}

void keep(const Signals& signals, int references, int x, int y, int count, SignalPlanes& planes) {
  for (int f = 0; f < 2 * references; ++f)
    std::copy_n(signals.flow[f], count, planes.flows[static_cast<std::size_t>(f)].row(y) + x);
  std::copy_n(signals.residual, count, planes.residual.row(y) + x);
  if (references >= 1) std::copy_n(signals.alpha, count, planes.alpha.row(y) + x);
  if (references == 2) std::copy_n(signals.beta, count, planes.beta.row(y) + x);
}

}  // namespace

Picture reconstruct(const Architecture& architecture, const Networks& networks,
                    const Latents& latents, const std::vector<PictureView>& references,
                    SignalPlanes* signals, StageTimes* times,
                    const InheritedMotion& inherited) {
  if (architecture.parts)
    return reconstruct_parts(architecture, networks, latents, references, inherited, times);
  const int height = latents[0].height, width = latents[0].width;
  const int count_references = networks.references;
  Picture picture{{height, width}, {height / 2, width / 2}, {height / 2, width / 2}};
  if (signals) {
    signals->flows.assign(static_cast<std::size_t>(2 * count_references), {height, width});
    signals->residual = signals->alpha = signals->beta = {height, width};
  }
  CodedPlane y_plane = coded_plane(picture.y, references, 0);
  CodedPlane chroma[2] = {coded_plane(picture.u, references, 1),
                          coded_plane(picture.v, references, 2)};

  Stopwatch watch(times != nullptr);
  const UpsamplingKernel kernel(networks.kernel, architecture.kernel, networks.kernel_bits);
  std::vector<GridUpsampler> grids;
  for (int k = 0; k < architecture.grids; ++k)
    grids.emplace_back(kernel, latents, k, k, 0, networks.latent_bits());
  Synthesis synthesis(networks.syntheses[0], networks.latent_bits());
  std::vector<DenseRow> rows[2];
  for (auto& row : rows) row.resize(grids.size());
  Signals luma[2], colour;
  StageTimes spent;
  for (int y = 0; y < height; y += 2) {
    for (int i = 0; i < 2; ++i)
      for (std::size_t k = 0; k < grids.size(); ++k) rows[i][k] = grids[k].row(y + i);
    spent.upsampling += watch.lap();
    for (int x = 0; x < width; x += kChunk) {
      const int count = std::min(kChunk, width - x);
      const std::int32_t* sums[2];
      for (int i = 0; i < 2; ++i) sums[i] = synthesis.run(i, rows[i], x, count);
      spent.synthesis += watch.lap();
      for (int i = 0; i < 2; ++i) {
        kernels().luma_signals(sums[i], count_references, synthesis.bits(), count, luma[i]);
        y_plane.code(luma[i], count_references, x, y + i, count);
        if (signals) keep(luma[i], count_references, x, y + i, count, *signals);
      }
      kernels().chroma_signals(luma[0], luma[1], count_references, count / 2, colour);
      for (int c = 0; c < 2; ++c) {
        const int output = (2 * count_references + 1 + c) * kChunk;
        kernels().chroma_residuals(sums[0] + output, sums[1] + output, synthesis.bits(), count / 2,
                                   colour.residual);
        chroma[c].code(colour, count_references, x / 2, y / 2, count / 2);
      }
      spent.inter += watch.lap();
    }
  }
  if (times) *times = spent;
  return picture;
}

}  // namespace vireo
