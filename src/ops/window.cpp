#include "ops/window.h"

#include <algorithm>

namespace pomona::mil {
namespace {

constexpr std::int64_t largest_parameter = 0x7fffffff;

std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  return text;
}

Status check_list(const Ints& list, std::string_view list_name, std::size_t length, std::int64_t least) {
  if (list.empty()) return {};
  POM_REQUIRE(list.size() == length, "{} has {} elements, not {}", list_name, list.size(), length);
  for (std::int64_t value : list)
    POM_REQUIRE(value >= least && value <= largest_parameter, "{} has the element {}", list_name, value);
  return {};
}

Status check_request(const WindowRequest& r, const std::string& pad_type) {
  std::size_t axes = r.sizes.size();
  POM_REQUIRE(axes >= 1 && axes <= 3, "x has rank {}, but 3 to 5 is needed", axes + 2);
  POM_REQUIRE(r.kernel.size() == axes, "the kernel is {}, but x has {} spatial axes", to_string(r.kernel), axes);
  for (Dim k : r.kernel)
    POM_REQUIRE(!k.known() || (k.value() >= 1 && k.value() <= largest_parameter), "the kernel is {}",
                to_string(r.kernel));
  POM_TRY(check_list(r.strides, "strides", axes, 1));
  POM_TRY(check_list(r.dilations, "dilations", axes, 1));
  if (pad_type == "custom") POM_TRY(check_list(r.pad, "pad", 2 * axes, 0));
  return {};
}

// Sizes, kernel, strides, dilations, and the padding of pad_type custom.
std::vector<Window> given_windows(const WindowRequest& r, const std::string& pad_type) {
  std::vector<Window> windows;
  for (std::size_t i = 0; i < r.sizes.size(); ++i) {
    Window w{r.sizes[i], r.kernel[i]};
    if (!r.strides.empty()) w.stride = r.strides[i];
    if (!r.dilations.empty()) w.dilation = r.dilations[i];
    if (pad_type == "custom" && !r.pad.empty()) {
      w.before = r.pad[2 * i];
      w.after = r.pad[2 * i + 1];
    }
    windows.push_back(w);
  }
  return windows;
}

// The elements from the first under the window to the last.
Dim reach(const Window& w) { return w.dilation * (w.kernel - 1) + 1; }

// The padding that lets the window stand at `positions` places of `size` elements.
void pad_to_fit(Window& w, bool odd_one_before) {
  Dim total = maximum(0, (w.positions - 1) * w.stride + reach(w) - w.size);
  w.before = floor_div(odd_one_before ? total + 1 : total, 2);
  w.after = total - w.before;
}

void count_positions(Window& w, bool ceil_mode) {
  Dim room = w.size + w.before + w.after - reach(w);
  if (!ceil_mode) {
    w.positions = floor_div(room, w.stride) + 1;
    return;
  }
  w.positions = floor_div(room + w.stride - 1, w.stride) + 1;
  // With padding, a last window that would start in the padding after is dropped.
  if (w.before == 0 && w.after == 0) return;
  Dim starting_inside = floor_div(w.size + w.before - 1, w.stride) + 1;
  w.positions = maximum(w.positions - 1, minimum(w.positions, starting_inside));
}

Status check_ceil_mode(const std::vector<Window>& windows, const std::string& pad_type) {
  POM_REQUIRE(windows.size() <= 2, "ceil_mode works on one or two spatial axes, not on {}", windows.size());
  POM_REQUIRE(!pad_type.starts_with("same"), "ceil_mode does not go with pad_type '{}'", pad_type);
  for (const Window& w : windows)
    POM_REQUIRE(w.before == w.after, "ceil_mode needs equal padding before and after, not {} and {}", w.before.text(),
                w.after.text());
  return {};
}

std::size_t product(const std::vector<Window>& windows, Dim Window::* part) {
  std::size_t count = 1;
  for (const Window& w : windows) count *= std::size_t((w.*part).value());
  return count;
}

}  // namespace

