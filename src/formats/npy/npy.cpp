#include "formats/npy/npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/zip.h"

namespace pomona::npy {
namespace {

constexpr std::string_view magic = "\x93NUMPY";

struct Descriptor {
  char kind = 0;      // b, i, u, f, U, S
  unsigned size = 0;  // bytes per element; characters for U
  bool swapped = false;
};

struct Header {
  Descriptor descriptor;
  bool fortran = false;
  Sizes sizes;
};

// Reads the Python dictionary of the header. Only what NumPy writes there is understood.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view text) : rest_(text) {}

  Result<Header> header() {
    Header header;
    bool descr = false, order = false, shape = false;
    POM_TRY(take('{'));
    while (!peek('}')) {
      std::string key = POM_TRY(string());
      POM_TRY(take(':'));
      if (key == "descr") {
        header.descriptor = POM_TRY(descriptor(POM_TRY(string())));
        descr = true;
      } else if (key == "fortran_order") {
        header.fortran = POM_TRY(boolean());
        order = true;
      } else if (key == "shape") {
        header.sizes = POM_TRY(tuple());
        shape = true;
      } else {
        return fail("the header has an unknown key '{}'", key);
      }
      if (!peek('}')) POM_TRY(take(','));
    }
    POM_REQUIRE(descr && order && shape, "the header lacks descr, fortran_order or shape");
    return header;
  }

 private:
  void skip_spaces() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n\t"), rest_.size())); }
  bool peek(char c) {
    skip_spaces();
    return !rest_.empty() && rest_[0] == c;
  }
  Status take(char c) {
    POM_REQUIRE(peek(c), "the header lacks a '{}' before '{}'", c, rest_.substr(0, 20));
    rest_.remove_prefix(1);
    return {};
  }
  Result<std::string> string() {
    skip_spaces();
    POM_REQUIRE(!rest_.empty() && (rest_[0] == '\'' || rest_[0] == '"'),
                "the header has '{}' where a string is expected; structured dtypes are not read", rest_.substr(0, 20));
    std::size_t end = rest_.find(rest_[0], 1);
    POM_REQUIRE(end != rest_.npos, "the header has a string without an end");
    std::string value(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return value;
  }
  Result<bool> boolean() {
    skip_spaces();
    for (bool value : {false, true}) {
      std::string_view word = value ? "True" : "False";
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(word.size());
      return value;
    }
    return fail("the header has '{}' where True or False is expected", rest_.substr(0, 20));
  }
  Result<Sizes> tuple() {
    Sizes sizes;
    POM_TRY(take('('));
    while (!peek(')')) {
      std::int64_t value = 0;
      auto [end, status] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
      POM_REQUIRE(status == std::errc() && value >= 0, "the shape has '{}' where a size is expected",
                  rest_.substr(0, 20));
      rest_.remove_prefix(std::size_t(end - rest_.data()));
      sizes.push_back(value);
      if (!peek(')')) POM_TRY(take(','));
    }
    POM_TRY(take(')'));
    POM_REQUIRE(sizes.size() <= 64, "the shape has {} dimensions", sizes.size());
    return sizes;
  }
  static Result<Descriptor> descriptor(const std::string& text) {
    Descriptor d;
    POM_REQUIRE(text.size() >= 3 && std::string_view("<>|=").find(text[0]) != std::string_view::npos,
                "dtype '{}' is not understood", text);
    d.swapped = text[0] == '>';
    d.kind = text[1];
    auto [end, status] = std::from_chars(text.data() + 2, text.data() + text.size(), d.size);
    POM_REQUIRE(status == std::errc() && end == text.data() + text.size(), "dtype '{}' is not understood", text);
    return d;
  }

  std::string_view rest_;
};

struct Row {
  DType dtype;
  std::string_view descr;
};
constexpr Row rows[] = {{DType::boolean, "|b1"}, {DType::int8, "|i1"},  {DType::int16, "<i2"},  {DType::int32, "<i4"},
                        {DType::int64, "<i8"},   {DType::uint8, "|u1"}, {DType::uint16, "<u2"}, {DType::uint32, "<u4"},
                        {DType::uint64, "<u8"},  {DType::fp16, "<f2"},  {DType::fp32, "<f4"},   {DType::fp64, "<f8"}};

Result<std::uint64_t> element_total(const Sizes& sizes, std::uint64_t element_size) {
  std::uint64_t total = element_size;
  for (std::int64_t size : sizes)
    POM_REQUIRE(!__builtin_mul_overflow(total, std::uint64_t(size), &total), "the shape {} is impossible",
                to_string(sizes));
  return total;
}

// Elements in C order from elements in Fortran order.
std::string c_order(std::string_view source, const Sizes& sizes, std::size_t width) {
  std::string out(source.size(), '\0');
  std::size_t rank = sizes.size(), count = source.size() / width;
  Sizes index(rank), strides;
  std::int64_t stride = 1;
  for (std::int64_t size : sizes) {
    strides.push_back(stride);
    stride *= size;
  }
  std::int64_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(out.data() + i * width, source.data() + std::size_t(at) * width, width);
    for (std::size_t d = rank; d-- > 0;) {
      at += strides[d];
      if (++index[d] < sizes[d]) break;
      at -= strides[d] * sizes[d];
      index[d] = 0;
    }
  }
  return out;
}

void append_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out += char(c);
  } else if (c < 0x800) {
    out += {char(0xC0 | c >> 6), char(0x80 | (c & 63))};
  } else if (c < 0x10000) {
    out += {char(0xE0 | c >> 12), char(0x80 | (c >> 6 & 63)), char(0x80 | (c & 63))};
  } else {
    out += {char(0xF0 | (c >> 18 & 7)), char(0x80 | (c >> 12 & 63)), char(0x80 | (c >> 6 & 63)), char(0x80 | (c & 63))};
  }
}

