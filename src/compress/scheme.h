// A scheme says how a weight is stored in fewer bits: an option record, and encode(), which either gives the constexpr
// node that is to replace the weight or says why the weight is left as it is.
//
//   auto scheme = POM_TRY(make_scheme("linear", {{"dtype", "int4"}, {"granularity", "per_block"}}));
//   auto same   = POM_TRY(make_scheme("int4"));                       // a short name: scheme and options
//   Encoded e   = POM_TRY(scheme->encode(candidate));                 // or the reason for leaving the weight
//
// Option names, values and defaults are those of coremltools' OpLinearQuantizerConfig and OpPalettizerConfig; options
// of our own stand beside them. Nothing is encoded here: the operands are recipes that share their work (parts.h) and
// run when a package is written, tensor by tensor.
//
// To add a scheme: a file with its record and its Scheme, and a row in scheme.cpp.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "base/record.h"
#include "compress/parts.h"
#include "compress/stages.h"

namespace pomona::compress {

// What one look at all elements of a weight tells.
struct Summary {
  double largest_magnitude = 0;
  double sum_of_squares = 0;
  std::optional<std::size_t> not_finite;  // index of the first NaN or infinity
};
Summary summarise(const Tensor& tensor);  // of an fp16 or fp32 tensor

// Which axis of a weight counts its users' output channels, which their input channels.
struct ChannelAxes {
  std::size_t output = 0, input = 1;
  friend bool operator==(const ChannelAxes&, const ChannelAxes&) = default;
};

// How much the squared error of each element of a weight matters, from data.
struct Importance {
  std::shared_ptr<const std::vector<float>> values;  // null: every element matters as much
  std::size_t inner = 1;                             // element i has values[i / inner % size]

  explicit operator bool() const { return bool(values); }
  std::vector<float> of_all(std::size_t count) const;
};

// Zeros that a scheme is to make, for choosing them with data: n of every m input channels, or so many in all.
struct Zeros {
  std::size_t of_every = 0, every = 0;  // n, m
  std::size_t count = 0;
  bool per_row = false;  // as many for each output channel
};

// A weight that might be encoded: fp16 or fp32, at least rank 2, all elements finite.
struct Candidate {
  Weight weight;
  Tensor tensor;  // of the weight, for looking at it while encode() runs; what is encoded later reads it again
  Summary summary;
  Target opset = Target::iOS18;
  Result<ChannelAxes> axes = ChannelAxes{};  // an error when its users disagree
  std::shared_ptr<Shelf> shelf;
  std::string name;
  bool structural = true;  // every user is a conv or linear, and this is its weight
  bool sparse = false;     // its zeros will not be stored
  Importance importance = {};
  // With data: which elements are not zeros, chosen already, and the squared error of that; and what chooses codes
  // anew.
  std::shared_ptr<const std::vector<std::uint8_t>> kept = nullptr;
  double lost = 0;
  std::function<Status(Encoded&, const Candidate&)> round = nullptr;
  bool convolved = false;  // every user is a conv, and this is its weight
};

struct ActivationCoding;

class Scheme {
 public:
  virtual ~Scheme() = default;
  virtual std::string_view scheme_name() const = 0;  // as in schemes(); of a pair the first one's
  // How the activations of ops with this scheme are quantised (activations.h); null: they are not.
  virtual const ActivationCoding* activations() const { return nullptr; }
  // Weights of at most so many elements are left.
  virtual std::int64_t weight_threshold() const = 0;
  // An error, with advice, when programs of that opset cannot hold what this scheme makes.
  virtual Status check(Target opset) const = 0;
  // Errors are reasons to leave the weight.
  virtual Result<Encoded> encode(const Candidate& candidate) const = 0;
  // A scheme with one budget for all weights sees each of them before the first is encoded.
  virtual bool looks_at_all() const { return false; }
  virtual void look_at(const Tensor&) const {}
  // How much larger the result may be (0.1 is a tenth) for the first convolutions to keep 16 bits.
  virtual double first_layers() const { return 0; }
  // What it prunes, where that can be chosen with data.
  virtual Result<std::optional<Zeros>> zeros(const Candidate&) const { return std::optional<Zeros>(); }
};

using SchemeOptions = std::map<std::string, Attribute>;

// By the name of a scheme or a short name; `options` come on top of what a short name stands for. Errors: an unknown
// name (the known ones are listed), an option the scheme does not have, a value it does not take.
Result<std::shared_ptr<const Scheme>> make_scheme(std::string_view name, const SchemeOptions& options = {});

// For help texts.
struct ShortName {
  std::string_view name, scheme, doc;
  SchemeOptions options;
};
const std::vector<ShortName>& short_names();
struct SchemeInfo {
  std::string_view name, doc;
  const RecordInfo* options;
  Result<std::shared_ptr<const Scheme>> (*make)(const SchemeOptions& options);
};
const std::vector<SchemeInfo>& schemes();

// The divisor of `size` nearest to `wanted`; the smaller one of two.
std::int64_t nearest_divisor(std::int64_t size, std::int64_t wanted);
// What is said when that is not the divisor that was asked for.
std::string divisor_note(std::string_view what, std::size_t axis, std::int64_t size, std::int64_t wanted,
                         std::int64_t used);

}  // namespace pomona::compress
