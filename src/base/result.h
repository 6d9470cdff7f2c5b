// Result<T>: a value, or the reason there is none. (std::expected arrives in C++23.)

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace fptq {

// Why an operation failed. `message` is complete and can be shown to a user as it is:
// it names the place, what was expected, what was found and, where it helps, what to do.
struct Error {
  enum class Kind {
    kInvalidArgument,  // the caller asked for something that makes no sense (exit code 2)
    kNotFound,         // a file, tensor or name is not there (3)
    kIo,               // the operating system refused (3)
    kFormat,           // bytes that break their format's rules (3)
    kUnsupported,      // well-formed, but not something fptq can do (3)
    kLimit,            // memory or disk is not enough (4)
    kCheckFailed,      // a check that the user asked for did not hold (1)
    kInterrupted,      // the user stopped the work (130)
  };

  Kind kind;
  std::string message;
};

// Holds either a T or an Error. Test it before use: `if (!result) return result.error();`
template <typename T>
class [[nodiscard]] Result {
 public:
  // Implicit, so that functions can `return value;` and `return Error{...};`.
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() & { return std::get<0>(state_); }
  const T& operator*() const& { return std::get<0>(state_); }
  T&& operator*() && { return std::get<0>(std::move(state_)); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, Error> state_;
};

// Success, or the reason there is none.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT

  explicit operator bool() const { return !error_.has_value(); }
  const Error& error() const& { return *error_; }
  Error&& error() && { return *std::move(error_); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

// `where: message`, with the kind kept.
[[nodiscard]] inline Error with_context(const Error& error, const std::string& where) {
  return Error{error.kind, where + ": " + error.message};
}

}  // namespace fptq

#define FPTQ_CONCAT_INNER(a, b) a##b
#define FPTQ_CONCAT(a, b) FPTQ_CONCAT_INNER(a, b)

// FPTQ_TRY(auto x, f()): declares x as the value of f(), or returns f()'s error.
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses.
#define FPTQ_TRY(declaration, expression)                       \
  auto FPTQ_CONCAT(fptq_try_, __LINE__) = (expression);         \
  if (!FPTQ_CONCAT(fptq_try_, __LINE__))                        \
    return std::move(FPTQ_CONCAT(fptq_try_, __LINE__)).error(); \
  declaration = *std::move(FPTQ_CONCAT(fptq_try_, __LINE__))
// NOLINTEND(bugprone-macro-parentheses)

// FPTQ_TRY_VOID(f()): returns f()'s error, if there is one.
#define FPTQ_TRY_VOID(expression)                                                             \
  do {                                                                                        \
    if (auto fptq_status = (expression); !fptq_status) return std::move(fptq_status).error(); \
  } while (false)
