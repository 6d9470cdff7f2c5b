#include "base/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

namespace fptq {
namespace {

constexpr int kPollMilliseconds = 50;
constexpr std::chrono::seconds kPatience{5};
constexpr int kCannotStart = 127;

// A file descriptor that is closed with the object; -1: none.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(Descriptor&& other) noexcept : value_(other.value_) { other.value_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~Descriptor() { close(); }

  void close() {
    if (value_ >= 0) ::close(value_);
    value_ = -1;
  }
  [[nodiscard]] int get() const { return value_; }

 private:
  int value_ = -1;
};

struct Pipe {
  Descriptor read;
  Descriptor write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return Error{Error::Kind::kIo, std::string("pipe: ") + std::strerror(errno)};
  }
  return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

// Between fork() and exec() only what is safe in a signal handler may be called.
[[noreturn]] void become(const char* path, char* const* arguments, int output, int errors,
                         pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kCannotStart);  // it ended before the line above
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nothing < 0 || ::dup2(nothing, STDIN_FILENO) < 0 || ::dup2(output, STDOUT_FILENO) < 0 ||
      ::dup2(errors, STDERR_FILENO) < 0) {
    ::_exit(kCannotStart);
  }
  ::execv(path, arguments);
  ::_exit(kCannotStart);
}

// Appends what is there to read; closes the descriptor at its end.
void read_some(Descriptor& from, std::string& to) {
  std::array<char, 4096> buffer{};
  const ssize_t count = ::read(from.get(), buffer.data(), buffer.size());
  if (count > 0) {
    to.append(buffer.data(), static_cast<std::size_t>(count));
  } else if (count == 0 || errno != EINTR) {
    from.close();
  }
}

// Reads what comes within a moment. False where nothing did; closed ends are waited for in vain.
bool read_both(Descriptor& output, Descriptor& errors, ChildOutcome& outcome) {
  std::array<pollfd, 2> waiting = {pollfd{output.get(), POLLIN, 0},
                                   pollfd{errors.get(), POLLIN, 0}};
  if (::poll(waiting.data(), waiting.size(), kPollMilliseconds) <= 0) return false;
  if (waiting[0].revents != 0) read_some(output, outcome.output);
  if (waiting[1].revents != 0) read_some(errors, outcome.errors);
  return true;
}

// Asks a process to end, and makes it if it does not.
class Stopper {
 public:
  explicit Stopper(pid_t process) : process_(process) {}

  void stop() {
    const auto now = std::chrono::steady_clock::now();
    if (!asked_) {
      asked_ = true;
      since_ = now;
      ::kill(process_, SIGINT);
    } else if (now - since_ > kPatience) {
      ::kill(process_, SIGKILL);
    }
  }

 private:
  pid_t process_;
  bool asked_ = false;
  std::chrono::steady_clock::time_point since_;
};

}  // namespace

Result<ChildOutcome> run_child(const std::string& path, const std::vector<std::string>& arguments,
                               const std::function<bool()>& keep_going) {
  FPTQ_TRY(Pipe output, make_pipe());
  FPTQ_TRY(Pipe errors, make_pipe());
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) {
    pointers.push_back(const_cast<char*>(argument.c_str()));
  }
  pointers.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return Error{Error::Kind::kIo, path + ": fork: " + std::strerror(errno)};
  if (child == 0) {
    become(path.c_str(), pointers.data(), output.write.get(), errors.write.get(), parent);
  }
  output.write.close();
  errors.write.close();

  ChildOutcome outcome;
  Stopper stopper(child);
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (!keep_going()) stopper.stop();
    read_both(output.read, errors.read, outcome);
  }
  // Not to the end of the pipes: a process that the program left behind may keep them open.
  while (read_both(output.read, errors.read, outcome)) {
  }
  if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  if (outcome.exit_code == kCannotStart) {
    return Error{Error::Kind::kIo, path + ": the program could not be started"};
  }
  return outcome;
}

}  // namespace fptq
