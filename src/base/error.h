// Results and errors: every function that can fail for the user's reasons returns a Result.
//
// An Error has a kind (whose fault), a sentence saying what was found, a chain of places in the user's words
// (innermost first) and optional advice. Nothing throws across the library's API.
//
//   Result<int> parse(std::string_view text) {
//     if (text.empty()) return fail("the number is empty");
//     return POM_TRY(digits(text)) + 1;                       // passes an error on
//   }
//   Result<Model> load(path p) { POM_IN_PLACE(parse(...), "file '{}'", p); }
//
// What it does not do: carry stack traces, or distinguish errors by code (callers decide by kind only).
#pragma once
#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace pomona {

// Whose fault an error is; the command line turns it into the exit status.
enum class Fault : unsigned char {
  request,      // the request or the model is wrong (exit 2)
  environment,  // this machine cannot: no space, no permission, a missing program (exit 3)
  bug,          // ours (exit 70)
};

struct [[nodiscard]] Error {
  std::string what;
  std::vector<std::string> places;  // innermost first: "op 'conv_3'", "function main", "file 'a.onnx'"
  std::vector<std::string> advice;  // printed as "try: ..."
  Fault fault = Fault::request;

  Error in(std::string place) && {
    places.push_back(std::move(place));
    return std::move(*this);
  }
  Error advise(std::string sentence) && {
    advice.push_back(std::move(sentence));
    return std::move(*this);
  }
  Error blame(Fault whose) && {
    fault = whose;
    return std::move(*this);
  }
};

// The message as people read it: "error: WHAT", "  at PLACE" from outer to inner, "  try: ...".
std::string describe(const Error& error);

Error fail_text(fmt::string_view format, fmt::format_args arguments);
template <class... A>
Error fail(fmt::format_string<A...> format, A&&... arguments) {
  return fail_text(format, fmt::make_format_args(arguments...));
}

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() & { return *std::get_if<0>(&state_); }
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }
  Error& error() & { return *std::get_if<1>(&state_); }
  const Error& error() const& { return *std::get_if<1>(&state_); }
  Error&& error() && { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : failed_(true), error_(std::move(error)) {}
  explicit operator bool() const { return !failed_; }
  void operator*() const {}
  Error& error() & { return error_; }
  const Error& error() const& { return error_; }
  Error&& error() && { return std::move(error_); }

 private:
  bool failed_ = false;
  Error error_;
};

using Status = Result<void>;

}  // namespace pomona

// The value of a Result, or return its error from the enclosing function.
#define POM_TRY(...)                                         \
  ({                                                         \
    auto pom_result_ = (__VA_ARGS__);                        \
    if (!pom_result_) return std::move(pom_result_).error(); \
    *std::move(pom_result_);                                 \
  })

// The same, naming the place where it happened: POM_TRY_IN(read(f), "file '{}'", f).
#define POM_TRY_IN(expression, ...)                                                         \
  ({                                                                                        \
    auto pom_result_ = (expression);                                                        \
    if (!pom_result_) return std::move(pom_result_).error().in(::fmt::format(__VA_ARGS__)); \
    *std::move(pom_result_);                                                                \
  })

// Return an error unless the condition holds.
#define POM_REQUIRE(condition, ...)                       \
  do {                                                    \
    if (!(condition)) return ::pomona::fail(__VA_ARGS__); \
  } while (false)
