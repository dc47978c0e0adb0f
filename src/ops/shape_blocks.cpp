// Windows, and blocks of pixels moved between space, depth and batch.
#include "ops/element_moves.h"
#include "ops/shape.h"
#include "ops/shape_rules.h"

namespace pomona::mil {

Result<Types> sliding_windows::infer(const At&) const {
  std::size_t along = POM_TRY(checked_axis(axis, x.rank()));
  POM_REQUIRE(size >= 1 && stride >= 1, "size is {} and stride {}; both must be at least 1", *size, *stride);
  Shape shape = x.shape();
  Dim left = shape[along] - *size;
  POM_REQUIRE(!left.known() || left.value() >= 0, "windows of {} do not fit into x's {} elements", *size,
              shape[along].text());
  shape[along] = floor_div(left, *stride) + 1;
  shape.insert(shape.begin() + std::ptrdiff_t(along) + 1, Dim(*size));
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(x.dtype(), std::move(shape))};
}
Result<Tensors> sliding_windows::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  std::size_t along = *normal_axis(axis, x.rank());
  POM_TRY(check_memory(x.dtype(), type.shape));
  Selection selection{known_sizes(type.shape), strides_of(x.sizes())};
  std::int64_t one = selection.strides[along];
  selection.strides.insert(selection.strides.begin() + std::ptrdiff_t(along) + 1, one);
  selection.strides[along] = one * *stride;
  return Tensors{select_elements(x.tensor(), selection)};
}

namespace {

// Depth and space: [n, c*b*b, h, w] and [n, c, h*b, w*b].
Status check_block(const InputField& x, std::int64_t block) {
  POM_REQUIRE(x.rank() == 4, "x has rank {}, not 4", x.rank());
  POM_TRY(check_sizes(x.shape()));
  POM_REQUIRE(block >= 1 && block <= 32768, "the block size is {}, outside 1 to 32768", block);
  return {};
}
Result<Types> to_space(const InputField& x, std::int64_t block) {
  POM_TRY(check_block(x, block));
  const Shape& s = x.shape();
  Dim channels = POM_TRY(divided_size(s[1], block * block, "the channel count"));
  return Types{tensor_type(x.dtype(), {s[0], channels, s[2] * block, s[3] * block})};
}
Result<Types> to_depth(const InputField& x, std::int64_t block) {
  POM_TRY(check_block(x, block));
  const Shape& s = x.shape();
  Dim height = POM_TRY(divided_size(s[2], block, "the height"));
  Dim width = POM_TRY(divided_size(s[3], block, "the width"));
  return Types{tensor_type(x.dtype(), {s[0], s[1] * (block * block), height, width})};
}

using Order = std::vector<std::size_t>;

Tensor move_to_space(const Tensor& x, const Type& type, std::int64_t b, bool depth_first) {
  Sizes out = known_sizes(type.shape), in = x.sizes();
  Sizes split = depth_first ? Sizes{in[0], b, b, out[1], in[2], in[3]} : Sizes{in[0], out[1], b, b, in[2], in[3]};
  return rearrange_elements(x, split, depth_first ? Order{0, 3, 4, 1, 5, 2} : Order{0, 1, 4, 2, 5, 3}, out);
}
Tensor move_to_depth(const Tensor& x, const Type& type, std::int64_t b, bool depth_first) {
  Sizes out = known_sizes(type.shape), in = x.sizes();
  Sizes split{in[0], in[1], out[2], b, out[3], b};
  return rearrange_elements(x, split, depth_first ? Order{0, 3, 5, 1, 2, 4} : Order{0, 1, 3, 5, 2, 4}, out);
}

// Batch and space: blocks of bh x bw, with two amounts per spatial dim added or cut off.
Status check_batch_block(const InputField& x, const Ints& block, const Ints& amounts, const char* name) {
  constexpr std::int64_t most = 32768;
  POM_REQUIRE(x.rank() == 4, "x has rank {}, not 4", x.rank());
  POM_REQUIRE(block.size() == 2, "block_shape has {} entries, not 2", block.size());
  POM_REQUIRE(amounts.size() == 4, "{} has {} entries, not 2 pairs", name, amounts.size());
  for (std::int64_t b : block)
    POM_REQUIRE(b >= 1 && b <= most, "block_shape has the entry {}, outside 1 to {}", b, most);
  for (std::int64_t a : amounts)
    POM_REQUIRE(a >= 0 && a < std::int64_t(1) << 31, "{} has the entry {}, which must be 0 or more", name, a);
  return {};
}

}  // namespace

