// Runs a program and waits for it.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace fptq {

// How a program ended, and what it wrote.
struct ChildOutcome {
  int exit_code = 0;  // where it ended by itself
  int signal = 0;     // that ended it, or 0
  std::string output;
  std::string errors;  // its standard error
};

// Starts the program at `path` with `arguments` (the first is its name for itself) and nothing on
// its standard input, and returns once it has ended; it cannot outlive this process.
//
//   keep_going  asked about twenty times a second; once it returns false, the program gets SIGINT,
//               and SIGKILL where it has not ended five seconds later
//
// A program that fails is no error here. Errors: kIo where it cannot be started.
[[nodiscard]] Result<ChildOutcome> run_child(const std::string& path,
                                             const std::vector<std::string>& arguments,
                                             const std::function<bool()>& keep_going);

}  // namespace fptq
