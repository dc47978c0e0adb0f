// The image ops that read at arbitrary points: crop_resize, resample, affine; and the sampling grids.
#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "ops/axes.h"
#include "ops/image.h"
#include "ops/sampling.h"
#include "ops/shape_rules.h"

namespace pomona::mil {

Result<Grid> grid_named(std::string_view sampling_mode) {
  static constexpr std::string_view names[] = {"STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS",
                                               "UNALIGN_CORNERS"};
  for (std::size_t i = 0; i < std::size(names); ++i)
    if (names[i] == sampling_mode) return Grid(i);
  return fail(
      "sampling_mode is '{}', not DEFAULT, ALIGN_CORNERS, STRICT_ALIGN_CORNERS, OFFSET_CORNERS or "
      "UNALIGN_CORNERS",
      sampling_mode);
}

double grid_point(Grid grid, double last, std::int64_t count, std::int64_t i) {
  double n = double(count), at = double(i);
  switch (grid) {
    case Grid::strict_align_corners:
      return count == 1 ? 0 : at * last / (n - 1);
    case Grid::align_corners:
      return count == 1 ? last / 2 : at * last / (n - 1);
    case Grid::plain:
      return at * (last + 1) / n;
    case Grid::offset_corners:
      return (at + 0.5) * std::max(1.0, last) / n;
    default:
      return (at + 0.5) * (last + 1) / n - 0.5;
  }
}

namespace {

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  return lower;
}

// x[B, C, H, W] as doubles.
struct Images {
  std::size_t count, channels;
  std::int64_t height, width;
  std::vector<double> values;

  explicit Images(const Tensor& x)
      : count(std::size_t(x.sizes()[0])),
        channels(std::size_t(x.sizes()[1])),
        height(x.sizes()[2]),
        width(x.sizes()[3]),
        values(x.numbers()) {}
  const double* plane(std::size_t image, std::size_t channel) const {
    return values.data() + (image * channels + channel) * std::size_t(height * width);
  }
};

// The four neighbours of a point: where they are and what they weigh. Neighbours outside have no place.
struct Taps {
  std::int64_t place[4];
  double weight[4];
};

Taps taps_at(const Images& x, double row, double column) {
  double top = std::floor(row), left = std::floor(column), down = row - top, right = column - left;
  Taps taps;
  for (int k = 0; k < 4; ++k) {
    std::int64_t r = std::int64_t(top) + k / 2, c = std::int64_t(left) + k % 2;
    bool inside = r >= 0 && c >= 0 && r < x.height && c < x.width;
    taps.place[k] = inside ? r * x.width + c : -1;
    taps.weight[k] = (k / 2 ? down : 1 - down) * (k % 2 ? right : 1 - right);
  }
  return taps;
}

double weigh(const double* plane, const Taps& taps, double outside) {
  double sum = 0;
  for (int k = 0; k < 4; ++k)
    if (taps.weight[k] != 0) sum += taps.weight[k] * (taps.place[k] < 0 ? outside : plane[taps.place[k]]);
  return sum;
}

struct CropOptions {
  std::int64_t height, width;
  bool normalized;
  double scale;
  std::string_view layout;
  Grid grid;
  std::optional<double> pad;  // absent: points outside take the nearest edge
};

Status check_layout(const std::string& mode) {
  POM_REQUIRE(mode == "CORNERS_HEIGHT_FIRST" || mode == "CORNERS_WIDTH_FIRST" || mode == "CENTER_SIZE_HEIGHT_FIRST" ||
                  mode == "CENTER_SIZE_WIDTH_FIRST",
              "box_coordinate_mode is '{}', not CORNERS_HEIGHT_FIRST, CORNERS_WIDTH_FIRST, CENTER_SIZE_HEIGHT_FIRST or "
              "CENTER_SIZE_WIDTH_FIRST",
              mode);
  return {};
}

// One box of one image to `out`, [C, h, w].
void crop_one(const Images& x, std::size_t image, const double* box, const CropOptions& options, double* out) {
  double first[2] = {box[0], box[1]}, end[2] = {box[2], box[3]};
  if (options.layout.ends_with("WIDTH_FIRST")) {
    std::swap(first[0], first[1]);
    std::swap(end[0], end[1]);
  }
  if (options.layout.starts_with("CENTER"))
    for (int k = 0; k < 2; ++k) {
      double centre = first[k], size = end[k];
      first[k] = centre - size / 2;
      end[k] = centre + size / 2;
    }
  double last[2] = {double(x.height - 1), double(x.width - 1)};
  for (int k = 0; k < 2; ++k) {
    double factor = options.scale * (options.normalized ? last[k] : 1);
    first[k] *= factor;
    end[k] *= factor;
  }
  // Outside the image the whole result pixel is the pad value: nothing is blended with it.
  constexpr double rounding = 1e-9;
  auto outside = [&](double p, int k) { return !(p >= -rounding && p <= last[k] + rounding); };
  for (std::int64_t i = 0; i < options.height; ++i)
    for (std::int64_t j = 0; j < options.width; ++j) {
      double row = first[0] + grid_point(options.grid, end[0] - first[0], options.height, i);
      double column = first[1] + grid_point(options.grid, end[1] - first[1], options.width, j);
      bool pad = options.pad && (outside(row, 0) || outside(column, 1));
      // fmin and fmax turn a coordinate that is not a number into a place inside.
      Taps taps = taps_at(x, std::fmax(0, std::fmin(row, last[0])), std::fmax(0, std::fmin(column, last[1])));
      for (std::size_t c = 0; c < x.channels; ++c)
        out[(std::int64_t(c) * options.height + i) * options.width + j] =
            pad ? *options.pad : weigh(x.plane(image, c), taps, 0);
    }
}

Status check_image(const InputField& x) {
  POM_REQUIRE(x.rank() == 4, "x has rank {}, not 4", x.rank());
  POM_REQUIRE(!(x.shape()[2] == 0) && !(x.shape()[3] == 0), "x has shape {}: there is nothing to sample",
              to_string(x.shape()));
  return {};
}

// For each result [image, box values]: crops to a tensor of the given sizes.
struct Crop {
  std::size_t image;
  const double* box;
};
Tensors crop_all(const Tensor& x, std::span<const Crop> crops, const CropOptions& options, const Type& result) {
  Images images(x);
  std::size_t each = images.channels * std::size_t(options.height * options.width);
  std::vector<double> out(crops.size() * each);
  parallel_for(crops.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t n = begin; n < end; ++n)
      crop_one(images, crops[n].image, crops[n].box, options, out.data() + n * each);
  });
  return {Tensor::from_numbers(result.dtype, known_sizes(result.shape), out)};
}

