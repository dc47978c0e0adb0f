#include "ops/image.h"

#include <algorithm>
#include <cmath>

#include "ops/catalogue.h"
#include "ops/sampling.h"
#include "ops/shape_rules.h"

namespace pomona::mil {
namespace {

constexpr std::int64_t largest_crop = std::int64_t(1) << 31;

Status check_planes(const InputField& x) {
  POM_REQUIRE(x.rank() >= 3, "x has rank {}, but at least 3 is needed", x.rank());
  return {};
}

// x's shape with its last dimensions replaced.
Result<Types> with_last(const InputField& x, const Shape& last) {
  Shape shape = x.shape();
  for (std::size_t k = 0; k < last.size(); ++k) {
    Dim& dim = shape[shape.size() - last.size() + k];
    POM_REQUIRE(!(dim == 0) || last[k] == 0 || !last[k].known(), "an empty dimension cannot be resized to {}",
                last[k].text());
    dim = last[k];
  }
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(x.dtype(), std::move(shape))};
}

// The sizes of an inferred result, if memory holds it in the arithmetic's doubles.
Result<Sizes> target_sizes(const Result<Types>& inferred) {
  if (!inferred) return inferred.error();
  const Shape& shape = (*inferred)[0].shape;
  POM_TRY(check_memory(DType::fp64, shape));
  return known_sizes(shape);
}

// Linear interpolation along one axis at positions inside it.
std::vector<double> linear_along(const std::vector<double>& x, const Sizes& sizes, std::size_t axis,
                                 std::span<const double> positions) {
  std::size_t size = std::size_t(sizes[axis]), inner = std::size_t(strides_of(sizes)[axis]);
  std::vector<double> out;
  if (x.empty()) return out;
  std::size_t outer = x.size() / (size * inner);
  out.reserve(outer * positions.size() * inner);
  for (std::size_t o = 0; o < outer; ++o)
    for (double position : positions) {
      std::size_t low = std::size_t(position), high = std::min(low + 1, size - 1);
      double weight = position - double(low);
      const double *a = &x[(o * size + low) * inner], *b = &x[(o * size + high) * inner];
      // One neighbour alone when it is hit exactly: 0 * infinity would be no number.
      for (std::size_t i = 0; i < inner; ++i) out.push_back(weight == 0 ? a[i] : a[i] * (1 - weight) + b[i] * weight);
    }
  return out;
}

// Resizes the axes from `first` on to the sizes of the result.
Result<Tensor> resize_linear(const Tensor& x, const Sizes& target, std::size_t first, Grid grid) {
  // Sizes beside a 0 may be as large as they like: nothing is to be computed.
  if (element_count(target) == 0) return Tensor(x.dtype(), target);
  std::vector<double> values = x.numbers();
  Sizes sizes = x.sizes();
  for (std::size_t axis = first; axis < sizes.size(); ++axis) {
    if (sizes[axis] == 0 && target[axis] != 0) return fail("an empty dimension cannot be resized");
    double last = double(sizes[axis] - 1);
    std::vector<double> positions;
    for (std::int64_t i = 0; i < target[axis]; ++i)
      positions.push_back(std::clamp(grid_point(grid, last, target[axis], i), 0.0, std::max(last, 0.0)));
    values = linear_along(values, sizes, axis, positions);
    sizes[axis] = target[axis];
  }
  return Tensor::from_numbers(x.dtype(), target, values);
}

// The elements at `places` of one axis, bit by bit.
Tensor take_along(const Tensor& x, std::size_t axis, std::span<const std::size_t> places) {
  Sizes sizes = x.sizes();
  std::size_t size = std::size_t(sizes[axis]);
  std::size_t inner = std::size_t(strides_of(sizes)[axis]) * element_size_bytes(x.dtype());
  sizes[axis] = std::int64_t(places.size());
  Tensor out(x.dtype(), sizes);
  if (out.count() == 0) return out;
  std::uint8_t* to = out.mutable_data();
  for (std::size_t o = 0; o < x.size_bytes() / (size * inner); ++o)
    for (std::size_t place : places) to = std::copy_n(x.data() + (o * size + place) * inner, inner, to);
  return out;
}

// place(i, X, N) is the sample that stands for result i.
template <class Place>
Result<Tensor> resize_nearest(Tensor x, const Sizes& target, std::size_t first, Place place) {
  if (element_count(target) == 0) return Tensor(x.dtype(), target);
  for (std::size_t axis = first; axis < x.rank(); ++axis) {
    std::int64_t size = x.sizes()[axis], wanted = target[axis];
    if (size == 0 && wanted != 0) return fail("an empty dimension cannot be resized");
    std::vector<std::size_t> places;
    for (std::int64_t i = 0; i < wanted; ++i)
      places.push_back(std::size_t(std::clamp<std::int64_t>(place(i, size, wanted), 0, size - 1)));
    x = take_along(x, axis, places);
  }
  return x;
}

// floor((i+0.5)*X/N), in integers.
std::int64_t half_pixel(std::int64_t i, std::int64_t size, std::int64_t wanted) {
  return (2 * i + 1) * size / (2 * wanted);
}

// floor(size * scale), as far as it can be written. The product is taken in fp32, the dtype of a fractional scale.
Result<Dim> scaled(Dim size, double scale) {
  constexpr double largest = 1 << 20;
  POM_REQUIRE(scale > 0 && scale <= largest, "the scale factor is {}, not above 0 and at most {}", scale, largest);
  if (scale == std::floor(scale)) return size * Dim(std::int64_t(scale));
  if (size.known()) {
    float product = float(scale) * float(size.value());
    POM_REQUIRE(product >= 0 && product < 0x1p40f, "a size of {} times {} is too large", size.value(), scale);
    return Dim(std::int64_t(product));
  }
  constexpr std::int64_t denominator = 64;
  double numerator = scale * denominator;
  if (numerator == std::floor(numerator)) return floor_div(size * Dim(std::int64_t(numerator)), denominator);
  return Dim::unknown();
}

Result<Types> infer_upsample(const InputField& x, double height, double width) {
  POM_TRY(check_planes(x));
  Dim h = x.shape()[x.rank() - 2], w = x.shape()[x.rank() - 1];
  return with_last(x, {POM_TRY(scaled(h, height)), POM_TRY(scaled(w, width))});
}

Status check_amounts(const Ints& amounts, const char* what) {
  POM_REQUIRE(amounts.size() == 2, "{} has {} elements, not 2", what, amounts.size());
  for (std::int64_t amount : amounts)
    POM_REQUIRE(amount >= 0 && amount <= largest_crop, "{} is {}", what, to_string(amounts));
  return {};
}

}  // namespace

