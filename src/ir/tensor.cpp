#include "ir/tensor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "base/half.h"

namespace pomona {
namespace {

// What NumPy's astype does on x86: truncation, then wrapping; what is out of int64's range becomes its minimum.
std::int64_t to_integer(double value) {
  return value >= -0x1p63 && value < 0x1p63 ? std::int64_t(value) : std::numeric_limits<std::int64_t>::min();
}

template <class T>
T load(const std::uint8_t* data, std::size_t i) {
  T value;
  std::memcpy(&value, data + i * sizeof(T), sizeof(T));
  return value;
}
template <class T>
void store(std::uint8_t* data, std::size_t i, T value) {
  std::memcpy(data + i * sizeof(T), &value, sizeof(T));
}

double read_one(DType dtype, const std::uint8_t* data, std::size_t i) {
  switch (dtype) {
    case DType::fp16:
      return half_to_float(load<std::uint16_t>(data, i));
    case DType::fp32:
      return load<float>(data, i);
    case DType::fp64:
      return load<double>(data, i);
    case DType::bf16:
      return bfloat16_to_float(load<std::uint16_t>(data, i));
    case DType::f8e4m3fn:
      return e4m3fn_to_float(data[i]);
    case DType::f8e5m2:
      return e5m2_to_float(data[i]);
    case DType::int4:
    case DType::int8:
      return load<std::int8_t>(data, i);
    case DType::int16:
      return load<std::int16_t>(data, i);
    case DType::int32:
      return load<std::int32_t>(data, i);
    case DType::int64:
      return double(load<std::int64_t>(data, i));
    case DType::uint16:
      return load<std::uint16_t>(data, i);
    case DType::uint32:
      return load<std::uint32_t>(data, i);
    case DType::uint64:
      return double(load<std::uint64_t>(data, i));
    case DType::string:
      return 0;
    default:
      return data[i];
  }
}

void write_one(DType dtype, std::uint8_t* data, std::size_t i, double value) {
  switch (dtype) {
    case DType::fp16:
      return store(data, i, double_to_half(value));
    case DType::fp32:
      return store(data, i, float(value));
    case DType::fp64:
      return store(data, i, value);
    case DType::bf16:
      return store(data, i, float_to_bfloat16(float(value)));
    case DType::f8e4m3fn:
      data[i] = float_to_e4m3fn(float(value));
      return;
    case DType::f8e5m2:
      data[i] = float_to_e5m2(float(value));
      return;
    case DType::int4:
      data[i] = std::uint8_t(std::int8_t(std::uint8_t(to_integer(value)) << 4) >> 4);
      return;
    case DType::int8:
      data[i] = std::uint8_t(to_integer(value));
      return;
    case DType::int16:
    case DType::uint16:
      return store(data, i, std::uint16_t(to_integer(value)));
    case DType::int32:
    case DType::uint32:
      return store(data, i, std::uint32_t(to_integer(value)));
    case DType::int64:
      return store(data, i, to_integer(value));
    case DType::uint64:
      return store(data, i, value >= 0x1p63 ? std::uint64_t(value) : std::uint64_t(to_integer(value)));
    case DType::boolean:
      data[i] = value != 0;
      return;
    case DType::string:
      return;
    default:
      data[i] = std::uint8_t(std::uint64_t(to_integer(value)) & ((1u << info(dtype).bits) - 1));
  }
}

}  // namespace

std::int64_t element_count(const Sizes& sizes) {
  std::int64_t count = 1;
  for (std::int64_t size : sizes) count *= size;
  return count;
}
std::string to_string(const Sizes& sizes) { return fmt::format("[{}]", fmt::join(sizes, ", ")); }
Sizes strides_of(const Sizes& sizes) {
  Sizes strides(sizes.size(), 1);
  for (std::size_t i = sizes.size(); i-- > 1;) strides[i - 1] = strides[i] * sizes[i];
  return strides;
}

Tensor::Tensor(DType dtype, Sizes sizes) : dtype_(dtype), sizes_(std::move(sizes)) {
  if (dtype == DType::string) {
    text_ = std::make_shared<const std::vector<std::string>>(count());
    return;
  }
  writable_ = std::shared_ptr<std::uint8_t[]>(new std::uint8_t[size_bytes()]());
  bytes_ = Bytes(writable_, {writable_.get(), size_bytes()});
}
Tensor::Tensor(DType dtype, Sizes sizes, Bytes bytes)
    : dtype_(dtype), sizes_(std::move(sizes)), bytes_(std::move(bytes)) {}

Tensor Tensor::from_numbers(DType dtype, Sizes sizes, std::span<const double> numbers) {
  Tensor tensor(dtype, std::move(sizes));
  tensor.write_numbers(0, numbers);
  return tensor;
}
Tensor Tensor::ints(const std::vector<std::int64_t>& values, DType dtype) {
  Tensor tensor(dtype, {std::int64_t(values.size())});
  for (std::size_t i = 0; i < values.size(); ++i) tensor.set_number(i, double(values[i]));
  return tensor;
}
Tensor Tensor::strings(Sizes sizes, std::vector<std::string> values) {
  Tensor tensor;
  tensor.dtype_ = DType::string;
  tensor.sizes_ = std::move(sizes);
  tensor.text_ = std::make_shared<const std::vector<std::string>>(std::move(values));
  return tensor;
}
Tensor Tensor::list(DType dtype, Sizes element_sizes, std::vector<Tensor> elements) {
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.sizes_ = std::move(element_sizes);
  tensor.kind_ = Type::Kind::list;
  tensor.elements_ = std::make_shared<const std::vector<Tensor>>(std::move(elements));
  return tensor;
}
Tensor Tensor::dictionary(Tensor keys, Tensor values) {
  Tensor tensor;
  tensor.dtype_ = values.dtype();
  tensor.kind_ = Type::Kind::dictionary;
  tensor.elements_ = std::make_shared<const std::vector<Tensor>>(std::vector{std::move(keys), std::move(values)});
  return tensor;
}

Type Tensor::type() const {
  Type type{dtype_, shape(), kind_};
  if (is_list()) type.length = std::int64_t(elements_->size());
  if (is_dictionary()) type.key = (*elements_)[0].dtype();
  return type;
}

std::uint8_t* Tensor::mutable_data() {
  // Two owners are ours: writable_ and the one inside bytes_.
  if (!writable_ || writable_.use_count() > 2) {
    auto copy = std::shared_ptr<std::uint8_t[]>(new std::uint8_t[size_bytes()]);
    if (size_bytes()) std::memcpy(copy.get(), bytes_.data(), size_bytes());
    writable_ = std::move(copy);
    bytes_ = Bytes(writable_, {writable_.get(), size_bytes()});
  }
  return writable_.get();
}

double Tensor::number(std::size_t i) const { return read_one(dtype_, data(), i); }
void Tensor::set_number(std::size_t i, double value) { write_one(dtype_, writable_.get(), i, value); }

void Tensor::read_numbers(std::size_t begin, std::span<double> out) const {
  if (dtype_ == DType::fp32) {
    const float* source = reinterpret_cast<const float*>(data()) + begin;
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = source[i];
    return;
  }
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = read_one(dtype_, data(), begin + i);
}
void Tensor::write_numbers(std::size_t begin, std::span<const double> in) {
  std::uint8_t* target = mutable_data();
  if (dtype_ == DType::fp32) {
    float* floats = reinterpret_cast<float*>(target) + begin;
    for (std::size_t i = 0; i < in.size(); ++i) floats[i] = float(in[i]);
    return;
  }
  for (std::size_t i = 0; i < in.size(); ++i) write_one(dtype_, target, begin + i, in[i]);
}
std::vector<double> Tensor::numbers() const {
  std::vector<double> result(count());
  read_numbers(0, result);
  return result;
}
std::vector<std::int64_t> Tensor::integers() const {
  std::vector<std::int64_t> result;
  result.reserve(count());
  for (std::size_t i = 0; i < count(); ++i)
    result.push_back(dtype_ == DType::int64 ? load<std::int64_t>(data(), i) : to_integer(number(i)));
  return result;
}

Tensor Tensor::reshaped(Sizes sizes) const {
  Tensor result = *this;
  result.sizes_ = std::move(sizes);
  return result;
}
Tensor Tensor::reinterpreted(DType dtype) const {
  Tensor result = *this;
  result.dtype_ = dtype;
  return result;
}
Tensor Tensor::converted(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor result(dtype, sizes_);
  if (dtype_ == DType::fp32 && dtype == DType::fp16) {
    floats_to_halves(view<float>(), reinterpret_cast<std::uint16_t*>(result.mutable_data()));
  } else if (dtype_ == DType::fp16 && dtype == DType::fp32) {
    halves_to_floats(view<std::uint16_t>(), reinterpret_cast<float*>(result.mutable_data()));
  } else if (dtype_ == DType::int64 || dtype_ == DType::uint64) {
    // Through double the low bits of large values would be lost before wrapping.
    for (std::size_t i = 0; i < count(); ++i) {
      std::int64_t whole = load<std::int64_t>(data(), i);
      bool exact = whole > -(1LL << 53) && whole < 1LL << 53;
      result.set_number(i, exact || is_float(dtype) ? double(whole) : double(std::uint32_t(whole)));
    }
  } else {
    constexpr std::size_t chunk = 1024;
    double buffer[chunk];
    for (std::size_t at = 0; at < count(); at += chunk) {
      std::span<double> part(buffer, std::min(chunk, count() - at));
      read_numbers(at, part);
      result.write_numbers(at, part);
    }
  }
  return result;
}

bool Tensor::same_bits(const Tensor& other) const {
  if (dtype_ != other.dtype_ || sizes_ != other.sizes_ || kind_ != other.kind_) return false;
  if (elements_) {
    if (elements_->size() != other.elements_->size()) return false;
    for (std::size_t i = 0; i < elements_->size(); ++i)
      if (!(*elements_)[i].same_bits((*other.elements_)[i])) return false;
    return true;
  }
  if (dtype_ == DType::string) return *text_ == *other.text_;
  return size_bytes() == 0 || std::memcmp(data(), other.data(), size_bytes()) == 0;
}

}  // namespace pomona