Result<std::size_t> image_index(double index, std::int64_t count, std::size_t box) {
  POM_REQUIRE(index >= 0 && index < double(count), "box {} names image {}, but there are {}", box, index, count);
  return std::size_t(index);
}

// Where a coordinate that may lie outside reads, after padding; constant padding leaves it.
double padded(double p, std::int64_t size, std::string_view padding) {
  constexpr double far = 1e9;  // beyond any image, and still an integer's value
  p = p == p ? std::clamp(p, -far, far) : -far;
  double last = double(size - 1);
  auto mirror = [&](double low, double high) {
    double span = high - low;
    if (span == 0) return low;
    double offset = std::fmod(std::fabs(p - low), 2 * span);
    return low + (offset > span ? 2 * span - offset : offset);
  };
  if (padding == "border") return std::clamp(p, 0.0, last);
  if (padding == "reflection") return mirror(0, last);
  if (padding == "symmetric") return std::clamp(mirror(-0.5, last + 0.5), 0.0, last);
  return p;
}

// The pixel that a coordinate means.
double pixel_of(double c, std::int64_t size, std::string_view mode, bool align_corners) {
  double n = double(size);
  if (mode == "unnormalized") return c;
  if (mode == "normalized_zero_to_one") return align_corners ? c * (n - 1) : c * n - 0.5;
  return align_corners ? (c + 1) / 2 * (n - 1) : ((c + 1) * n - 1) / 2;
}

struct SampleOptions {
  bool nearest;
  std::string padding, coordinates;
  double outside;
  bool align_corners;
};

// points: [B, h, w] pairs (x, y).
Tensors sample(const Tensor& x, const std::vector<double>& points, const SampleOptions& options, const Type& result) {
  Images images(x);
  Sizes sizes = known_sizes(result.shape);
  std::size_t area = std::size_t(sizes[2] * sizes[3]);
  std::vector<double> out(std::size_t(element_count(sizes)));
  parallel_for(images.count * area, 256, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      double at[2];
      for (std::size_t k = 0; k < 2; ++k) {
        std::int64_t size = k == 0 ? images.width : images.height;
        double pixel = pixel_of(points[2 * i + k], size, options.coordinates, options.align_corners);
        at[k] = padded(pixel, size, options.padding);
        if (options.nearest) at[k] = std::nearbyint(at[k]);  // halves to even
      }
      Taps taps = taps_at(images, at[1], at[0]);
      std::size_t image = i / area, place = i % area;
      for (std::size_t c = 0; c < images.channels; ++c)
        out[(image * images.channels + c) * area + place] = weigh(images.plane(image, c), taps, options.outside);
    }
  });
  return {Tensor::from_numbers(result.dtype, std::move(sizes), out)};
}

}  // namespace

