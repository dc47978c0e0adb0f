#include "formats/onnx/window.h"

#include <algorithm>

namespace pomona::onnx {
namespace {

// Nobody slides windows of such a size; the bound keeps the arithmetic below from overflowing.
constexpr std::int64_t largest = 1 << 28;

Status check(const Ints& values, std::size_t count, std::int64_t lowest, const char* what) {
  POM_REQUIRE(values.size() == count, "{} has {} entries, not {}", what, values.size(), count);
  for (std::int64_t v : values) POM_REQUIRE(v >= lowest && v <= largest, "{} holds {}", what, v);
  return {};
}

}  // namespace

Ints Window::interleaved() const {
  Ints pad;
  for (std::size_t i = 0; i < before.size(); ++i) pad.insert(pad.end(), {before[i], after[i]});
  return pad;
}
bool Window::padded() const {
  return std::any_of(before.begin(), before.end(), [](auto p) { return p != 0; }) ||
         std::any_of(after.begin(), after.end(), [](auto p) { return p != 0; });
}
bool Window::dilated() const {
  return std::any_of(dilations.begin(), dilations.end(), [](auto d) { return d != 1; });
}
bool Window::sizes_known() const { return all_known(input); }
std::int64_t Window::output(std::size_t i) const {
  return (input[i].value() + before[i] + after[i] - reach(i)) / strides[i] + 1;
}
std::int64_t Window::volume() const {
  std::int64_t volume = 1;
  for (std::int64_t k : kernel) volume = std::min(volume * k, largest);
  return volume;
}
Status Window::check_listable() const {
  POM_REQUIRE(sizes_known(), "these windows need an input of known size");
  for (std::size_t i = 0; i < spatial(); ++i)
    POM_REQUIRE(output(i) < (1 << 16) && kernel[i] < (1 << 10), "there are {} windows of {} elements", output(i),
                kernel[i]);
  return {};
}

Result<Window> window_of(Value x, const WindowAttributes& a) {
  POM_REQUIRE(x.rank() >= 3, "the input has rank {}, but at least 3 is needed", x.rank());
  Window w;
  std::size_t n = x.rank() - 2;
  w.kernel = a.kernel;
  w.strides = a.strides.empty() ? Ints(n, 1) : a.strides;
  w.dilations = a.dilations.empty() ? Ints(n, 1) : a.dilations;
  Ints pads = a.pads.empty() ? Ints(2 * n, 0) : a.pads;
  POM_TRY(check(w.kernel, n, 1, "kernel_shape"));
  POM_TRY(check(w.strides, n, 1, "strides"));
  POM_TRY(check(w.dilations, n, 1, "dilations"));
  POM_TRY(check(pads, 2 * n, 0, "pads"));
  w.input.assign(x.shape().begin() + 2, x.shape().end());
  bool upper = a.auto_pad == "SAME_UPPER", lower = a.auto_pad == "SAME_LOWER";
  POM_REQUIRE(upper || lower || a.auto_pad == "NOTSET" || a.auto_pad == "VALID" || a.auto_pad.empty(),
              "auto_pad is '{}'", a.auto_pad);
  if (a.auto_pad == "VALID") pads.assign(2 * n, 0);
  w.before.assign(pads.begin(), pads.begin() + std::ptrdiff_t(n));
  w.after.assign(pads.begin() + std::ptrdiff_t(n), pads.end());
  bool known = w.sizes_known();
  for (std::size_t i = 0; i < n && !known && !upper && !lower; ++i)
    POM_REQUIRE(!w.input[i].known() || w.input[i].value() + w.before[i] + w.after[i] >= w.reach(i),
                "a window of {} does not fit into the {} elements of dim {}", w.reach(i), w.input[i].value(), i + 2);
  for (std::size_t i = 0; i < n && known; ++i)
    POM_REQUIRE(w.input[i].value() > 0 && w.input[i].value() < (std::int64_t(1) << 40), "dim {} of the input is {}",
                i + 2, w.input[i].text());
  if (upper || lower) {
    if (!known) {
      w.pad_type = upper ? "same" : "same_lower";
      w.declared_after = w.after;
      return w;
    }
    for (std::size_t i = 0; i < n; ++i) {
      std::int64_t size = w.input[i].value(), out = (size + w.strides[i] - 1) / w.strides[i];
      std::int64_t total = (out - 1) * w.strides[i] + w.dilations[i] * (w.kernel[i] - 1) + 1 - size;
      total = std::max<std::int64_t>(total, 0);
      w.before[i] = upper ? total / 2 : total - total / 2;
      w.after[i] = total - w.before[i];
    }
  }
  w.declared_after = w.after;
  for (std::size_t i = 0; i < n && !known && a.ceil_mode; ++i) {
    // As much more as makes a window of what is left, but none that begins behind the input.
    POM_REQUIRE(w.after[i] < w.reach(i),
                "ceil_mode with a padding of {} around windows of {} needs an input of known "
                "size",
                w.after[i], w.reach(i));
    w.after[i] = std::min(w.after[i] + w.strides[i], w.reach(i)) - 1;
  }
  for (std::size_t i = 0; i < n && known; ++i) {
    std::int64_t size = w.input[i].value(), reach = w.reach(i);
    std::int64_t room = size + w.before[i] + w.after[i] - reach;
    POM_REQUIRE(room >= 0, "a window of {} does not fit into the {} elements of dim {}", reach, room + reach, i + 2);
    if (!a.ceil_mode) continue;
    std::int64_t out = (room + w.strides[i] - 1) / w.strides[i] + 1;
    // A window may not start beyond the input and its left padding.
    if ((out - 1) * w.strides[i] >= size + w.before[i]) --out;
    w.after[i] = std::max(w.after[i], (out - 1) * w.strides[i] + reach - size - w.before[i]);
  }
  return w;
}

}  // namespace pomona::onnx