Result<Types> depth_to_space::infer(const At&) const { return to_space(x, block_size); }
Result<Tensors> depth_to_space::eval(const At& at) const {
  return Tensors{move_to_space(x.tensor(), POM_TRY(infer(at))[0], block_size, true)};
}
Result<Types> space_to_depth::infer(const At&) const { return to_depth(x, block_size); }
Result<Tensors> space_to_depth::eval(const At& at) const {
  return Tensors{move_to_depth(x.tensor(), POM_TRY(infer(at))[0], block_size, true)};
}
Result<Types> pixel_shuffle::infer(const At&) const { return to_space(x, upscale_factor); }
Result<Tensors> pixel_shuffle::eval(const At& at) const {
  return Tensors{move_to_space(x.tensor(), POM_TRY(infer(at))[0], upscale_factor, false)};
}
Result<Types> pixel_unshuffle::infer(const At&) const { return to_depth(x, downscale_factor); }
Result<Tensors> pixel_unshuffle::eval(const At& at) const {
  return Tensors{move_to_depth(x.tensor(), POM_TRY(infer(at))[0], downscale_factor, false)};
}

Result<Types> space_to_batch::infer(const At&) const {
  POM_TRY(check_batch_block(x, block_shape, paddings, "paddings"));
  const Shape& s = x.shape();
  const Ints &block = *block_shape, &pad = *paddings;
  Shape shape{s[0] * (block[0] * block[1]), s[1],
              POM_TRY(divided_size(s[2] + (pad[0] + pad[1]), block[0], "the padded height")),
              POM_TRY(divided_size(s[3] + (pad[2] + pad[3]), block[1], "the padded width"))};
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(x.dtype(), std::move(shape))};
}
Result<Tensors> space_to_batch::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  const Ints &block = *block_shape, &pad = *paddings;
  Sizes out = known_sizes(type.shape), in = x.sizes();
  Sizes padded{in[0], in[1], out[2] * block[0], out[3] * block[1]};
  Tensor wide = POM_TRY(make_tensor(x.dtype(), to_shape(padded)));
  Selection inner = all_elements(padded);
  inner.sizes = in;
  inner.offset = pad[0] * inner.strides[2] + pad[2] * inner.strides[3];
  replace_elements(wide, inner, x.tensor());
  Sizes split{in[0], in[1], out[2], block[0], out[3], block[1]};
  return Tensors{rearrange_elements(wide, split, {3, 5, 0, 1, 2, 4}, out)};
}

Result<Types> batch_to_space::infer(const At&) const {
  POM_TRY(check_batch_block(x, block_shape, crops, "crops"));
  const Shape& s = x.shape();
  const Ints &block = *block_shape, &crop = *crops;
  Dim height = s[2] * block[0] - (crop[0] + crop[1]), width = s[3] * block[1] - (crop[2] + crop[3]);
  for (Dim size : {height, width})
    POM_REQUIRE(!size.known() || size.value() >= 0, "crops takes away more than there is: {} would be left",
                size.text());
  return Types{tensor_type(x.dtype(),
                           {POM_TRY(divided_size(s[0], block[0] * block[1], "the batch size")), s[1], height, width})};
}
Result<Tensors> batch_to_space::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  const Ints &block = *block_shape, &crop = *crops;
  Sizes out = known_sizes(type.shape), in = x.sizes();
  Sizes whole{out[0], out[1], in[2] * block[0], in[3] * block[1]};
  Tensor wide =
      rearrange_elements(x.tensor(), {block[0], block[1], out[0], in[1], in[2], in[3]}, {2, 3, 4, 0, 5, 1}, whole);
  Selection inner = all_elements(whole);
  inner.sizes = out;
  inner.offset = crop[0] * inner.strides[2] + crop[2] * inner.strides[3];
  return Tensors{select_elements(wide, inner)};
}

}  // namespace pomona::mil