Result<Types> resize_bilinear::infer(const At&) const {
  POM_TRY(check_planes(x));
  POM_TRY(grid_named(*sampling_mode));
  return with_last(x, {std::int64_t(*target_size_height), std::int64_t(*target_size_width)});
}
Result<Tensors> resize_bilinear::eval(const At& at) const {
  Sizes target = POM_TRY(target_sizes(infer(at)));
  return Tensors{POM_TRY(resize_linear(x.tensor(), target, x.rank() - 2, POM_TRY(grid_named(*sampling_mode))))};
}

Result<Types> resize_nearest_neighbor::infer(const At&) const {
  POM_TRY(check_planes(x));
  return with_last(x, {std::int64_t(*target_size_height), std::int64_t(*target_size_width)});
}
Result<Tensors> resize_nearest_neighbor::eval(const At& at) const {
  Sizes target = POM_TRY(target_sizes(infer(at)));
  return Tensors{POM_TRY(resize_nearest(x.tensor(), target, x.rank() - 2, half_pixel))};
}

Result<Types> resize::infer(const At&) const {
  POM_REQUIRE(*interpolation_mode == "LINEAR" || *interpolation_mode == "NEAREST_NEIGHBOR",
              "interpolation_mode is '{}', not LINEAR or NEAREST_NEIGHBOR", *interpolation_mode);
  POM_TRY(grid_named(*sampling_mode));
  POM_REQUIRE(shape.rank() == 1, "shape has rank {}, not 1", shape.rank());
  Dim given = shape.shape()[0];
  POM_REQUIRE(!given.known() || given.value() <= std::int64_t(x.rank()), "shape has {} elements, but x has rank {}",
              given.text(), x.rank());
  POM_REQUIRE(*resized_dims >= 0 && std::size_t(*resized_dims) <= x.rank() &&
                  (!given.known() || *resized_dims <= given.value()),
              "resized_dims is {}, but shape has {} elements and x has rank {}", *resized_dims, given.text(), x.rank());
  std::size_t count = std::size_t(*resized_dims), first = x.rank() - count;
  auto entries = shape.contents();
  Shape last;
  for (std::size_t k = 0; k < count; ++k) {
    Dim wanted = entries && entries->size() >= count ? (*entries)[entries->size() - count + k] : Dim::unknown();
    last.push_back(wanted == 0 ? x.shape()[first + k] : wanted);
  }
  return with_last(x, last);
}
Result<Tensors> resize::eval(const At& at) const {
  Sizes target = POM_TRY(target_sizes(infer(at)));
  Grid grid = POM_TRY(grid_named(*sampling_mode));
  std::size_t first = x.rank() - std::size_t(*resized_dims);
  if (*interpolation_mode == "LINEAR") return Tensors{POM_TRY(resize_linear(x.tensor(), target, first, grid))};
  // DEFAULT takes the half-pixel neighbour, not floor(i*X/N); the other grids the sample nearest to their point.
  return Tensors{
      POM_TRY(resize_nearest(x.tensor(), target, first, [grid](std::int64_t i, std::int64_t size, std::int64_t wanted) {
        if (grid == Grid::plain) return half_pixel(i, size, wanted);
        double point = grid_point(grid, double(size - 1), wanted, i);
        return std::int64_t(std::floor(point + 0.5));
      }))};
}

