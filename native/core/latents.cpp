// Latents in a packet (docs/bitstream.md, "Latents"): tiles visited along wavefronts.
//
// Latent (y, x) of a tile is coded at step t = x + slope * y, lowest row first within a
// step. All its neighbours belong to earlier steps, so that a step's contexts are known
// at once. Rows are stored by step: what the model needs of a neighbour is then next to
// what it needs of the neighbour's neighbour one row below, and contexts load as vectors.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "core/coolchic.hpp"
#include "core/frame_syntax.hpp"
#include "core/kernels.hpp"
#include "core/laplace.hpp"
#include "core/motion_syntax.hpp"
#include "core/update_syntax.hpp"

namespace vireo {
namespace {

constexpr int kTileModeBits = 2;  // without parts

constexpr int kMotion = -1;
struct Tile {
  int grid, top, rows;  // or kMotion, which is a tile by itself
};

// Tiles in coding order: motion, where there is any; then the last grid first, top band first.
std::vector<Tile> tiles(const Architecture& architecture, const Latents& latents) {
  std::vector<Tile> all;
  const int count = static_cast<int>(architecture.latent_grids(0).size());
  if (static_cast<int>(latents.size()) > count) all.push_back({kMotion, 0, 0});
  for (int k = count - 1; k >= 0; --k) {
    const int height = latents[static_cast<std::size_t>(k)].height;
    const int band = architecture.band_rows_log2 ? 1 << architecture.band_rows_log2 : height;
    for (int top = 0; top < height; top += band)
      all.push_back({k, top, std::min(band, height - top)});
  }
  return all;
}

// The least slope that puts every neighbour into an earlier step.
int wavefront_slope(const std::vector<Offset>& context) {
  int slope = 1;
  for (const Offset& o : context)
    if (o.dy < 0 && o.dx >= 0) slope = std::max(slope, o.dx / -o.dy + 1);
  return slope;
}

// Visits the latents of one kind of grids.
class Wavefront {
 public:
  Wavefront(const Architecture& architecture, const Networks& networks, GridKind kind)
      : context_(architecture.context),
        slope_(wavefront_slope(context_)),
        model_{IntegerMlp(networks.arms[kind], 0), 1 << (networks.magnitude_bits + kMeanBits)},
        still_(still()),
        limit_((1 << networks.magnitude_bits) - 1) {
    int longest = 0;
    for (const Offset& o : context_) longest = std::max(longest, -(o.dx + slope_ * o.dy));
    while (ring_size_ <= longest) ring_size_ *= 2;
  }

  // Calls coder(y, x, distribution), which returns the latent, for each latent of a tile that
  // is in no empty block. `live` tells which blocks are coded; null: all. `other` is what the
  // model also sees; null: zeros.
  template <class Coder>
  void visit(const Tile& tile, int width, const Plane<std::int16_t>* other,
             const std::uint8_t* live, int block_log2, Coder&& coder) {
    const int rows = tile.rows;
    const int blocks_across = ((width - 1) >> block_log2) + 1;
    const int stride = rows + kMaxContextReach + kLanes;
    ring_.assign(static_cast<std::size_t>(ring_size_ * stride), 0);
    busy_.assign(static_cast<std::size_t>(ring_size_), 0);
    const auto diagonal = [&](int t) {
      return ring_.data() + (t & (ring_size_ - 1)) * stride + kMaxContextReach;
    };
    std::int16_t others[kLanes] = {};
    std::vector<const std::int16_t*> inputs(
        static_cast<std::size_t>(model_.mlp.layers.front().inputs), others);
    alignas(64) std::int32_t centres[kLanes], indices[kLanes];
    const int steps = width + slope_ * (rows - 1);
    for (int t = 0; t < steps; ++t) {
      const int first = t < width ? 0 : (t - width) / slope_ + 1;
      const int last = std::min(rows - 1, t / slope_);
      std::int16_t* current = diagonal(t);
      std::uint8_t& wrote = busy_[static_cast<std::size_t>(t & (ring_size_ - 1))];
      if (wrote) std::memset(current, 0, sizeof(std::int16_t) * static_cast<std::size_t>(rows));
      wrote = 0;
      bool busy = false;
      for (std::size_t c = 0; c < context_.size(); ++c) {
        const int from = t + context_[c].dx + slope_ * context_[c].dy;
        inputs[c] = diagonal(from) + first + context_[c].dy;
        busy = busy || busy_[static_cast<std::size_t>(from & (ring_size_ - 1))];
      }
      for (int start = first; start <= last; start += kLanes) {
        const int stop = std::min(start + kLanes - 1, last);
        const bool seen = other && see(*other, tile.top + start, t - slope_ * start,
                                       stop - start + 1, others);
        bool computed = false, fresh = false;
        int x = t - slope_ * start;
        for (int y = start; y <= stop; ++y, x -= slope_) {
          if (live && !live[(y >> block_log2) * blocks_across + (x >> block_log2)]) continue;
          if ((busy || seen) && !computed) {
            fresh = kernels().distributions(model_, inputs.data(), centres, indices);
            computed = true;
          }
          const int lane = y - start;
          const int value =
              coder(y, x, fresh ? Distribution{centres[lane], indices[lane]} : still_);
          if (value == 0) continue;
          current[y] = static_cast<std::int16_t>(value);
          wrote = 1;
        }
        for (std::size_t c = 0; c < context_.size(); ++c) inputs[c] += kLanes;
      }
    }
  }

