// The nouns of a Cool-chic frame: shapes, quantised networks, latent grids, planes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace vireo {

// Bounds that hold for every stream, so that a decoder's memory and work are bounded.
constexpr int kMaxGrids = 16;
constexpr int kMaxContext = 64;
constexpr int kMaxWidth = 64;        // of a network's layer
constexpr int kMaxLayers = 8;
constexpr int kMaxKernel = 16;
constexpr int kMaxContextReach = 8;  // of a context, rows and columns
constexpr int kMaxMagnitudeBits = 12;
constexpr int kMaxMotion = 4095;     // magnitude of a field's latent
constexpr std::int32_t kMaxWeight = 32767;  // and of a kernel's sample

// Fixed-point formats of networks with parts (docs/bitstream.md, "Networks").
constexpr int kArmBits = 8;  // of weights, biases and activations
constexpr int kKernelBits = 10;
constexpr int kSynthesisWeightBits = 10, kSynthesisBiasBits = 12, kSynthesisHiddenBits = 11;

struct Offset {
  int dy, dx;
};

// Binary decisions, each with a probability of its own: those that code motion, of P and B frames
// whose vectors begin at 0 and of the others (core/motion_syntax.hpp), and others of I, P and B
// frames (core/frame_syntax.hpp).
constexpr int kMotionContexts = 295, kMotionRows = 4;
constexpr int kFrameContexts = 53, kFrameRows = 3;

// What a grid of latents is for; luma and chroma have an autoregressive model each. With parts
// both have an input besides the context: luma's the temporal context, chroma's `other`.
enum GridKind { kLuma, kChroma, kVectors, kBlending };

// A grid's place in a frame: 2**level times smaller than luma. `other` is the grid, coded
// before it, whose latents chroma's model sees besides the context; -1: none.
struct LatentGrid {
  GridKind kind;
  int level;
  int other;
};

// Luma, chroma and motion with latents of their own.
struct Parts {
  int chroma_first = 0;  // level of the finest chroma grids
  std::vector<int> chroma_synthesis;  // hidden widths
  int motion_first = 0;  // level of a field's finest grid
  int motion_grids = 0;  // of each field
  // That a decision's result is 1, at the start, in 2**-16, row by row.
  std::vector<std::uint16_t> motion_probabilities, frame_probabilities;
  // Of the network that gives temporal contexts, which come with the format as well.
  std::vector<std::int16_t> temporal;
};

// Shapes: what the stream header fixes. With parts the others are luma's.
struct Architecture {
  int grids = 0;
  std::vector<Offset> context;
  std::vector<int> arm;        // widths, from the context's to 2
  int kernel = 0;
  std::vector<int> synthesis;  // hidden widths; two layers of the outputs' width follow, or
                               // with parts one
  int band_rows_log2 = 0;      // rows of a tile; 0: a tile is a whole grid
  int block_log2 = 0;          // side of the blocks that a map may declare empty
  std::optional<Parts> parts;

  // Of the autoregressive models, by kind.
  std::vector<std::vector<int>> arm_widths() const;
  // Of the synthesis, or with parts of luma's and of chroma's.
  std::vector<std::vector<int>> synthesis_widths(int references) const;
  // All grids of a frame in the order in which everything lists them: luma's, finest first,
  // and with parts U's, V's and each field's.
  std::vector<LatentGrid> latent_grids(int references) const;
  bool valid() const;
};

// One network: integer weights on a grid of step 2**-weight_bits, biases on one of step
// 2**-bias_bits; layer l's activations, after its ReLU, are integers of hidden_bits[l]
// fractional bits.
struct QuantisedMlp {
  std::vector<int> widths;
  std::vector<std::int32_t> parameters;  // per layer: weights [out][in], then biases [out]
  int weight_bits = 0;
  int bias_bits = 0;
  std::vector<int> hidden_bits;