Result<Types> upsample_nearest_neighbor::infer(const At&) const {
  return infer_upsample(x, scale_factor_height, scale_factor_width);
}
Result<Tensors> upsample_nearest_neighbor::eval(const At& at) const {
  Sizes target = POM_TRY(target_sizes(infer(at)));
  auto place = [](std::int64_t i, std::int64_t size, std::int64_t wanted) { return i * size / wanted; };
  return Tensors{POM_TRY(resize_nearest(x.tensor(), target, x.rank() - 2, place))};
}

Result<Types> upsample_bilinear::infer(const At&) const {
  POM_REQUIRE(!*align_corners || !half_pixel_centers->value_or(false),
              "align_corners and half_pixel_centers are both true");
  return infer_upsample(x, scale_factor_height, scale_factor_width);
}
Result<Tensors> upsample_bilinear::eval(const At& at) const {
  Sizes target = POM_TRY(target_sizes(infer(at)));
  bool half = half_pixel_centers->value_or(!*align_corners);
  Grid grid = *align_corners ? Grid::strict_align_corners : half ? Grid::unalign_corners : Grid::plain;
  return Tensors{POM_TRY(resize_linear(x.tensor(), target, x.rank() - 2, grid))};
}

Result<Types> crop::infer(const At&) const {
  POM_REQUIRE(x.rank() >= 2, "x has rank {}, but at least 2 is needed", x.rank());
  POM_TRY(check_amounts(*crop_height, "crop_height"));
  POM_TRY(check_amounts(*crop_width, "crop_width"));
  const Ints &h = *crop_height, &w = *crop_width;
  Shape shape = x.shape();
  shape[x.rank() - 2] = shape[x.rank() - 2] - h[0] - h[1];
  shape[x.rank() - 1] = shape[x.rank() - 1] - w[0] - w[1];
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(x.dtype(), std::move(shape))};
}
Result<Tensors> crop::eval(const At& at) const {
  Sizes sizes = POM_TRY(target_sizes(infer(at)));
  if (element_count(sizes) == 0) return Tensors{Tensor(x.dtype(), sizes)};
  Tensor out = x.tensor();
  for (std::size_t k = 0; k < 2; ++k) {
    std::size_t axis = x.rank() - 2 + k;
    std::vector<std::size_t> places;
    for (std::int64_t i = 0; i < sizes[axis]; ++i)
      places.push_back(std::size_t(i + (k ? *crop_width : *crop_height)[0]));
    out = take_along(out, axis, places);
  }
  return Tensors{out};
}

std::vector<const OpDef*> image_chapter() {
  return op_list<resize_bilinear, resize_nearest_neighbor, resize, upsample_nearest_neighbor, upsample_bilinear, crop,
                 crop_resize_iOS15, crop_resize, affine, resample>();
}

}  // namespace pomona::mil