  int limit() const { return limit_; }

 private:
  // The other grid's latents at `count` latents' places, the first one's being (y, x); whether
  // there is anything but zeros.
  bool see(const Plane<std::int16_t>& other, int y, int x, int count, std::int16_t* values) const {
    int any = 0;
    for (int i = 0; i < count; ++i, x -= slope_) any |= values[i] = other.row(y + i)[x];
    return any != 0;
  }

  // What the model says where every neighbour is zero. It says nothing where all lanes are
  // so: the first one isn't here.
  Distribution still() const {
    const std::int16_t one[kLanes] = {1};
    const std::vector<const std::int16_t*> inputs(
        static_cast<std::size_t>(model_.mlp.layers.front().inputs), one);
    std::int32_t centres[kLanes], indices[kLanes];
    kernels().distributions(model_, inputs.data(), centres, indices);
    return {centres[1], indices[1]};
  }

  std::vector<Offset> context_;
  int slope_;
  ContextModel model_;
  Distribution still_;
  int limit_;
  int ring_size_ = 2;
  std::vector<std::int16_t> ring_;
  std::vector<std::uint8_t> busy_;  // whether a diagonal holds anything but zeros
};

// The wavefronts of a frame's grids.
class Wavefronts {
 public:
  Wavefronts(const Architecture& architecture, const Networks& networks)
      : grids_(architecture.latent_grids(networks.references)) {
    for (int kind = 0; kind < static_cast<int>(networks.arms.size()); ++kind)
      kinds_.emplace_back(architecture, networks, static_cast<GridKind>(kind));
  }

  template <class Coder>
  void visit(const Latents& latents, const TemporalContexts& temporal, const Tile& tile,
             const std::uint8_t* live, int block_log2, Coder&& coder) {
    const auto grid = static_cast<std::size_t>(tile.grid);
    const int other = grids_[grid].other;
    const Plane<std::int16_t>* seen =
        other >= 0 ? &latents[static_cast<std::size_t>(other)]
                   : grid < temporal.size() ? &temporal[grid] : nullptr;
    of(tile).visit(tile, latents[grid].width, seen, live, block_log2, coder);
  }

  int limit(const Tile& tile) { return of(tile).limit(); }

 private:
  Wavefront& of(const Tile& tile) {
    return kinds_[grids_[static_cast<std::size_t>(tile.grid)].kind];
  }

  std::vector<LatentGrid> grids_;
  std::vector<Wavefront> kinds_;
};

// Which blocks of a tile are coded, each bit predicted by its left and upper neighbours.
class BlockMap {
 public:
  BlockMap(int rows, int width, int block_log2)
      : down_(((rows - 1) >> block_log2) + 1),
        across_(((width - 1) >> block_log2) + 1),
        live_(static_cast<std::size_t>(down_ * across_)) {}

