#include "base/child_process.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>

namespace fptq {
namespace {

Result<ChildOutcome> shell(
    const std::string& script, const std::function<bool()>& keep_going = [] { return true; }) {
  return run_child("/bin/sh", {"sh", "-c", script}, keep_going);
}

TEST(ChildProcess, GivesBackWhatTheProgramWroteAndItsCode) {
  const auto outcome = shell("echo out; echo err >&2; exit 3");
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->output, "out\n");
  EXPECT_EQ(outcome->errors, "err\n");
  EXPECT_EQ(outcome->exit_code, 3);
  EXPECT_EQ(outcome->signal, 0);
}

TEST(ChildProcess, ReadsMoreThanAPipeHolds) {
  const auto outcome = shell(
      "i=0; while [ $i -lt 4000 ]; do echo 0123456789012345678901234567890123456789; "
      "i=$((i+1)); done");
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->output.size(), 4000u * 41u);
}

TEST(ChildProcess, HasNothingToRead) {
  const auto outcome = shell("cat; echo done");
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->output, "done\n");
}

TEST(ChildProcess, NamesTheSignalThatEndedTheProgram) {
  const auto outcome = shell("kill -KILL $$");
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->signal, SIGKILL);
}

TEST(ChildProcess, InterruptsTheProgramWhenAskedTo) {
  int asked = 0;
  const auto outcome = shell("trap 'echo interrupted; exit 130' INT; while :; do sleep 0.05; done",
                             [&] { return ++asked < 8; });
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->output, "interrupted\n");
  EXPECT_EQ(outcome->exit_code, 130);
}

TEST(ChildProcess, LeavesNoProcessBehind) {
  ASSERT_TRUE(shell("exit 0"));
  ASSERT_TRUE(shell("sleep 10", [] { return false; }));
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(ChildProcess, DoesNotWaitForWhatTheProgramLeftBehind) {
  const auto outcome = shell("sleep 2 & echo done");
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->output, "done\n");
}

TEST(ChildProcess, SaysThatAProgramCannotBeStarted) {
  const auto outcome = run_child("/absent/program", {"program"}, [] { return true; });
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, Error::Kind::kIo);
  EXPECT_EQ(outcome.error().message, "/absent/program: the program could not be started");
}

}  // namespace
}  // namespace fptq
