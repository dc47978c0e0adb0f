// Pomona as a library: models opened, converted, made smaller, run and verified, as the command line does.
//
//   auto model = pomona::Model::open("encoder.onnx");
//   if (!model) { std::cerr << model.problem().text(); return 2; }
//   auto outputs = model->run({{"x", pomona::Array::of<float>({1, 4}, {1, 2, 3, 4})}});
//   auto made = pomona::convert_model("encoder.onnx", "encoder.mlpackage", {{"precision", "fp32"}});
//
// Options have the names and values of the command line's flags, without the dashes in front and with '_' for '-'
// between: {"no_verify", true}. `pomona help VERB` lists them. Nothing throws and nothing is printed. What is here is
// all that an installed Pomona promises to keep; only the standard library is needed to use it.
#pragma once
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "pomona/version.h"

namespace pomona {

// Why something could not be done.
struct Problem {
  enum class Kind {
    request,      // the request or the model is wrong
    environment,  // this machine cannot: no space, no permission, a missing program
    bug,          // Pomona's
  };
  Kind kind = Kind::request;
  std::string what;
  std::vector<std::string> places;  // from outer to inner
  std::vector<std::string> advice;
  std::string text() const;  // as the command line prints it
};

// What was asked for, or the problem.
template <class T>
class Answer {
 public:
  Answer(T value) : state_(std::move(value)) {}
  Answer(Problem problem) : state_(std::move(problem)) {}
  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() { return std::get<0>(state_); }
  const T& operator*() const { return std::get<0>(state_); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  const Problem& problem() const { return std::get<1>(state_); }

 private:
  std::variant<T, Problem> state_;
};

using OptionValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>>;
using Options = std::map<std::string, OptionValue>;

// Numbers in row-major order.
struct Array {
  std::string dtype = "fp32";  // fp16, fp32, fp64, int8 to int64, uint8 to uint64, bool
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> bytes;

  template <class T>
  static Array of(std::vector<std::int64_t> shape, const std::vector<T>& values) {
    Array array{dtype_of<T>(), std::move(shape), std::vector<std::uint8_t>(values.size() * sizeof(T))};
    if (!values.empty()) std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
    return array;
  }
  // The elements; empty when they are of another type.
  template <class T>
  std::vector<T> as() const {
    std::vector<T> values(dtype == dtype_of<T>() ? bytes.size() / sizeof(T) : 0);
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  template <class T>
  static std::string dtype_of() {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>, "bools are held as uint8_t with dtype \"bool\"");
    if constexpr (std::is_floating_point_v<T>) return "fp" + std::to_string(8 * sizeof(T));
    return (std::is_signed_v<T> ? "int" : "uint") + std::to_string(8 * sizeof(T));
  }
};
using Arrays = std::map<std::string, Array>;

// An input or output.
struct Port {
  std::string name;
  std::string type;  // in words: "fp32 [1, 1..512]"
};

// A model of any format that is read, ready to run. Its functions may be called from one thread at a time.
class Model {
 public:
  static Answer<Model> open(const std::string& path);
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  std::string format() const;
  std::vector<Port> inputs() const;
  std::vector<Port> outputs() const;
  std::string text() const;  // as MIL text, large constants left out
  // Inputs and outputs by the names and with the dtypes that the source of the model had.
  Answer<Arrays> run(const Arrays& inputs);

 private:
  struct Parts;
  explicit Model(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

struct OutputCheck {
  std::string name;
  double cosine = 1, max_abs = 0;
  std::string problem;  // why it does not pass; empty when it does
};
struct Verification {
  bool passed = true;
  std::string reference;  // what the answers were compared with, in words
  std::vector<OutputCheck> outputs;
};
struct Conversion {
  bool written = false;            // not when the verification failed
  std::vector<std::string> notes;  // what changed at the border, and what was decided there
  std::uint64_t source_bytes = 0, output_bytes = 0;
  bool verified = false;
  Verification verification;  // when it was verified
};
struct Compression {
  std::uint64_t bytes_before = 0, bytes_after = 0;
  std::size_t compressed = 0, left = 0;  // weights
};

// From any readable model to a Core ML package.
Answer<Conversion> convert_model(const std::string& source, const std::string& output, const Options& options = {});
// {{"scheme", "int4"}}, and the options of that scheme.
Answer<Compression> compress_model(const std::string& package, const std::string& output, const Options& options);
// {{"against", "model.onnx"}}
Answer<Verification> verify_model(const std::string& model, const Options& options);

}  // namespace pomona