  template <class Bit>
  void visit(Bit&& bit) {
    AdaptiveBit models[3];
    for (int y = 0; y < down_; ++y)
      for (int x = 0; x < across_; ++x) {
        const int neighbours = (x > 0 ? at(y, x - 1) : 0) + (y > 0 ? at(y - 1, x) : 0);
        at(y, x) = bit(at(y, x) != 0, models[neighbours]);
      }
  }

  void fill(const Plane<std::int16_t>& grid, int top, int rows, int block_log2) {
    for (int y = 0; y < rows; ++y)
      for (int x = 0; x < grid.width; ++x)
        if (grid.row(top + y)[x]) at(y >> block_log2, x >> block_log2) = 1;
  }

  bool any() const { return std::find(live_.begin(), live_.end(), 1) != live_.end(); }
  bool all() const { return std::find(live_.begin(), live_.end(), 0) == live_.end(); }
  const std::uint8_t* data() const { return live_.data(); }

 private:
  std::uint8_t& at(int y, int x) { return live_[static_cast<std::size_t>(y * across_ + x)]; }

  int down_, across_;
  std::vector<std::uint8_t> live_;
};

MotionBits motion_bits(const Architecture& architecture, const Networks& networks) {
  return initial_motion_bits(*architecture.parts, networks.references, networks.begins());
}

// The modes of tiles, in a section's order.
class TileModes {
 public:
  TileModes(const Architecture& architecture, const Networks& networks)
      : grids_(architecture.latent_grids(0)),
        references_(networks.references),
        none_(networks.magnitude_bits == 0) {
    if (architecture.parts)
      decisions_ = initial_frame_decisions(*architecture.parts, references_);
  }

  // False if the bytes hold one that doesn't exist.
  bool read(RangeDecoder& coder, const Tile& tile, TileMode& mode) {
    if (decisions_) {
      DecisionReader reader(coder, *decisions_);
      mode = code(reader, tile, kEmpty);
      return true;
    }
    const auto value = coder.bits(kTileModeBits);
    mode = static_cast<TileMode>(value);
    return value <= kMapped;
  }

  void write(RangeEncoder& coder, const Tile& tile, TileMode mode) {
    if (decisions_) {
      DecisionWriter writer(coder, *decisions_);
      code(writer, tile, mode);
    } else {
      coder.bits(mode, kTileModeBits);
    }
  }

  void count(DecisionCounter<kFrameContexts>& counter, const Tile& tile, TileMode mode) const {
    code(counter, tile, mode);
  }

  // Bits that the next mode would take.
  double measure(const Tile& tile, TileMode mode) const {
    if (!decisions_) return kTileModeBits;
    FrameDecisions decisions = *decisions_;
    return metered(decisions, tile, mode);
  }

  // What comes after it is measured as if it had been coded.
  void pass(const Tile& tile, TileMode mode) {
    if (decisions_) metered(*decisions_, tile, mode);
  }

 private:
  double metered(FrameDecisions& decisions, const Tile& tile, TileMode mode) const {
    DecisionMeter meter(decisions);
    code(meter, tile, mode);
    return meter.total;
  }

  template <class Coder>
  TileMode code(Coder& coder, const Tile& tile, TileMode mode) const {
    if (none_) return kEmpty;
    const LatentGrid& grid = grids_[static_cast<std::size_t>(tile.grid)];
    const TilePlane plane = grid.kind == kLuma ? kTileY : grid.other >= 0 ? kTileU : kTileV;
    return FrameSyntax(coder, references_).mode(plane, grid.level, mode);
  }

