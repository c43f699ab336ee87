#include "core/laplace.hpp"

#include <array>
#include <cmath>

#include "core/exp_golomb.hpp"

namespace vireo {
namespace {

// round(2**32 * exp(-1 / (16 b))) for the scales b = 2**((i - 40) / 8): what the density
// loses over a sixteenth. Normative: the tables follow from these by integer arithmetic.
constexpr std::array<std::uint32_t, kScales> kDecay = {
     581260615u,  686215099u,  799036310u,  918726429u, 1044178424u,
    1174220339u, 1307656790u, 1443305845u, 1580030169u, 1716761896u,
    1852521207u, 1986428948u, 2117713904u, 2245715466u, 2369882518u,
    2489769347u, 2605029347u, 2715407188u, 2820730047u, 2920898384u,
    3015876649u, 3105684222u, 3190386796u, 3270088366u, 3344923893u,
    3415052718u, 3480652712u, 3541915165u, 3599040369u, 3652233859u,
    3701703250u, 3747655612u, 3790295335u, 3829822416u, 3866431115u,
    3900308936u, 3931635878u, 3960583919u, 3987316692u, 4011989318u,
    4034748382u, 4055731996u, 4075069962u, 4092883986u, 4109287957u,
    4124388246u, 4138284039u, 4151067684u, 4162825044u, 4173635859u,
    4183574096u, 4192708297u, 4201101925u, 4208813685u, 4215897841u,
    4222404522u, 4228380000u, 4233866970u, 4238904802u, 4243529783u,
    4247775344u, 4251672275u, 4255248918u, 4258531358u, 4261543595u,
    4264307701u, 4266843974u, 4269171071u, 4271306145u, 4273264955u,
    4275061981u, 4276710525u, 4278222805u, 4279610043u, 4280882540u,
    4282049758u, 4283120382u, 4284102383u, 4285003080u, 4285829189u};

constexpr std::uint32_t kOne = 1u << 30;
constexpr std::uint32_t kNegligible = 360448;  // 2**30 * exp(-8), nearly

}  // namespace

LaplaceTable::LaplaceTable(std::uint32_t decay) {
  std::vector<std::uint32_t> mass{kOne};
  const auto extend = [&] {
    mass.push_back(static_cast<std::uint32_t>((std::uint64_t{mass.back()} * decay) >> 32));
  };
  reach_ = 1;
  do {
    for (int i = 0; i < 1 << kMeanBits; ++i) extend();
    ++reach_;
  } while (reach_ < 3 || mass.back() >= kNegligible);
  while (mass.size() <= static_cast<std::size_t>(reach_ + 1) << kMeanBits) extend();
  for (const std::uint32_t m : mass) tail_.push_back(static_cast<std::uint16_t>(m >> 15));
  spread_ = kProbabilityOne - static_cast<std::uint32_t>(2 * reach_ + 1);
}

const LaplaceTable* LaplaceDecoder::tables() {
  static const std::vector<LaplaceTable> all(kDecay.begin(), kDecay.end());
  return all.data();
}

const LaplaceTable& laplace_table(int scale) { return LaplaceDecoder::tables()[scale]; }

std::int32_t LaplaceDecoder::decode_far(RangeDecoder& coder, const Distribution& d,
                                        const Frequencies& centre) const {
  const LaplaceTable& table = tables_[d.scale()];
  const int fraction = d.fraction(), reach = table.reach();
  const std::uint64_t unit = coder.unit(), code = coder.code();
  int k;
  std::uint32_t low, high;
  if (code < unit * centre.low) {
    k = -1;
    high = centre.low;
    low = table.cumulative(-2, fraction);
    while (code < unit * low) {
      --k;
      high = low;
      low = table.cumulative(k - 1, fraction);
    }
  } else {
    k = 1;
    low = centre.high;
    high = table.cumulative(1, fraction);
    while (code >= unit * high && k < reach) {
      ++k;
      low = high;
      high = table.cumulative(k, fraction);
    }
  }
  coder.take(unit, low, high - low);
  if (k == reach) k += static_cast<int>(decode_exp_golomb(coder));
  if (k == -reach) k -= static_cast<int>(decode_exp_golomb(coder));
  return d.centre + k;
}

std::int32_t decode_laplace(RangeDecoder& coder, std::int32_t mean, int scale) {
  int fraction;
  const int centre = nearest(mean, fraction);
  const int index = (scale << kMeanBits) + fraction + (1 << (kMeanBits - 1));
  return LaplaceDecoder().decode(coder, {centre, index});
}

const LaplaceDecoder::Frequencies* LaplaceDecoder::centres() {
  static const auto all = [] {
    std::array<Frequencies, kScales << kMeanBits> table;
    for (int scale = 0; scale < kScales; ++scale)
      for (int i = 0; i < 1 << kMeanBits; ++i) {
        const int fraction = i - (1 << (kMeanBits - 1));
        const LaplaceTable& laplace = laplace_table(scale);
        table[static_cast<std::size_t>((scale << kMeanBits) + i)] = {
            static_cast<std::uint16_t>(laplace.cumulative(-1, fraction)),
            static_cast<std::uint16_t>(laplace.cumulative(0, fraction))};
      }
    return table;
  }();
  return all.data();
}

void encode_laplace(RangeEncoder& coder, std::int32_t value, std::int32_t mean, int scale) {
  const LaplaceTable& table = laplace_table(scale);
  int fraction;
  const int offset = value - nearest(mean, fraction);
  const int reach = table.reach();
  const int k = offset > reach ? reach : offset < -reach ? -reach : offset;
  const std::uint32_t low = table.cumulative(k - 1, fraction);
  coder.put(low, table.cumulative(k, fraction) - low);
  if (k == reach) encode_exp_golomb(coder, static_cast<std::uint32_t>(offset - reach));
  if (k == -reach) encode_exp_golomb(coder, static_cast<std::uint32_t>(-reach - offset));
}

double laplace_bits(std::int32_t value, std::int32_t mean, int scale) {
  const LaplaceTable& table = laplace_table(scale);
  int fraction;
  const int offset = value - nearest(mean, fraction);
  const int reach = table.reach();
  const int k = offset > reach ? reach : offset < -reach ? -reach : offset;
  const std::uint32_t size = table.cumulative(k, fraction) - table.cumulative(k - 1, fraction);
  double bits = kProbabilityBits - std::log2(static_cast<double>(size));
  if (k == reach) bits += exp_golomb_bits(static_cast<std::uint32_t>(offset - reach));
  if (k == -reach) bits += exp_golomb_bits(static_cast<std::uint32_t>(-reach - offset));
  return bits;
}

}  // namespace vireo
