#include "cli/exit_code.h"

namespace fptq::cli {

int exit_code(Error::Kind kind) {
  switch (kind) {
    case Error::Kind::kCheckFailed:
      return kExitCheckFailed;
    case Error::Kind::kInvalidArgument:
      return kExitUsage;
    case Error::Kind::kNotFound:
    case Error::Kind::kIo:
    case Error::Kind::kFormat:
    case Error::Kind::kUnsupported:
      return kExitBadInput;
    case Error::Kind::kLimit:
      return kExitLimit;
    case Error::Kind::kInterrupted:
      return kExitInterrupted;
  }
  return kExitBadInput;
}

}  // namespace fptq::cli