  std::vector<LatentGrid> grids_;
  int references_;
  bool none_;  // all latents are 0
  std::optional<FrameDecisions> decisions_;
};

// The cheapest way to code a tile and its bits.
struct TilePlan {
  TileMode mode;
  BlockMap map;
  double bits;
};

TilePlan plan(const Architecture& architecture, Wavefronts& wavefronts, const TileModes& modes,
              const Latents& latents, const TemporalContexts& temporal, const Tile& tile) {
  const auto& grid = latents[static_cast<std::size_t>(tile.grid)];
  TilePlan result{kEmpty, BlockMap(tile.rows, grid.width, architecture.block_log2),
                  modes.measure(tile, kEmpty)};
  result.map.fill(grid, tile.top, tile.rows, architecture.block_log2);
  if (!result.map.any()) return result;
  double live_bits = 0, empty_bits = 0;
  const int log2 = architecture.block_log2;
  const int across = ((grid.width - 1) >> log2) + 1;
  const auto measure = [&](int y, int x, const Distribution& d) {
    const int value = grid.row(tile.top + y)[x];
    const double bits = laplace_bits(value, d.mean(), d.scale());
    (result.map.data()[(y >> log2) * across + (x >> log2)] ? live_bits : empty_bits) += bits;
    return value;
  };
  wavefronts.visit(latents, temporal, tile, nullptr, log2, measure);
  result.mode = kFull;
  result.bits = modes.measure(tile, kFull) + live_bits + empty_bits;
  if (result.map.all()) return result;
  double map_bits = modes.measure(tile, kMapped) + live_bits;
  result.map.visit([&](bool live, AdaptiveBit& model) {
    const double one = static_cast<double>(model.one) / kProbabilityOne;
    map_bits -= std::log2(live ? one : 1 - one);
    model.update(live);
    return live;
  });
  if (map_bits < result.bits) {
    result.mode = kMapped;
    result.bits = map_bits;
  }
  return result;
}

}  // namespace

int tile_count(const Architecture& architecture, const Latents& latents) {
  return static_cast<int>(tiles(architecture, latents).size());
}

int luma_tile_count(const Architecture& architecture, const Latents& latents) {
  const auto all = tiles(architecture, latents);
  return static_cast<int>(std::count_if(all.begin(), all.end(), [&](const Tile& tile) {
    return tile.grid != kMotion && tile.grid < architecture.grids;
  }));
}

struct TileDecoder::State {
  RangeDecoder coder;
  LaplaceDecoder laplace;
  std::optional<TileModes> modes;
};

TileDecoder::TileDecoder(const std::uint8_t* data, std::size_t size, const Networks* networks)
    : state_(new State{RangeDecoder(data, size), LaplaceDecoder(), {}}) {
  if (networks) skip_update(state_->coder, *networks);
}
TileDecoder::~TileDecoder() = default;
TileDecoder::TileDecoder(TileDecoder&&) noexcept = default;

bool TileDecoder::decode(const Architecture& architecture, const Networks& networks, int first,
                         int count, const TemporalSource& temporal, Latents& latents) {
  RangeDecoder coder = state_->coder;  // a local one stays in registers
  const LaplaceDecoder& laplace = state_->laplace;
  const TemporalContexts none;
  Wavefronts wavefronts(architecture, networks);
  if (!state_->modes) state_->modes.emplace(architecture, networks);
  TileModes& modes = *state_->modes;
  const std::vector<Tile> all = tiles(architecture, latents);
  for (int i = first; i < first + count; ++i) {
    const Tile& tile = all[static_cast<std::size_t>(i)];
    if (tile.grid == kMotion) {
      MotionBits bits = motion_bits(architecture, networks);
      DecisionReader reader(coder, bits);
      code_motion(MotionGrids(architecture, networks.references), latents, reader,
                  [](std::size_t) {});
      continue;
    }
    auto& grid = latents[static_cast<std::size_t>(tile.grid)];
    TileMode mode;
    if (!modes.read(coder, tile, mode)) return false;
    if (mode == kEmpty) continue;
    BlockMap map(tile.rows, grid.width, architecture.block_log2);
    if (mode == kMapped)
      map.visit([&](bool, AdaptiveBit& model) { return coder.bit(model); });
    const int limit = wavefronts.limit(tile);
    const TemporalContexts& seen = tile.grid < architecture.grids ? temporal() : none;
    wavefronts.visit(latents, seen, tile, mode == kMapped ? map.data() : nullptr,
                     architecture.block_log2, [&](int y, int x, const Distribution& d) {
                       const int decoded = laplace.decode(coder, d);
                       if (decoded == 0) return 0;
                       // Each latent of a step is in another row, hardly in cache.
                       const int value = std::clamp(decoded, -limit, limit);
                       grid.row(tile.top + y)[x] = static_cast<std::int16_t>(value);
                       return value;
                     });
  }
  state_->coder = coder;
  return true;
}

std::vector<std::uint8_t> encode_latents(const Architecture& architecture,
                                         const Networks& networks, const Latents& latents,
                                         const TemporalContexts& temporal, int first, int count,
                                         const CodedUpdate* update) {
  RangeEncoder coder;
  if (update) write_update(coder, networks, *update);
  Wavefronts wavefronts(architecture, networks);
  TileModes modes(architecture, networks);
  const std::vector<Tile> all = tiles(architecture, latents);
  for (int i = first; i < first + count; ++i) {
    const Tile& tile = all[static_cast<std::size_t>(i)];
    if (tile.grid == kMotion) {
      MotionBits bits = motion_bits(architecture, networks);
      DecisionWriter writer(coder, bits);
      code_motion(MotionGrids(architecture, networks.references), latents, writer,
                  [](std::size_t) {});
      continue;
    }
    const auto& grid = latents[static_cast<std::size_t>(tile.grid)];
    TilePlan chosen = plan(architecture, wavefronts, modes, latents, temporal, tile);
    modes.write(coder, tile, chosen.mode);
    if (chosen.mode == kEmpty) continue;
    if (chosen.mode == kMapped)
      chosen.map.visit([&](bool live, AdaptiveBit& model) {
        coder.bit(live, model);
        return live;
      });
    wavefronts.visit(latents, temporal, tile, chosen.mode == kMapped ? chosen.map.data() : nullptr,
                     architecture.block_log2, [&](int y, int x, const Distribution& d) {
                       const int value = grid.row(tile.top + y)[x];
                       encode_laplace(coder, value, d.mean(), d.scale());
                       return value;
                     });
  }
  return coder.finish();
}

std::array<std::array<std::int32_t, 2>, kFrameContexts> count_frame(
    const Architecture& architecture, const Networks& networks, const Latents& latents,
    const TemporalContexts& temporal, const CodedUpdate& update) {
  DecisionCounter<kFrameContexts> counter;
  count_update(counter, networks, update);
  Wavefronts wavefronts(architecture, networks);
  TileModes modes(architecture, networks);
  for (const Tile& tile : tiles(architecture, latents)) {
    if (tile.grid == kMotion) continue;
    const TilePlan chosen = plan(architecture, wavefronts, modes, latents, temporal, tile);
    modes.count(counter, tile, chosen.mode);
    modes.pass(tile, chosen.mode);
  }
  return counter.counts;
}

std::array<std::array<std::int32_t, 2>, kMotionContexts> count_motion(
    const Architecture& architecture, const Latents& latents, int references) {
  MotionCounter counter;
  code_motion(MotionGrids(architecture, references), latents, counter, [](std::size_t) {});
  return counter.counts;
}

std::vector<double> measure_latents(const Architecture& architecture, const Networks& networks,
                                    const Latents& latents, const TemporalContexts& temporal) {
  std::vector<double> bits(latents.size());
  Wavefronts wavefronts(architecture, networks);
  TileModes modes(architecture, networks);
  for (const Tile& tile : tiles(architecture, latents)) {
    if (tile.grid == kMotion) {
      MotionBits own = motion_bits(architecture, networks);
      DecisionMeter meter(own);
      code_motion(MotionGrids(architecture, networks.references), latents, meter,
                  [&](std::size_t grid) { meter.add_to(bits[grid]); });
      continue;
    }
    const TilePlan chosen = plan(architecture, wavefronts, modes, latents, temporal, tile);
    modes.pass(tile, chosen.mode);
    bits[static_cast<std::size_t>(tile.grid)] += chosen.bits;
  }
  return bits;
}

}  // namespace vireo