  static QuantisedMlp zeros(const std::vector<int>& widths);
  std::size_t layers() const { return widths.size() - 1; }
};

// What is done to the samples of luma, or of chroma, before the picture is shown and referred
// to (core/loop_filter.hpp).
struct LoopFilter {
  bool on = false;
  std::vector<std::int32_t> weights;  // [limit][place]
};

struct Networks {
  int references = 0;             // 0, 1, 2 for I, P, B
  bool inherits = false;          // with parts and references: motion, from a reference's
  // What the whole picture's motion is, which vectors begin with if this isn't empty: six numbers
  // per reference (docs/bitstream.md, "Motion of the whole picture").
  std::vector<std::int32_t> corners;
  int magnitude_bits = 0;  // latents but motion's lie strictly between -2**bits and 2**bits
  std::vector<QuantisedMlp> arms;  // by kind
  std::vector<std::int32_t> kernel;
  int kernel_bits = 0;
  std::vector<QuantisedMlp> syntheses;  // one, or luma's and chroma's
  std::vector<LoopFilter> filters;      // with parts luma's and chroma's
  std::vector<std::uint16_t> frame_probabilities;  // as in Parts
  double coded_bits = 0;                // that decode_update has read

  static Networks zeros(const Architecture& architecture, int references);
  bool has_parts() const { return arms.size() > 1; }
  // Whether vectors begin with anything but 0.
  bool begins() const { return inherits || !corners.empty(); }
  // All parameters in one row: autoregressive models, kernel, syntheses, filters.
  std::vector<std::int32_t> parameters() const;
  void set_parameters(const std::int32_t* values);
  // Fractional bits of latents on their way through upsampling and synthesis: as many
  // as 16-bit integers leave, up to ten.
  int latent_bits() const { return magnitude_bits < 4 ? 10 : 14 - magnitude_bits; }
};

// A plane of samples or latents, rows without padding.
template <class T>
struct Plane {
  int height = 0, width = 0;
  std::vector<T> samples;

  Plane() = default;
  Plane(int h, int w) : height(h), width(w), samples(static_cast<std::size_t>(h) * static_cast<std::size_t>(w)) {}
  T* row(int y) { return samples.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(width); }
  const T* row(int y) const { return samples.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(width); }
};

// The samples of a picture's plane that someone else holds, rows without padding.
struct PlaneView {
  const std::uint8_t* samples;
  int height, width;
};

using Latents = std::vector<Plane<std::int16_t>>;  // in the order of latent_grids

// Grids for a picture of even size, all zero.
Latents make_latents(const Architecture& architecture, int references, int height, int width);

// What the prediction tells of luma's latents, a plane per grid, finest first
// (core/temporal_context.hpp); none where nothing is predicted.
using TemporalContexts = std::vector<Plane<std::int16_t>>;
using TemporalSource = std::function<const TemporalContexts&()>;  // for when they are needed

// What a frame's vectors begin with: x and y per reference in 1/64 luma sample, one value for each
// block; none where they begin at 0.
using InheritedMotion = std::vector<Plane<std::int32_t>>;

struct Picture {
  Plane<std::uint8_t> y, u, v;
};

// Y, U, V of a picture that someone else holds.
using PictureView = std::array<PlaneView, 3>;

// a / 2**shift, halves rounded up, or a * 2**-shift; two's complement throughout.
inline std::int32_t round_shift(std::int32_t a, int shift) {
  if (shift <= 0) return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) << -shift);
  return (a + (1 << (shift - 1))) >> shift;
}

// Networks in a packet.
std::vector<std::uint8_t> encode_networks(const Networks& networks);
// Bits that encode_networks would spend.
double measure_networks(const Networks& networks);
// False if the bytes hold values that the format does not allow.
bool decode_networks(const std::uint8_t* data, std::size_t size, Networks& networks);

