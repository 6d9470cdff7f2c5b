#include "base/cpu.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <fstream>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fptq {
namespace {

constexpr std::array kAllIsas = {Isa::kScalar, Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512Vnni,
                                 Isa::kAmx,    Isa::kNeon, Isa::kI8mm};

#if defined(__x86_64__)
// Features that gcc 12 or clang 14 have no name for in __builtin_cpu_supports.
struct CpuidResult {
  std::uint32_t eax, ebx, ecx, edx;
};
CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
  CpuidResult r{leaf, 0, subleaf, 0};
  __asm__ volatile("cpuid" : "+a"(r.eax), "=b"(r.ebx), "+c"(r.ecx), "=d"(r.edx));
  return r;
}

// Leaf 7 reports its highest subleaf in EAX.
bool has_avx_vnni() {
  return cpuid(7, 0).eax >= 1 && (cpuid(7, 1).eax >> 4 & 1U) != 0;
}

bool has_f16c() {
  return (cpuid(1, 0).ecx >> 29 & 1U) != 0;
}

bool has_avx2() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 && has_f16c();
}

bool has_avx512_vnni() {
  return has_avx2() && __builtin_cpu_supports("avx512f") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512vnni") != 0;
}

// Leaf 7: AMX-TILE is bit 24 of EDX, AMX-INT8 bit 25. Tile registers are large, so that Linux gives
// them only to a process that asks (Documentation/arch/x86/xstate.rst); an older one refuses.
bool has_amx() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  if ((cpuid(7, 0).edx >> 24 & 3U) != 3U || !has_avx512_vnni()) return false;
  static const bool granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
}
#endif

}  // namespace

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvxVnni:
      return "avxvnni";
    case Isa::kAvx512Vnni:
      return "avx512vnni";
    case Isa::kAmx:
      return "amx";
    case Isa::kNeon:
      return "neon";
    case Isa::kI8mm:
      return "i8mm";
  }
  return "unknown";
}

bool cpu_supports(Isa isa) {
  if (isa == Isa::kScalar) return true;
#if defined(__x86_64__)
  if (isa == Isa::kAvx2) return has_avx2();
  if (isa == Isa::kAvxVnni) return has_avx2() && has_avx_vnni();
  if (isa == Isa::kAvx512Vnni) return has_avx512_vnni();
  if (isa == Isa::kAmx) return has_amx();
#elif defined(__aarch64__)
  const unsigned long caps = getauxval(AT_HWCAP);
  const unsigned long caps2 = getauxval(AT_HWCAP2);
  const bool dotprod = (caps & HWCAP_ASIMDDP) != 0;
  if (isa == Isa::kNeon) return dotprod;
  if (isa == Isa::kI8mm) return dotprod && (caps2 & HWCAP2_I8MM) != 0;
#endif
  return false;
}

bool isa_includes(Isa running, Isa needed) {
  if (needed == Isa::kScalar || needed == running) return true;
  if (needed == Isa::kAvx512Vnni) return running == Isa::kAmx;
  if (needed == Isa::kAvx2) {
    return running == Isa::kAvxVnni || isa_includes(running, Isa::kAvx512Vnni);
  }
  if (needed == Isa::kNeon) return running == Isa::kI8mm;
  return false;
}

Isa best_isa() {
  for (const Isa isa :
       {Isa::kAmx, Isa::kAvx512Vnni, Isa::kAvxVnni, Isa::kAvx2, Isa::kI8mm, Isa::kNeon}) {
    if (cpu_supports(isa)) return isa;
  }
  return Isa::kScalar;
}

Result<Isa> parse_isa(std::string_view name) {
  for (const Isa isa : kAllIsas) {
    if (isa_name(isa) != name) continue;
    if (cpu_supports(isa)) return isa;
    return Error{Error::Kind::kUnsupported, "--isa " + std::string(name) + ": this CPU (" +
                                                cpu_name() + ") has " +
                                                std::string(isa_name(best_isa())) + " at best"};
  }
  return Error{Error::Kind::kInvalidArgument,
               "--isa: expected scalar, avx2, avxvnni, avx512vnni, amx, neon or i8mm, got \"" +
                   std::string(name) + "\""};
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  while (std::getline(info, line)) {
    if (!line.starts_with("model name")) continue;
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

unsigned available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  const int count = CPU_COUNT(&set);
  return count < 1 ? 1U : static_cast<unsigned>(count);
}

std::size_t largest_cache_bytes() {
  std::size_t largest = 0;
  for (std::size_t index = 0;; ++index) {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) +
                       "/size");
    std::size_t kib = 0;  // the file holds "32K"
    if (!(file >> kib)) return largest;
    largest = std::max(largest, kib << 10);
  }
}

std::size_t uncached_buffer_bytes() {
  constexpr std::size_t kMebibyte = std::size_t{1} << 20;
  return std::clamp(2 * largest_cache_bytes(), 256 * kMebibyte, 1024 * kMebibyte);
}

}  // namespace fptq