// The code points of UTF-8 text; bytes that are not UTF-8 stand for themselves.
std::u32string code_points(std::string_view text) {
  std::u32string points;
  for (std::size_t i = 0; i < text.size();) {
    auto lead = std::uint8_t(text[i]);
    std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (i + length > text.size()) length = 1;
    std::uint32_t c = length == 1 ? lead : lead & (0x7Fu >> length);
    for (std::size_t k = 1; k < length; ++k) c = c << 6 | (std::uint8_t(text[i + k]) & 63);
    points += char32_t(c);
    i += length;
  }
  return points;
}

Tensor string_tensor(const Header& header, std::string_view data, std::size_t width) {
  std::vector<std::string> values;
  for (std::size_t at = 0; at + width <= data.size() && width; at += width) {
    std::string_view element = data.substr(at, width);
    std::string& value = values.emplace_back();
    if (header.descriptor.kind == 'S') {
      value = element.substr(0, element.find_last_not_of('\0') + 1);
      continue;
    }
    for (std::size_t i = 0; i + 4 <= width; i += 4) {
      std::uint32_t c;
      std::memcpy(&c, element.data() + i, 4);
      append_utf8(value, c);
    }
    value.resize(value.find_last_not_of('\0') + 1);
  }
  values.resize(std::size_t(element_count(header.sizes)));
  return Tensor::strings(header.sizes, std::move(values));
}

void swap_bytes(std::string& data, std::size_t width) {
  for (std::size_t at = 0; at + width <= data.size(); at += width)
    std::reverse(data.begin() + std::ptrdiff_t(at), data.begin() + std::ptrdiff_t(at + width));
}

Result<Bytes> header_text(const Bytes& file, std::size_t& data_begin) {
  POM_REQUIRE(file.text().starts_with(magic) && file.size() >= 10, "this is not a .npy file: it has no magic string");
  unsigned version = file.data()[6];
  POM_REQUIRE(version >= 1 && version <= 3, ".npy version {} is not known", version);
  std::size_t width = version == 1 ? 2 : 4;
  Bytes length_field = POM_TRY(file.slice(8, width));
  std::uint64_t length = 0;
  for (std::size_t i = width; i-- > 0;) length = length << 8 | length_field.data()[i];
  data_begin = 8 + width + length;
  return file.slice(8 + width, length);
}

Status save(const std::string& path, const std::string& contents) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) return fail("cannot create '{}': {}", path, std::strerror(errno)).blame(Fault::environment);
  bool written = std::fwrite(contents.data(), 1, contents.size(), file) == contents.size();
  if (std::fclose(file) != 0) written = false;
  if (!written) return fail("cannot write '{}': {}", path, std::strerror(errno)).blame(Fault::environment);
  return {};
}

}  // namespace

