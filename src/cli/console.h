// Where the program's words go: results to stdout, everything else to stderr.

#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/progress.h"
#include "base/result.h"

namespace fptq::cli {

class Console {
 public:
  // json_on_stdout: stdout is for a machine, so results for people go to stderr as well.
  Console(bool quiet, bool json_on_stdout);

  // A result for people, as it is. Printed with --quiet too.
  void print(std::string_view text);
  // What is going on, one line on stderr. Silent with --quiet.
  void note(std::string_view line);
  // "warning: line" on stderr.
  void warn(std::string_view line);

  // Draws a bar with the time left on stderr where that is a terminal and the work takes more
  // than a second. From the first call on, Ctrl-C no longer ends the program but stops the work
  // at its next step, so that nothing is left half-done; a second Ctrl-C ends it at once.
  // The result must not outlive the console.
  [[nodiscard]] ProgressFn progress();

 private:
  void draw(const ProgressUpdate& update);
  void clear_bar();

  using Clock = std::chrono::steady_clock;

  bool quiet_;
  bool json_on_stdout_;
  bool draws_bars_;
  bool bar_visible_ = false;
  std::string stage_;
  Clock::time_point stage_start_;
  Clock::time_point last_drawn_;
};

// The error of work that ProgressFn stopped.
[[nodiscard]] Error interrupted();

// "error: message" on stderr.
void print_error(std::string_view message);

// Flushes stdout. Errors: kIo, or kLimit where the disk is full, if anything that was written
// to it is lost.
[[nodiscard]] Status finish_stdout();

// The line of a progress bar: `quantizing [######--------] 43%  12/30  0:34 left`.
//   elapsed_s   seconds since the stage began; the time left is estimated from it
[[nodiscard]] std::string progress_line(const ProgressUpdate& update, double elapsed_s);

}  // namespace fptq::cli
