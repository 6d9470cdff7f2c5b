#include "io/pickle.h"

namespace fptq::io {

bool is_pickle(std::span<const std::byte> begin) {
  const auto at = [&](std::size_t i) { return i < begin.size() ? begin[i] : std::byte{0}; };
  const bool zip = at(0) == std::byte{'P'} && at(1) == std::byte{'K'} && at(2) == std::byte{3} &&
                   at(3) == std::byte{4};
  return zip || (at(0) == std::byte{0x80} && at(1) >= std::byte{2} && at(1) <= std::byte{5});
}

Error pickle_error(const std::filesystem::path& path) {
  return Error{Error::Kind::kUnsupported,
               path.string() +
                   ": a pickle can run code when it is read, so it is not. Convert the "
                   "checkpoint to safetensors first, for example with transformers' "
                   "save_pretrained()"};
}

}  // namespace fptq::io
