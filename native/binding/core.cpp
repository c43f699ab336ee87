// vireo._core: the normative decoder and what the encoder shares with it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>

#include "core/crc32c.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Bytes = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

}  // namespace

NB_MODULE(_core, m) {
  m.doc() = "Vireo's compiled core: exact integer decoding.";

  m.def(
      "crc32c",
      [](Bytes data, std::uint32_t previous) {
        return vireo::crc32c(data.data(), data.size(), previous);
      },
      "data"_a, "previous"_a = 0,
      "CRC-32C of a contiguous uint8 array; `previous` continues an earlier checksum.");
}
