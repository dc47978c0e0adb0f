// Tensors with values: what runs through a program, what constants hold, what npz files carry.
//
// Row-major and dense; sub-byte elements take one byte each in memory (they are packed in files only), bool one byte
// that is 0 or 1. Copies share the buffer. A Tensor may also be a list of tensors or a classifier's dictionary, so
// that every SSA value has a run-time form.
//
//   Tensor t = Tensor::from_numbers(DType::fp16, {2, 2}, {1, 2, 3, 4});
//   t.numbers()            -> {1, 2, 3, 4}
//   t.view<float>()        -> the elements, when the dtype is stored as float
#pragma once
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "ir/type.h"

namespace pomona {

using Sizes = std::vector<std::int64_t>;
std::int64_t element_count(const Sizes& sizes);
std::string to_string(const Sizes& sizes);
// Row-major strides, in elements.
Sizes strides_of(const Sizes& sizes);

class Tensor {
 public:
  Tensor() = default;
  // Zero-filled and writable.
  Tensor(DType dtype, Sizes sizes);
  // Shares read-only bytes; `bytes` holds exactly the elements (unpacked).
  Tensor(DType dtype, Sizes sizes, Bytes bytes);
  // Values are rounded (floats, half to even) or wrapped (integers) to the dtype.
  static Tensor from_numbers(DType dtype, Sizes sizes, std::span<const double> numbers);
  static Tensor from_numbers(DType dtype, Sizes sizes, std::initializer_list<double> numbers) {
    return from_numbers(dtype, std::move(sizes), std::span(numbers.begin(), numbers.size()));
  }
  static Tensor scalar(DType dtype, double number) { return from_numbers(dtype, {}, {number}); }
  static Tensor ints(const std::vector<std::int64_t>& values, DType dtype = DType::int32);
  static Tensor strings(Sizes sizes, std::vector<std::string> values);
  static Tensor list(DType dtype, Sizes element_sizes, std::vector<Tensor> elements);
  static Tensor dictionary(Tensor keys, Tensor values);

  DType dtype() const { return dtype_; }
  const Sizes& sizes() const { return sizes_; }
  Shape shape() const { return to_shape(sizes_); }
  std::size_t rank() const { return sizes_.size(); }
  std::size_t count() const { return std::size_t(element_count(sizes_)); }
  std::size_t size_bytes() const { return count() * element_size_bytes(dtype_); }
  Type type() const;

  const std::uint8_t* data() const { return bytes_.data(); }
  // The elements for writing; the buffer is copied first when it is shared or read-only.
  std::uint8_t* mutable_data();
  template <class T>
  std::span<const T> view() const {
    return {reinterpret_cast<const T*>(data()), count()};
  }
  template <class T>
  std::span<T> mutable_view() {
    return {reinterpret_cast<T*>(mutable_data()), count()};
  }
  double number(std::size_t i) const;
  void set_number(std::size_t i, double value);  // the buffer must be writable already, see mutable_data()
  std::vector<double> numbers() const;
  std::vector<std::int64_t> integers() const;
  // Converts elements [begin, begin + out.size()) to doubles, or from them.
  void read_numbers(std::size_t begin, std::span<double> out) const;
  void write_numbers(std::size_t begin, std::span<const double> in);

  // The same elements under another shape of as many elements.
  Tensor reshaped(Sizes sizes) const;
  // The same bits under another dtype of the same element size.
  Tensor reinterpreted(DType dtype) const;
  // Values converted as from_numbers does.
  Tensor converted(DType dtype) const;

  bool is_list() const { return kind_ == Type::Kind::list; }
  bool is_dictionary() const { return kind_ == Type::Kind::dictionary; }
  const std::vector<Tensor>& elements() const { return *elements_; }  // of a list; {keys, values} of a dictionary
  const std::vector<std::string>& text() const { return *text_; }     // of a string tensor
  bool same_bits(const Tensor& other) const;

 private:
  DType dtype_ = DType::fp32;
  Sizes sizes_;
  Type::Kind kind_ = Type::Kind::tensor;
  Bytes bytes_;
  std::shared_ptr<std::uint8_t[]> writable_;  // set when this tensor may write into bytes_
  std::shared_ptr<const std::vector<Tensor>> elements_;
  std::shared_ptr<const std::vector<std::string>> text_;
};
using Tensors = std::vector<Tensor>;
using NamedTensors = std::map<std::string, Tensor>;

}  // namespace pomona