Result<std::vector<Window>> sliding_windows(const WindowRequest& request, const At& at) {
  std::string pad_type = lower_case(request.pad_type);
  bool same = pad_type == "same" || pad_type == "same_lower";
  POM_REQUIRE(same || pad_type == "valid" || pad_type == "custom",
              "pad_type is '{}', not valid, custom, same or same_lower", request.pad_type);
  POM_REQUIRE(pad_type != "same_lower" || at.opset >= iOS16,
              "pad_type 'same_lower' needs {}, but the function is for {}", name(iOS16), name(at.opset));
  POM_TRY(check_request(request, pad_type));
  std::vector<Window> windows = given_windows(request, pad_type);
  if (request.ceil_mode) POM_TRY(check_ceil_mode(windows, pad_type));
  for (Window& w : windows) {
    if (same) {
      w.positions = floor_div(w.size + w.stride - 1, w.stride);
      pad_to_fit(w, pad_type == "same_lower");
    } else {
      count_positions(w, request.ceil_mode);
    }
    POM_REQUIRE(!w.positions.known() || w.positions.value() >= 1,
                "a window that reaches over {} elements does not fit into {} with padding {} and {}", reach(w).text(),
                w.size.text(), w.before.text(), w.after.text());
  }
  return windows;
}

Result<std::vector<Window>> spreading_windows(const WindowRequest& request, const Ints& result_sizes) {
  std::string pad_type = lower_case(request.pad_type);
  POM_REQUIRE(pad_type == "valid" || pad_type == "custom" || pad_type == "same",
              "pad_type is '{}', not valid, custom or same", request.pad_type);
  POM_TRY(check_request(request, pad_type));
  POM_TRY(check_list(result_sizes, "output_shape", request.sizes.size(), 1));
  std::vector<Window> windows = given_windows(request, pad_type);
  for (std::size_t i = 0; i < windows.size(); ++i) {
    Window& w = windows[i];
    w.positions = request.sizes[i];
    if (!result_sizes.empty())
      w.size = result_sizes[i];
    else if (pad_type == "same")
      w.size = w.positions * w.stride;
    else
      w.size = (w.positions - 1) * w.stride + reach(w) - w.before - w.after;
    if (pad_type == "same") pad_to_fit(w, false);
    POM_REQUIRE(!w.size.known() || w.size.value() >= 1, "with padding {} and {} nothing is left of {} elements",
                w.before.text(), w.after.text(), (w.size + w.before + w.after).text());
  }
  return windows;
}

void taps_at(const std::vector<Window>& windows, std::size_t position, std::vector<Tap>& taps,
             std::size_t* with_padding) {
  taps.assign(1, {0, 0});
  if (with_padding) *with_padding = 1;
  std::size_t later_positions = position_count(windows);
  for (const Window& w : windows) {
    std::int64_t size = w.size.value(), kernel = w.kernel.value();
    later_positions /= std::size_t(w.positions.value());
    std::int64_t start = std::int64_t(position / later_positions % std::size_t(w.positions.value())) * w.stride;
    start -= w.before.value();
    std::int64_t first = start >= 0 ? 0 : (-start + w.dilation - 1) / w.dilation;
    std::vector<Tap> next;
    for (const Tap& tap : taps)
      for (std::int64_t k = first; k < kernel && start + k * w.dilation < size; ++k)
        next.push_back({tap.element * std::size_t(size) + std::size_t(start + k * w.dilation),
                        tap.kernel_element * std::size_t(kernel) + std::size_t(k)});
    taps = std::move(next);
    if (!with_padding) continue;
    std::int64_t to_end = size + w.after.value() - start;
    *with_padding *= std::size_t(std::clamp((to_end + w.dilation - 1) / w.dilation, std::int64_t(0), kernel));
  }
}

std::size_t block_size(const std::vector<Window>& windows) { return product(windows, &Window::size); }
std::size_t position_count(const std::vector<Window>& windows) { return product(windows, &Window::positions); }

}  // namespace pomona::mil
