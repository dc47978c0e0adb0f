#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "llm/jinja/value.h"
#include "llm/tokenizers/unicode.h"

namespace pomona::llm::jinja {
namespace {

// How one value is to be written.
struct Form {
  std::string fill = " ";
  char align = 0, sign = 0, type = 0;
  bool commas = false, alternate = false;
  int width = 0, precision = -1;
};

constexpr int widest = 1 << 16;

int number_at(std::string_view text, std::size_t& at) {
  int number = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
    number = std::min(widest, number * 10 + (text[at] - '0'));
  return number;
}

std::string with_commas(const std::string& digits) {
  std::size_t end = std::min(digits.find('.'), digits.size());
  std::string result = digits.substr(end);
  for (std::size_t i = 0; i < end; ++i) {
    if (i && i % 3 == 0) result.insert(0, 1, ',');
    result.insert(0, 1, digits[end - 1 - i]);
  }
  return result;
}

Result<std::string> digits_of(const Form& form, double magnitude) {
  int precision = form.precision < 0 ? 6 : std::min(form.precision, 100);
  switch (form.type) {
    case 'd':
    case 'i':
      return fmt::format("{}", std::int64_t(magnitude));
    case 'x':
      return fmt::format("{:x}", std::int64_t(magnitude));
    case 'X':
      return fmt::format("{:X}", std::int64_t(magnitude));
    case 'o':
      return fmt::format("{:o}", std::int64_t(magnitude));
    case 'b':
      return fmt::format("{:b}", std::int64_t(magnitude));
    case 'f':
    case 'F':
      return fmt::format("{:.{}f}", magnitude, precision);
    case 'e':
      return fmt::format("{:.{}e}", magnitude, precision);
    case 'E':
      return fmt::format("{:.{}E}", magnitude, precision);
    case 'g':
      return fmt::format("{:.{}g}", magnitude, precision);
    case '%':
      return fmt::format("{:.{}f}%", magnitude * 100, precision);
    default:
      return fail("numbers are not written as '{}'", form.type);
  }
}

Result<std::string> written(const Value& value, Form form) {
  std::string text, sign;
  double n = 0;
  bool number = value.number(n) && !value.boolean();
  if (form.type == 0 && number && value.integer()) form.type = 'd';
  if (form.type == 0 && number && form.precision >= 0) form.type = 'g';
  if (form.type == 0 || form.type == 's' || form.type == 'r') {
    text = form.type == 'r' ? representation(value) : text_of(value);
    if (form.precision >= 0 && !number) {
      std::vector<Character> all = characters(text);
      if (int(all.size()) > form.precision) text = utf8({all.begin(), all.begin() + form.precision});
    }
    if (!form.align) form.align = number ? '>' : '<';
  } else {
    POM_REQUIRE(value.number(n), "'{}' needs a number, not {}", form.type, kind_of(value));
    text = POM_TRY(digits_of(form, std::abs(n)));
    if (form.commas) text = with_commas(text);
    sign = n < 0 ? "-" : form.sign == '+' ? "+" : form.sign == ' ' ? " " : "";
    if (form.align == '=') {
      while (int(sign.size() + text.size()) < form.width) text.insert(0, form.fill);
    } else if (!form.align) {
      form.align = '>';
    }
  }
  text = sign + text;
  int lacks = std::max(0, form.width - int(characters(text).size()));
  int first = form.align == '<' ? 0 : form.align == '^' ? lacks / 2 : lacks;
  std::string before, behind;
  for (int i = 0; i < lacks; ++i) (i < first ? before : behind) += form.fill;
  return before + text + behind;
}

// What stands behind the colon of "{:>8.2f}".
Result<Form> form_of(std::string_view spec) {
  Form form;
  std::size_t at = 0;
  auto aligns = [&](std::size_t i) { return i < spec.size() && std::string_view("<>^=").find(spec[i]) != spec.npos; };
  std::size_t first = spec.empty() ? 0 : std::min(character_length(spec[0]), spec.size());
  if (first && aligns(first)) {
    form.fill = spec.substr(0, first);
    at = first;
  }
  if (aligns(at)) form.align = spec[at++];
  if (at < spec.size() && std::string_view("+- ").find(spec[at]) != spec.npos) form.sign = spec[at++];
  if (at < spec.size() && spec[at] == '0') {
    form.fill = "0";
    if (!form.align) form.align = '=';
  }
  form.width = number_at(spec, at);
  if (at < spec.size() && spec[at] == ',') {
    form.commas = true;
    ++at;
  }
  if (at < spec.size() && spec[at] == '.') form.precision = number_at(spec, ++at);
  if (at < spec.size()) form.type = spec[at++];
  POM_REQUIRE(at == spec.size(), "the form '{}' is not known", spec);
  return form;
}

}  // namespace

Result<std::string> formatted(const std::string& text, const Value& values) {
  List given = values.is_tuple() ? *values.list() : List{values};
  std::size_t next = 0;
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] != '%') {
      result += text[at++];
      continue;
    }
    Value value;
    ++at;
    if (at < text.size() && text[at] == '(') {
      std::size_t end = text.find(')', at);
      POM_REQUIRE(end != text.npos && values.mapping(), "'%(' needs a name and a mapping");
      const Value* found = values.mapping()->find(text.substr(at + 1, end - at - 1));
      POM_REQUIRE(found, "there is no '{}' to format", text.substr(at + 1, end - at - 1));
      value = *found;
      at = end + 1;
    }
    Form form;
    for (; at < text.size() && std::string_view("-+ 0#").find(text[at]) != std::string_view::npos; ++at) {
      if (text[at] == '-') form.align = '<';
      if (text[at] == '+' || text[at] == ' ') form.sign = text[at];
      if (text[at] == '0' && form.align != '<') form.align = '=', form.fill = "0";
    }
    form.width = number_at(text, at);
    if (at < text.size() && text[at] == '.') form.precision = number_at(text, ++at);
    POM_REQUIRE(at < text.size(), "a text ends in the middle of what is to be formatted");
    form.type = text[at++];
    if (form.type == '%') {
      result += '%';
      continue;
    }
    if (value.is_undefined()) {
      POM_REQUIRE(next < given.size(), "there are fewer values than the text has places for");
      value = given[next++];
    }
    if (!form.align) form.align = '>';
    if (form.type == 's' || form.type == 'r') form.fill = " ", form.align = form.align == '=' ? '>' : form.align;
    result += POM_TRY(written(value, form));
  }
  POM_REQUIRE(next == given.size() || values.mapping(), "there are more values than the text has places for");
  return result;
}

