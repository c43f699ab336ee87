// The loops that take the time, compiled once per instruction set. All of them are
// integer arithmetic modulo 2**32, so every build gives the same results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/coolchic.hpp"
#include "core/laplace.hpp"
#include "core/loop_filter.hpp"

namespace vireo {

// Kernels work on whole vectors: rows that they read or write have room for this many
// samples behind the last one.
constexpr int kSlack = 64;
constexpr int kLanes = 16;   // latents whose distributions are computed at a time
constexpr int kChunk = 256;  // luma samples synthesised at a time, so that they stay in cache
constexpr int kMlpBlock = 4; // outputs of a layer summed at a time

// A network ready to run: weights as pairs for 16-bit multiply-adds, biases moved to the
// accumulators' fixed-point format.
struct IntegerMlp {
  struct Layer {
    int inputs, outputs;
    int shift;  // accumulator -> activation; unused in the last layer
    // Outputs in blocks of kMlpBlock, the last one smaller; in a block [pair of inputs][out].
    std::vector<std::int32_t> weights;
    std::vector<std::int32_t> biases;  // what the shift rounds by included
  };
  std::vector<Layer> layers;
  int accumulator_bits;  // fractional bits of the last layer's accumulators

  IntegerMlp(const QuantisedMlp& quantised, int input_bits);
};

// Where the distributions that a model gives lie.
struct ContextModel {
  IntegerMlp mlp;
  std::int32_t most;  // magnitude of a mean, in sixteenths
};

// The upsampling kernel ready to run: for each parity of the output's row and column, the
// samples that meet a pair of input rows, [row][column][pair of rows][tap].
struct UpsamplingKernel {
  int taps;   // input rows (and columns) that reach an output
  int pairs;  // of input rows
  int shift;
  std::vector<std::int32_t> weights;

  UpsamplingKernel(const std::vector<std::int32_t>& samples, int side, int shift);
};

// What the synthesis says about up to kChunk samples of a row.
struct Signals {
  alignas(64) std::int32_t flow[4][kChunk];  // x, y per reference
  alignas(64) std::int32_t residual[kChunk];
  alignas(64) std::int32_t alpha[kChunk];
  alignas(64) std::int32_t beta[kChunk];
};

// A row of blocks to predict.
struct BlockRow {
  const std::int32_t* fields[6];  // BlockFields' values
  int row, columns, references;
  PlaneView planes[2][3];  // of the references
  std::int16_t* out[3];
  std::int16_t* single[2];  // what luma is by each reference alone
  std::size_t stride;  // of out[0]; half of it for the others
};

// Rows around one that is filtered, it in the middle; each has kFilterReach columns of border.
struct FilterRows {
  const std::uint8_t* at[2 * kFilterReach + 1];
};

constexpr int kPeakSums = 12;
constexpr std::size_t kCrcPart = 1024;

// What kCrcPart zero bytes make of a checksum: by its bytes, to be added up.
struct CrcSkip {
  std::uint32_t table[4][256];
};

struct Kernels {
  // The parts of kLanes latents' Distribution; inputs[i] points to kLanes values of neighbour
  // i. False, and nothing written, where all inputs are 0.
  bool (*distributions)(const ContextModel& model, const std::int16_t* const* inputs,
                        std::int32_t* centres, std::int32_t* indices);
  // The last layer's accumulators for `count` samples, sums[output * kChunk + sample].
  void (*synthesise)(const IntegerMlp& mlp, const std::int16_t* const* inputs, int count,
                     std::int32_t* sums);
  // A row times 2**bits; whether it holds anything but zeros.
  bool (*scale_row)(const std::int16_t* row, int bits, int count, std::int16_t* out);
  // Pairs of a row's samples with those of the row above, the low halves of `above`.
  void (*pair_rows)(const std::int16_t* row, const std::int32_t* above, int count,
                    std::int32_t* pairs);
  // The two rows, doubled in width, that the same `taps` input rows reach: rows[j] points to
  // pairs of the input's rows 2 j and 2 j + 1, counted upwards, with `taps` columns of border.
  void (*upsample_rows)(const UpsamplingKernel& kernel, const std::int32_t* const* rows,
                        int width, std::int16_t* upper, std::int16_t* lower);
  // Signals of luma samples from the synthesis' accumulators with `bits` fractional bits.
  void (*luma_signals)(const std::int32_t* sums, int references, int bits, int count,
                       Signals& signals);
  // Motion and blending of `count` chroma samples from those of the luma rows around them.
  void (*chroma_signals)(const Signals& top, const Signals& bottom, int references, int count,
                         Signals& signals);
  // One plane's residuals, from the accumulators of the two luma rows.
  void (*chroma_residuals)(const std::int32_t* top, const std::int32_t* bottom, int bits,
                           int count, std::int32_t* residuals);
  // Decoded samples (x, y) ... (x + count - 1, y) of a plane, given the same plane of the
  // references.
  void (*inter_code)(const Signals& signals, const PlaneView* planes, int references, int x,
                     int y, int count, std::uint8_t* out);
  // Decoded samples of a piece of a row from the synthesis' accumulators with `bits` fractional
  // bits, and predictions in 1/64 sample.
  void (*add_residuals)(const std::int32_t* sums, const std::int16_t* predictions, int bits,
                        int count, std::uint8_t* out);
  // Inter prediction of a row of blocks.
  void (*predict_blocks)(const BlockRow& row);
  // Of luma alone, and as each reference has it.
  void (*predict_luma_blocks)(const BlockRow& row);
  // Of temporal contexts (core/temporal_kernels.hpp).
  void (*blur_row)(const std::int16_t* above, const std::int16_t* row, const std::int16_t* below,
                   int count, std::int16_t* out);
  void (*magnitude_row)(const std::int16_t* row, const std::int16_t* other, int count,
                        std::int16_t* out);
  void (*logarithm_row)(const std::int16_t* row, int count, std::int16_t* out);
  void (*temporal_row)(const std::int32_t* sums, int bits, int count, std::int16_t* out);
  // The loop filter's (core/filter_kernels.hpp).
  void (*filter_row)(const FilterWeights& weights, const FilterRows& rows, int count,
                     std::uint8_t* out);
  // kPeakSums * 2 * `lanes` multiply-adds a round.
  std::int32_t (*multiply_adds)(int rounds);
  int lanes;
  // CRC-32C over blocks of three parts, from and to its inner state; null where it is no
  // faster than tables.
  std::uint32_t (*crc32c)(const std::uint8_t* bytes, std::size_t blocks, std::uint32_t state,
                          const CrcSkip& skip);
};

enum class Isa { kBaseline, kAvx2, kAvx512, kAvx512Vnni };

// The kernels of the best instruction set that this machine has, or of the one asked for.
const Kernels& kernels();
bool has_isa(Isa isa);
void force_isa(Isa isa);  // for tests
// 16-bit multiply-adds per second of one core, at best, with the kernels in use.
double measure_peak();

}  // namespace vireo
