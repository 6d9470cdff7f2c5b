#include "cli/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace fptq::cli {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;

extern "C" void on_interrupt(int signal) {
  g_interrupted = 1;
  std::signal(signal, SIG_DFL);
}

void catch_interrupts() {
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
}

void write_to(std::FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
}

}  // namespace

Console::Console(bool quiet, bool json_on_stdout)
    : quiet_(quiet),
      json_on_stdout_(json_on_stdout),
      draws_bars_(!quiet && isatty(STDERR_FILENO) != 0) {}

void Console::print(std::string_view text) {
  clear_bar();
  write_to(json_on_stdout_ ? stderr : stdout, text);
}

void Console::note(std::string_view line) {
  if (quiet_) return;
  clear_bar();
  write_to(stderr, fmt::format("{}\n", line));
}

void Console::warn(std::string_view line) {
  clear_bar();
  write_to(stderr, fmt::format("warning: {}\n", line));
}

ProgressFn Console::progress() {
  catch_interrupts();
  return [this](const ProgressUpdate& update) {
    if (draws_bars_) draw(update);
    return g_interrupted == 0;
  };
}

void Console::draw(const ProgressUpdate& update) {
  const Clock::time_point now = Clock::now();
  if (update.stage != stage_) {
    clear_bar();
    stage_ = update.stage;
    stage_start_ = now;
  }
  if (update.done >= update.total) {
    clear_bar();
    stage_.clear();
    return;
  }
  const bool lasts = now - stage_start_ > std::chrono::seconds(1);
  const bool stale = !bar_visible_ || now - last_drawn_ > std::chrono::milliseconds(100);
  if (!lasts || !stale) return;
  const double elapsed_s = std::chrono::duration<double>(now - stage_start_).count();
  write_to(stderr, fmt::format("\r\x1b[K{}", progress_line(update, elapsed_s)));
  std::fflush(stderr);
  bar_visible_ = true;
  last_drawn_ = now;
}

void Console::clear_bar() {
  if (!bar_visible_) return;
  write_to(stderr, "\r\x1b[K");
  bar_visible_ = false;
}

Error interrupted() {
  return Error{Error::Kind::kInterrupted, "interrupted"};
}

void print_error(std::string_view message) {
  write_to(stderr, fmt::format("error: {}\n", message));
}

Status finish_stdout() {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return {};
  const int reason = errno;
  return Error{reason == ENOSPC ? Error::Kind::kLimit : Error::Kind::kIo,
               fmt::format("standard output: cannot write: {}", std::strerror(reason))};
}

std::string progress_line(const ProgressUpdate& update, double elapsed_s) {
  constexpr std::size_t kWidth = 24;
  const double fraction =
      std::min(1.0, static_cast<double>(update.done) / static_cast<double>(update.total));
  const auto filled = static_cast<std::size_t>(fraction * static_cast<double>(kWidth));
  const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '-');
  std::string line = fmt::format("{} [{}] {:3.0f}%  {}/{}", update.stage, bar,
                                 std::floor(fraction * 100), update.done, update.total);
  if (update.done > 0) {
    // Not from the fraction: its rounding error would lift an exact second to the next one.
    const std::uint64_t remaining = update.total - std::min(update.done, update.total);
    const auto left_s = static_cast<std::uint64_t>(
        std::ceil(elapsed_s * static_cast<double>(remaining) / static_cast<double>(update.done)));
    line += left_s < 3600 ? fmt::format("  {}:{:02} left", left_s / 60, left_s % 60)
                          : fmt::format("  {}:{:02}:{:02} left", left_s / 3600, left_s / 60 % 60,
                                        left_s % 60);
  }
  return line;
}

}  // namespace fptq::cli