Result<Types> crop_resize_iOS15::infer(const At&) const {
  POM_TRY(check_image(x));
  POM_TRY(check_layout(*box_coordinate_mode));
  POM_TRY(grid_named(*sampling_mode));
  const Shape& r = roi.shape();
  bool fits = r.size() == 5 && may_equal(r[1], 1) && may_equal(r[3], 1) && may_equal(r[4], 1) &&
              (may_equal(r[2], 4) || may_equal(r[2], 5));
  POM_REQUIRE(fits, "roi has shape {}, not [N, 1, 4, 1, 1] or [N, 1, 5, 1, 1]", to_string(r));
  Dim images = r[2] == 4 ? x.shape()[0] : r[2] == 5 ? Dim(1) : Dim::unknown();
  Shape shape{r[0], images, x.shape()[1], std::int64_t(*target_height), std::int64_t(*target_width)};
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(x.dtype(), std::move(shape))};
}
Result<Tensors> crop_resize_iOS15::eval(const At& at) const {
  Types types = POM_TRY(infer(at));
  POM_TRY(check_memory(DType::fp64, types[0].shape));
  if (element_count(types[0].shape) == 0) return Tensors{Tensor(x.dtype(), known_sizes(types[0].shape))};
  CropOptions options{
      *target_height, *target_width, *normalized_coordinates, *spatial_scale, *box_coordinate_mode, {}, {}};
  options.grid = POM_TRY(grid_named(*sampling_mode));
  // Before iOS16 there is no pad value, and the grid stays inside the image.
  if (at.opset >= iOS16) options.pad = *pad_value;
  std::vector<double> rois = roi.tensor().numbers();
  std::size_t each = std::size_t(roi.sizes()[2]), images = std::size_t(x.sizes()[0]);
  std::vector<Crop> crops;
  for (std::size_t n = 0; n < std::size_t(roi.sizes()[0]); ++n) {
    const double* box = rois.data() + n * each;
    if (each == 5)
      crops.push_back({POM_TRY(image_index(box[0], x.sizes()[0], n)), box + 1});
    else
      for (std::size_t b = 0; b < images; ++b) crops.push_back({b, box});
  }
  return crop_all(x.tensor(), crops, options, types[0]);
}

Result<Types> crop_resize::infer(const At&) const {
  POM_TRY(check_image(x));
  POM_TRY(check_layout(*box_coordinate_mode));
  POM_TRY(grid_named(*sampling_mode));
  POM_REQUIRE(boxes.rank() == 2 && may_equal(boxes.shape()[1], 4), "boxes have shape {}, not [N, 4]",
              to_string(boxes.shape()));
  POM_REQUIRE(!*normalized_coordinates || is_float(boxes.dtype()), "boxes are {}, but normalized_coordinates is true",
              name(boxes.dtype()));
  Dim count = boxes.shape()[0], images = x.shape()[0];
  if (box_indices)
    POM_REQUIRE(box_indices.rank() == 1 && may_equal(box_indices.shape()[0], count),
                "box_indices have shape {}, but there are {} boxes", to_string(box_indices.shape()), count.text());
  else
    POM_REQUIRE(!count.known() || !images.known() || count.value() <= images.value(),
                "without box_indices there must not be more boxes ({}) than images ({})", count.text(), images.text());
  Shape shape{count, x.shape()[1], std::int64_t(*target_height), std::int64_t(*target_width)};
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(x.dtype(), std::move(shape))};
}
Result<Tensors> crop_resize::eval(const At& at) const {
  Types types = POM_TRY(infer(at));
  POM_TRY(check_memory(DType::fp64, types[0].shape));
  if (element_count(types[0].shape) == 0) return Tensors{Tensor(x.dtype(), known_sizes(types[0].shape))};
  CropOptions options{*target_height, *target_width, *normalized_coordinates, *spatial_scale, *box_coordinate_mode, {},
                      *pad_value};
  options.grid = POM_TRY(grid_named(*sampling_mode));
  std::vector<double> values = boxes.tensor().numbers();
  std::vector<Crop> crops;
  for (std::size_t n = 0; n < std::size_t(boxes.sizes()[0]); ++n) {
    double index = box_indices ? box_indices.tensor().number(n) : double(n);
    crops.push_back({POM_TRY(image_index(index, x.sizes()[0], n)), values.data() + n * 4});
  }
  return crop_all(x.tensor(), crops, options, types[0]);
}