Result<std::string> formatted(const std::string& text, const Arguments& arguments) {
  std::size_t next = 0;
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    char c = text[at++];
    if (c != '{' && c != '}') {
      result += c;
      continue;
    }
    if (at < text.size() && text[at] == c) {
      result += c;
      ++at;
      continue;
    }
    std::size_t end = text.find('}', at);
    POM_REQUIRE(c == '{' && end != text.npos, "a bracket of the text to be formatted is single");
    std::string field = text.substr(at, end - at), spec;
    at = end + 1;
    if (std::size_t colon = field.find(':'); colon != field.npos) {
      spec = field.substr(colon + 1);
      field.resize(colon);
    }
    bool quotes = field.ends_with("!r");
    if (quotes || field.ends_with("!s")) field.resize(field.size() - 2);
    Value value;
    if (field.empty())
      value = arguments.at(next++);
    else if (field.find_first_not_of("0123456789") == field.npos)
      value = arguments.at(std::size_t(std::atoi(field.c_str())));
    else
      value = arguments.at(arguments.positional.size(), field);
    POM_REQUIRE(!value.is_undefined(), "there is no '{}' to format", field);
    if (quotes) value = Value(representation(value));
    result += POM_TRY(written(value, POM_TRY(form_of(spec))));
  }
  return result;
}

}  // namespace pomona::llm::jinja
