#include "ir/weight.h"

#include <fmt/format.h>

#include <cstring>

#include "base/bits.h"
#include "base/content_hash.h"

namespace pomona {

struct Weight::Recipe {
  Step step;      // `apply` is empty for leaves
  Tensor tensor;  // a leaf in memory
  Bytes bytes;    // a leaf as stored
  bool is_tensor = false;
  std::string identity;
};

namespace {

// Short contents are their own identity; long ones are identified by where they are.
std::string contents_identity(std::span<const std::uint8_t> bytes) {
  if (bytes.size() > 64) return fmt::format("@{}+{}", static_cast<const void*>(bytes.data()), bytes.size());
  std::string text = "#";
  for (std::uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

// What has been computed is somewhere else each time: there the contents count as long as looking at them costs little.
std::string computed_identity(std::span<const std::uint8_t> bytes) {
  constexpr std::size_t readable = 64, most = 1 << 20;
  if (bytes.size() <= readable || bytes.size() > most) return contents_identity(bytes);
  ContentHash hash;
  hash.add(bytes);
  return "~" + hash.text();
}

// Identities of steps are made of their inputs' identities; a digest of 128 bits keeps chains of steps from growing.
std::string short_identity(const std::string& text) {
  constexpr std::size_t readable = 200;
  if (text.size() <= readable) return text;
  ContentHash hash;
  hash.add({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  return "%" + hash.text();
}

Tensor unpacked(DType dtype, const Sizes& sizes, const Bytes& bytes) {
  if (!is_sub_byte(dtype)) {
    // Files put elements where they like; a tensor's are aligned, so that kernels may read them as they are.
    std::size_t width = element_size_bytes(dtype);
    bool misaligned = width > 1 && reinterpret_cast<std::uintptr_t>(bytes.data()) % width != 0;
    if (!misaligned) return Tensor(dtype, sizes, bytes);
    Tensor copy(dtype, sizes);
    std::memcpy(copy.mutable_data(), bytes.data(), copy.size_bytes());
    return copy;
  }
  Tensor tensor(dtype, sizes);
  std::span<std::uint8_t> out(tensor.mutable_data(), tensor.count());
  if (info(dtype).is_signed)
    unpack_signed_bits(bytes.span(), info(dtype).bits, {reinterpret_cast<std::int8_t*>(out.data()), out.size()});
  else
    unpack_bits(bytes.span(), info(dtype).bits, out);
  return tensor;
}

}  // namespace

Weight::Weight(Tensor tensor) {
  auto recipe = std::make_shared<Recipe>();
  recipe->step.dtype = tensor.dtype();
  recipe->step.sizes = tensor.sizes();
  std::string contents;
  if (tensor.is_list() || tensor.is_dictionary())
    contents = fmt::format("@{}", static_cast<const void*>(tensor.elements().data()));
  else if (tensor.dtype() == DType::string)
    for (const std::string& s : tensor.text()) contents += fmt::format("{}:{}", s.size(), s);
  else
    contents = computed_identity({tensor.data(), tensor.size_bytes()});
  recipe->identity = fmt::format("{}{}{}", name(tensor.dtype()), to_string(tensor.sizes()), contents);
  recipe->tensor = std::move(tensor);
  recipe->is_tensor = true;
  recipe_ = std::move(recipe);
}

Result<Weight> Weight::stored(Bytes bytes, DType dtype, Sizes sizes) {
  std::uint64_t count = 1;
  for (std::int64_t size : sizes) {
    POM_REQUIRE(size >= 0 && !__builtin_mul_overflow(count, std::uint64_t(size), &count), "the sizes {} are impossible",
                to_string(sizes));
  }
  POM_REQUIRE(count < (1ULL << 56), "the sizes {} are impossible", to_string(sizes));
  std::uint64_t wanted = stored_size_bytes(dtype, count);
  POM_REQUIRE(bytes.size() >= wanted, "{} {} need {} bytes, but there are {}", name(dtype), to_string(sizes), wanted,
              bytes.size());
  auto recipe = std::make_shared<Recipe>();
  recipe->step.dtype = dtype;
  recipe->step.sizes = std::move(sizes);
  recipe->bytes = POM_TRY(bytes.slice(0, wanted));
  recipe->identity =
      fmt::format("{}{}{}", name(dtype), to_string(recipe->step.sizes), contents_identity(recipe->bytes.span()));
  Weight weight;
  weight.recipe_ = std::move(recipe);
  return weight;
}

Weight Weight::derived(Step step) {
  auto recipe = std::make_shared<Recipe>();
  std::string text = step.what + "(";
  for (const Weight& input : step.inputs) text += input.identity() + ",";
  recipe->identity = short_identity(text + ")");
  recipe->step = std::move(step);
  Weight weight;
  weight.recipe_ = std::move(recipe);
  return weight;
}

Weight Weight::cast(const Weight& weight, DType dtype) {
  if (weight.dtype() == dtype) return weight;
  return derived({fmt::format("cast to {}", name(dtype)),
                  dtype,
                  weight.sizes(),
                  {weight},
                  [dtype](std::span<const Tensor> in) -> Result<Tensor> { return in[0].converted(dtype); }});
}

DType Weight::dtype() const { return recipe_->step.dtype; }
const Sizes& Weight::sizes() const { return recipe_->step.sizes; }
const Tensor* Weight::in_memory() const { return recipe_->is_tensor ? &recipe_->tensor : nullptr; }
const Bytes* Weight::stored_bytes() const { return recipe_->is_tensor || step() ? nullptr : &recipe_->bytes; }
const Weight::Step* Weight::step() const { return recipe_->step.apply ? &recipe_->step : nullptr; }
const std::string& Weight::identity() const { return recipe_->identity; }

Result<Tensor> Weight::materialise() const {
  if (recipe_->is_tensor) return recipe_->tensor;
  if (!step()) return unpacked(dtype(), sizes(), recipe_->bytes);
  std::vector<Tensor> inputs;
  for (const Weight& input : recipe_->step.inputs) {
    // An input that is used twice is computed once.
    const Weight* earlier = nullptr;
    for (const Weight& other : recipe_->step.inputs) {
      if (&other == &input) break;
      if (other.recipe_ == input.recipe_) earlier = &other;
    }
    inputs.push_back(earlier ? inputs[std::size_t(earlier - recipe_->step.inputs.data())]
                             : POM_TRY(input.materialise()));
  }
  return recipe_->step.apply(inputs);
}

Bytes stored_form(const Tensor& tensor) {
  std::span<const std::uint8_t> elements(tensor.data(), tensor.size_bytes());
  if (is_sub_byte(tensor.dtype())) {
    auto packed = std::make_shared<const std::vector<std::uint8_t>>(pack_bits(elements, info(tensor.dtype()).bits));
    return Bytes(packed, *packed);
  }
  auto owner = std::make_shared<const Tensor>(tensor);
  return Bytes(owner, elements);
}

}  // namespace pomona
