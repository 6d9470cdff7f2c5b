// CPU feature detection and the choice of instruction set. Compiled without ISA flags.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fptq {

// A kernel family: everything that one `--isa` name promises about the CPU.
//   kScalar      any CPU
//   kAvx2        AVX2, FMA and F16C
//   kAvxVnni     kAvx2 and AVX-VNNI (256-bit vpdpbusd in VEX encoding)
//   kAvx512Vnni  kAvx2 and AVX-512 F, BW, DQ, VL and VNNI
//   kAmx         kAvx512Vnni and AMX tiles with 8-bit products, where the system grants them
//   kNeon        Armv8.2 with dotprod
//   kI8mm        kNeon and i8mm
enum class Isa : std::uint8_t { kScalar, kAvx2, kAvxVnni, kAvx512Vnni, kAmx, kNeon, kI8mm };

// The name used by --isa, FPTQ_ISA, receipts and file names: "avx512vnni".
[[nodiscard]] std::string_view isa_name(Isa isa);

// Whether this CPU and its operating system can run kernels of that family.
[[nodiscard]] bool cpu_supports(Isa isa);

// Whether a machine that runs `running` kernels may also run a kernel written for `needed`:
// every family contains kScalar, kAvx512Vnni contains kAvx2 (not kAvxVnni), kAmx both of them.
[[nodiscard]] bool isa_includes(Isa running, Isa needed);

// The most capable family that this CPU supports.
[[nodiscard]] Isa best_isa();

// "avx2" -> Isa::kAvx2. Errors: kInvalidArgument lists the names; kUnsupported says what this
// CPU has instead.
[[nodiscard]] Result<Isa> parse_isa(std::string_view name);

// The processor's marketing name, "unknown CPU" where the system does not tell.
[[nodiscard]] std::string cpu_name();

// Processors that this process may run on (its affinity mask), at least 1.
[[nodiscard]] unsigned available_cpus();

// Bytes of the largest cache that the first processor can use, 0 where the system does not tell.
[[nodiscard]] std::size_t largest_cache_bytes();

// Bytes of a buffer that is read from memory however often it is read: twice the largest cache,
// within 256 MiB and 1 GiB.
[[nodiscard]] std::size_t uncached_buffer_bytes();

// Picks from a list ordered fastest first the first variant that `isa` can run. A variant has a
// member `isa`. The last one must be scalar, so there always is one.
template <typename Variant>
[[nodiscard]] const Variant& select_variant(std::span<const Variant> variants, Isa isa) {
  for (const Variant& variant : variants) {
    if (isa_includes(isa, variant.isa)) return variant;
  }
  return variants.back();
}

}  // namespace fptq