Result<Types> affine::infer(const At&) const {
  POM_TRY(check_image(x));
  POM_REQUIRE(lower_case(*sampling_mode) == "bilinear", "sampling_mode is '{}'; only bilinear is allowed",
              *sampling_mode);
  POM_REQUIRE(lower_case(*coordinates_mode) == "normalized_minus_one_to_one",
              "coordinates_mode is '{}'; only normalized_minus_one_to_one is allowed", *coordinates_mode);
  POM_REQUIRE(lower_case(*padding_mode) == "constant" && padding_value == 0.0,
              "padding is {} {}; only constant 0 is allowed", *padding_mode, *padding_value);
  POM_REQUIRE(*align_corners, "align_corners is false; only true is allowed");
  const Shape& m = transform_matrix.shape();
  bool fits = m.size() == 2 && may_equal(m[1], 6) && (m[0] == 1 || may_equal(m[0], x.shape()[0]));
  POM_REQUIRE(fits, "transform_matrix has shape {}, not [{} or 1, 6]", to_string(m), x.shape()[0].text());
  Shape shape{x.shape()[0], x.shape()[1], std::int64_t(*output_height), std::int64_t(*output_width)};
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(x.dtype(), std::move(shape))};
}
Result<Tensors> affine::eval(const At& at) const {
  Types types = POM_TRY(infer(at));
  POM_TRY(check_memory(DType::fp64, types[0].shape));
  if (element_count(types[0].shape) == 0) return Tensors{Tensor(x.dtype(), known_sizes(types[0].shape))};
  std::vector<double> matrix = transform_matrix.tensor().numbers(), points;
  auto spread = [](int i, int count) { return count == 1 ? -1 : -1 + 2.0 * i / (count - 1); };
  for (std::size_t b = 0; b < std::size_t(x.sizes()[0]); ++b) {
    const double* m = matrix.data() + (transform_matrix.sizes()[0] == 1 ? 0 : 6 * b);
    for (int i = 0; i < *output_height; ++i)
      for (int j = 0; j < *output_width; ++j) {
        double u = spread(j, output_width), v = spread(i, output_height);
        points.push_back(m[0] * u + m[1] * v + m[2]);
        points.push_back(m[3] * u + m[4] * v + m[5]);
      }
  }
  SampleOptions options{false, "constant", "normalized_minus_one_to_one", 0, true};
  return sample(x.tensor(), points, options, types[0]);
}

Result<Types> resample::infer(const At&) const {
  POM_TRY(check_image(x));
  std::string sampling = lower_case(*sampling_mode), padding = lower_case(*padding_mode),
              mode = lower_case(*coordinates_mode);
  POM_REQUIRE(sampling == "bilinear" || sampling == "nearest", "sampling_mode is '{}', not bilinear or nearest",
              *sampling_mode);
  POM_REQUIRE(padding == "constant" || padding == "border" || padding == "reflection" || padding == "symmetric",
              "padding_mode is '{}', not constant, border, reflection or symmetric", *padding_mode);
  POM_REQUIRE(mode == "unnormalized" || mode == "normalized_minus_one_to_one" || mode == "normalized_zero_to_one",
              "coordinates_mode is '{}', not unnormalized, normalized_minus_one_to_one or normalized_zero_to_one",
              *coordinates_mode);
  const Shape& c = coordinates.shape();
  bool fits = c.size() == 4 && may_equal(c[3], 2) && may_equal(c[0], x.shape()[0]);
  POM_REQUIRE(fits, "coordinates have shape {}, not [{}, h, w, 2]", to_string(c), x.shape()[0].text());
  Shape shape{x.shape()[0].known() ? x.shape()[0] : c[0], x.shape()[1], c[1], c[2]};
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(x.dtype(), std::move(shape))};
}
Result<Tensors> resample::eval(const At& at) const {
  Types types = POM_TRY(infer(at));
  POM_TRY(check_memory(DType::fp64, types[0].shape));
  if (element_count(types[0].shape) == 0) return Tensors{Tensor(x.dtype(), known_sizes(types[0].shape))};
  SampleOptions options{lower_case(*sampling_mode) == "nearest", lower_case(*padding_mode),
                        lower_case(*coordinates_mode), *padding_value, *align_corners};
  return sample(x.tensor(), coordinates.tensor().numbers(), options, types[0]);
}

}  // namespace pomona::mil
