// What several ops ask of shapes and axes, with the same words when the answer is no.
//
//   std::size_t along = POM_TRY(checked_axis(axis, x.rank()));
//   Dim both = POM_TRY(same_size(a, b, "dim 1 of x", "dim 1 of y"));
//
// Sizes may be unknown: a rule is broken only when that is certain.
#pragma once
#include <string_view>

#include "ir/op.h"

namespace pomona::mil {

// The axis counted from the front.
Result<std::size_t> checked_axis(std::int64_t axis, std::size_t rank);
// The axes counted from the front, in the given order; each at most once.
Result<std::vector<std::size_t>> checked_axes(const Ints& axes, std::size_t rank);
// The better known of two sizes that must be equal; empty when they cannot be.
std::optional<Dim> merged_size(Dim a, Dim b);
Result<Dim> same_size(Dim a, Dim b, std::string_view what, std::string_view other);
// The same for every dim; names are those of two tensors.
Result<Shape> same_shape(const Shape& a, const Shape& b, std::string_view what, std::string_view other);
// size / divisor; a remainder, where the sizes are known, is an error. divisor > 0.
Result<Dim> divided_size(Dim size, std::int64_t divisor, std::string_view what);
// Refuses shapes with negative sizes, or so large that counting elements would overflow.
Status check_sizes(const Shape& shape);
// The elements of an input that is a vector with `count` entries, as far as they are known: unknown Dims if not.
Result<std::vector<Dim>> vector_contents(const InputField& input, std::size_t count);
// The length of an input that must be a vector of known length.
Result<std::size_t> vector_length(const InputField& input);
// Refuses an input that is not a vector (of `count` entries, where its length is known).
Status check_vector(const InputField& input, std::size_t count);
// The number in an input with one element when it is known.
std::optional<double> known_number(const InputField& input);
// Refuses a result larger than a machine's memory; and a zero-filled tensor after that check.
Status check_memory(DType dtype, const Shape& shape);
Result<Tensor> make_tensor(DType dtype, const Shape& shape);

}  // namespace pomona::mil