Result<Tensor> read_npy(const Bytes& file) {
  std::size_t begin = 0;
  Bytes text = POM_TRY_IN(header_text(file, begin), ".npy header");
  Header header = POM_TRY_IN(HeaderReader(text.text()).header(), ".npy header");
  const Descriptor& d = header.descriptor;
  bool is_text = d.kind == 'U' || d.kind == 'S';
  std::size_t width = d.kind == 'U' ? std::size_t(d.size) * 4 : d.size;
  std::optional<DType> dtype;
  for (const Row& row : rows)
    if (row.descr[1] == d.kind && unsigned(row.descr[2] - '0') == d.size) dtype = row.dtype;
  POM_REQUIRE(dtype || is_text, "dtype '{}{}' is not read", d.kind, d.size);
  std::uint64_t total = POM_TRY(element_total(header.sizes, width));
  // Elements of no width still take memory once they are strings.
  POM_REQUIRE(!is_text || POM_TRY(element_total(header.sizes, 1)) <= file.size(), "the shape {} is impossible",
              to_string(header.sizes));
  Bytes data = POM_TRY_IN(file.slice(begin, total), "elements of {}", to_string(header.sizes));
  bool aligned = reinterpret_cast<std::uintptr_t>(data.data()) % 8 == 0;
  bool transposed = header.fortran && header.sizes.size() > 1;
  std::string own;
  if (transposed || d.swapped || !aligned || is_text || dtype == DType::boolean) {
    own = transposed ? c_order(data.text(), header.sizes, width) : std::string(data.text());
    if (d.swapped) swap_bytes(own, d.kind == 'U' ? 4 : width);
    if (dtype == DType::boolean)
      for (char& c : own) c = c != 0;
    if (is_text) return string_tensor(header, own, width);
    data = Bytes::own(std::move(own));
  }
  return Tensor(*dtype, header.sizes, data);
}

Result<NamedTensors> read_npz(const Bytes& file) {
  NamedTensors tensors;
  for (const ZipMember& member : POM_TRY(zip_members(file))) {
    std::string name = member.name;
    if (name.ends_with(".npy")) name.resize(name.size() - 4);
    tensors[name] = POM_TRY_IN(read_npy(POM_TRY(zip_contents(file, member))), "member '{}'", member.name);
  }
  return tensors;
}

Result<std::string> npy_contents(const Tensor& tensor) {
  POM_REQUIRE(!tensor.is_list() && !tensor.is_dictionary(), "a {} has no .npy form", tensor.type().text());
  DType stored = tensor.dtype();
  if (is_sub_byte(stored)) stored = info(stored).is_signed ? DType::int8 : DType::uint8;
  std::string descr, data;
  if (stored == DType::string) {
    std::vector<std::u32string> texts;
    std::size_t longest = 1;
    for (const std::string& s : tensor.text()) longest = std::max(longest, texts.emplace_back(code_points(s)).size());
    descr = fmt::format("<U{}", longest);
    for (std::u32string& s : texts) {
      s.resize(longest);
      data.append(reinterpret_cast<const char*>(s.data()), 4 * longest);
    }
  } else {
    for (const Row& row : rows)
      if (row.dtype == stored) descr = row.descr;
    POM_REQUIRE(!descr.empty(), "NumPy has no dtype for {}", name(stored));
    data.assign(reinterpret_cast<const char*>(tensor.data()), tensor.size_bytes());
  }
  std::string shape = fmt::format("({}{})", fmt::join(tensor.sizes(), ", "), tensor.rank() == 1 ? "," : "");
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", descr, shape);
  // The elements begin at a multiple of 64, after a newline.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  POM_REQUIRE(header.size() <= 0xFFFF, "the shape {} is too long", shape);
  std::string contents(magic);
  contents += {1, 0, char(header.size()), char(header.size() >> 8)};
  return contents + header + data;
}

Result<std::string> npz_contents(const NamedTensors& tensors) {
  std::vector<std::pair<std::string, std::string>> members;
  for (const auto& [name, tensor] : tensors)
    members.emplace_back(name + ".npy", POM_TRY_IN(npy_contents(tensor), "tensor '{}'", name));
  return zip_of(members);
}

Status write_npy(const std::string& path, const Tensor& tensor) { return save(path, POM_TRY(npy_contents(tensor))); }
Status write_npz(const std::string& path, const NamedTensors& tensors) {
  return save(path, POM_TRY(npz_contents(tensors)));
}

}  // namespace pomona::npy
