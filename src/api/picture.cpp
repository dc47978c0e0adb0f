#include "api/picture.h"

#include <png.h>

#include <algorithm>
#include <cmath>

namespace pomona::api {
namespace {

constexpr int bgr_color_space = 30, rgb_color_space = 20;

bool is_colour(const Feature& feature) {
  return feature.color_space == rgb_color_space || feature.color_space == bgr_color_space;
}

std::string sizes_allowed(const Feature& feature) {
  if (!feature.enumerated.empty()) {
    std::string all;
    for (const Sizes& s : feature.enumerated) all += (all.empty() ? "" : ", ") + fmt::format("{} x {}", s[1], s[0]);
    return all;
  }
  if (feature.ranges.size() == 2) {
    auto text = [](const Feature::Range& r) {
      return r.upper < 0 ? fmt::format("{}..", r.lower) : fmt::format("{}..{}", r.lower, r.upper);
    };
    return text(feature.ranges[1]) + " x " + text(feature.ranges[0]);
  }
  return feature.shape.size() == 2 ? fmt::format("{} x {}", feature.shape[1], feature.shape[0]) : "any";
}

bool is_allowed(const Feature& feature, std::int64_t height, std::int64_t width) {
  if (!feature.enumerated.empty())
    return std::find(feature.enumerated.begin(), feature.enumerated.end(), Sizes{height, width}) !=
           feature.enumerated.end();
  auto inside = [](const Feature::Range& r, std::int64_t size) {
    return size >= r.lower && (r.upper < 0 || size <= r.upper);
  };
  if (feature.ranges.size() == 2) return inside(feature.ranges[0], height) && inside(feature.ranges[1], width);
  return feature.shape.size() != 2 || (feature.shape[0] == height && feature.shape[1] == width);
}

}  // namespace

bool is_png(const Bytes& file) { return file.text().starts_with("\x89PNG\r\n\x1A\n"); }

Result<Tensor> read_picture(const Bytes& file, const Feature& feature, DType dtype) {
  POM_REQUIRE(is_png(file), "the picture is not a PNG file");
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_memory(&image, file.data(), file.size()))
    return fail("the picture cannot be read: {}", image.message);
  std::int64_t height = image.height, width = image.width;
  if (!is_allowed(feature, height, width)) {
    png_image_free(&image);
    return fail("the picture is {} x {}, but the model takes {} (width x height)", width, height,
                sizes_allowed(feature))
        .advise("a picture of that size; pictures are not resized here");
  }
  std::size_t channels = is_colour(feature) ? 3 : 1;
  image.format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  std::vector<std::uint8_t> pixels(PNG_IMAGE_SIZE(image));
  png_color black{0, 0, 0};
  if (!png_image_finish_read(&image, &black, pixels.data(), 0, nullptr))
    return fail("the picture cannot be read: {}", image.message);
  Tensor tensor(dtype, {1, std::int64_t(channels), height, width});
  tensor.mutable_data();
  std::size_t count = std::size_t(height * width);
  for (std::size_t c = 0; c < channels; ++c) {
    std::size_t from = feature.color_space == bgr_color_space ? channels - 1 - c : c;
    for (std::size_t i = 0; i < count; ++i) tensor.set_number(c * count + i, pixels[i * channels + from]);
  }
  return tensor;
}

Result<std::string> picture_contents(const Tensor& tensor, const Feature& feature) {
  std::int64_t channels = is_colour(feature) ? 3 : 1;
  POM_REQUIRE(tensor.rank() == 4 && tensor.sizes()[0] == 1 && tensor.sizes()[1] == channels,
              "{} is no picture of {} channels", tensor.type().text(), channels);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.height = png_uint_32(tensor.sizes()[2]);
  image.width = png_uint_32(tensor.sizes()[3]);
  image.format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  std::size_t count = std::size_t(tensor.sizes()[2] * tensor.sizes()[3]);
  std::vector<std::uint8_t> pixels(count * std::size_t(channels));
  for (std::size_t c = 0; c < std::size_t(channels); ++c) {
    std::size_t to = feature.color_space == bgr_color_space ? std::size_t(channels) - 1 - c : c;
    for (std::size_t i = 0; i < count; ++i) {
      double value = tensor.number(c * count + i);
      pixels[i * std::size_t(channels) + to] =
          std::isnan(value) ? 0 : std::uint8_t(std::clamp(std::nearbyint(value), 0.0, 255.0));
    }
  }
  png_alloc_size_t size = 0;
  if (!png_image_write_to_memory(&image, nullptr, &size, 0, pixels.data(), 0, nullptr))
    return fail("the picture cannot be written: {}", image.message);
  std::string contents(size, '\0');
  if (!png_image_write_to_memory(&image, contents.data(), &size, 0, pixels.data(), 0, nullptr))
    return fail("the picture cannot be written: {}", image.message);
  contents.resize(size);
  return contents;
}

}  // namespace pomona::api