// With parts a packet says how networks differ from a base: shipped ones, or a reference's.
constexpr std::size_t kCorners = 6;          // numbers per reference, of the whole picture's motion
constexpr std::int32_t kMaxCorner = 32767;   // in 1/16 sample
constexpr int kReferenceBase = 254;  // number of the first reference's
constexpr int kSetBits = 5;          // of a set's number
struct Bases {
  const std::int16_t* sets;  // shipped parameters, one set after another
  int count;
  std::vector<std::vector<std::int32_t>> references;
};
// `base` is the parameters of base `number`.
std::vector<std::uint8_t> encode_update(const Networks& networks, int number,
                                        const std::vector<std::int32_t>& base);
// Bits that encode_update would spend.
double measure_update(const Networks& networks, int number, const std::vector<std::int32_t>& base);
// Reads what a section begins with. False if the bytes hold values that the format does not
// allow, or name no base.
bool decode_update(const std::uint8_t* data, std::size_t size, const Bases& bases,
                   Networks& networks);

// Networks that stand before a section's tiles.
struct CodedUpdate {
  int number;
  const std::vector<std::int32_t>& base;
};

// Tiles: with parts and references the frame's motion is the first one; then come bands of the
// other grids, last grid of the list first, top band first. Luma's models see `temporal`.
int tile_count(const Architecture& architecture, const Latents& latents);
// Of these, luma's, which are the last ones.
int luma_tile_count(const Architecture& architecture, const Latents& latents);
// Reads a section's tiles into latents that are 0 there.
class TileDecoder {
 public:
  // With `networks` of their shapes, the bytes begin with an update, which is passed over.
  TileDecoder(const std::uint8_t* data, std::size_t size, const Networks* networks = nullptr);
  ~TileDecoder();
  TileDecoder(TileDecoder&&) noexcept;
  // The next `count` tiles, the first one of which is `first`; false if the bytes hold a value
  // that the format does not allow. With parts those before them are there already.
  bool decode(const Architecture& architecture, const Networks& networks, int first, int count,
              const TemporalSource& temporal, Latents& latents);

 private:
  struct State;
  std::unique_ptr<State> state_;
};
// Tiles, behind an update of networks if one is given.
std::vector<std::uint8_t> encode_latents(const Architecture& architecture,
                                         const Networks& networks, const Latents& latents,
                                         const TemporalContexts& temporal, int first, int count,
                                         const CodedUpdate* update = nullptr);
// Bits that encode_latents would spend, per grid.
std::vector<double> measure_latents(const Architecture& architecture, const Networks& networks,
                                    const Latents& latents, const TemporalContexts& temporal);
// How often decisions came out 0 and 1, for tables of probabilities: those of an update and of
// tiles' modes, and motion's.
std::array<std::array<std::int32_t, 2>, kFrameContexts> count_frame(
    const Architecture& architecture, const Networks& networks, const Latents& latents,
    const TemporalContexts& temporal, const CodedUpdate& update);
std::array<std::array<std::int32_t, 2>, kMotionContexts> count_motion(
    const Architecture& architecture, const Latents& latents, int references);

// What a synthesis without parts says about each luma sample, for looking at (tests, tools).
struct SignalPlanes {
  std::vector<Plane<std::int32_t>> flows;  // x, y per reference, in 1/64 luma samples
  Plane<std::int32_t> residual;            // of luma, in 1/64 sample values
  Plane<std::int32_t> alpha, beta;         // in 1/4096
};

// Seconds that a reconstruction spent in its stages.
struct StageTimes {
  double upsampling = 0, synthesis = 0, inter = 0, filter = 0;
};

// The decoded picture; `references` holds as many as networks.references says, of the same
// size. Fills `signals` (not with parts) and `times` if they are not null. `inherited` is of parts.
Picture reconstruct(const Architecture& architecture, const Networks& networks,
                    const Latents& latents, const std::vector<PictureView>& references,
                    SignalPlanes* signals = nullptr, StageTimes* times = nullptr,
                    const InheritedMotion& inherited = {});

}  // namespace vireo
