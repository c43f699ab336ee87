// vireo._core: the normative decoder and what the encoder shares with it.
#include "binding/coolchic.hpp"
#include "binding/entropy.hpp"
#include "core/crc32c.hpp"
#include "core/kernels.hpp"

NB_MODULE(_core, m) {
  m.doc() = "Vireo's compiled core: exact integer decoding.";

  m.def(
      "crc32c",
      [](Bytes data, std::uint32_t previous) {
        // What is done at once isn't worth waiting for the interpreter afterwards.
        if (data.size() < 1 << 16) return vireo::crc32c(data.data(), data.size(), previous);
        nb::gil_scoped_release release;
        return vireo::crc32c(data.data(), data.size(), previous);
      },
      "data"_a, "previous"_a = 0,
      "CRC-32C of a contiguous uint8 array; `previous` continues an earlier checksum.");

  nb::enum_<vireo::Isa>(m, "Isa", "Instruction sets that the kernels are built for.")
      .value("BASELINE", vireo::Isa::kBaseline)
      .value("AVX2", vireo::Isa::kAvx2)
      .value("AVX512", vireo::Isa::kAvx512)
      .value("AVX512_VNNI", vireo::Isa::kAvx512Vnni);
  m.def("has_isa", &vireo::has_isa, "isa"_a, "Whether this machine can run that build.");
  m.def("force_isa", &vireo::force_isa, "isa"_a, "Use that build from now on (for tests).");

  m.def("measure_peak", &vireo::measure_peak,
        "16-bit multiply-adds per second that one core does at best, with the build in use.");

  bind_networks(m);
  bind_pictures(m);
  bind_latents(m);
  bind_entropy(m);
}
