#include "server/http.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/ascii.h"

namespace pomona::server {
namespace {

bool is_token(std::string_view text) {
  constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || marks.find(c) != marks.npos;
  });
}

// No control characters but the tab.
bool is_field_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == '\t' || (c & 0xE0) != 0 ? c != 0x7F : false; });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The whole text as a number; false when it is none, or too large.
bool number_of(std::string_view text, int base, std::size_t& value) {
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return !text.empty() && failed == std::errc() && end == text.data() + text.size();
}

}  // namespace

const std::string* HttpRequest::header(std::string_view name) const {
  for (const auto& [have, value] : headers)
    if (have == name) return &value;
  return nullptr;
}

void RequestReader::add(std::string_view bytes) {
  buffer_ += bytes;
  if (state_ == State::more) advance();
}

void RequestReader::advance() {
  while (state_ == State::more && step()) {
  }
}

bool RequestReader::refuse(int status, std::string message) {
  state_ = State::refused;
  refusal_ = {status, std::move(message)};
  return false;
}

bool RequestReader::finish() {
  state_ = State::whole;
  continue_ = false;
  return false;
}

bool RequestReader::step() {
  switch (part_) {
    case Part::head: {
      // Empty lines before a request are let pass, as the standard advises.
      while (buffer_.starts_with("\r\n")) buffer_.erase(0, 2);
      std::size_t end = buffer_.find("\r\n\r\n");
      if (std::min(end, buffer_.size()) > limits_.header_bytes)
        return refuse(431, fmt::format("the headers are larger than {} bytes", limits_.header_bytes));
      if (end == buffer_.npos) return false;
      std::string head = buffer_.substr(0, end + 2);
      buffer_.erase(0, end + 4);
      return read_head(head) && read_framing();
    }
    case Part::sized:
    case Part::chunk: {
      std::size_t count = std::min(left_, buffer_.size());
      request_.body.append(buffer_, 0, count);
      buffer_.erase(0, count);
      left_ -= count;
      if (left_ > 0) return false;
      if (part_ == Part::sized) return finish();
      part_ = Part::chunk_end;
      return true;
    }
    case Part::chunk_end:
      if (!std::string_view("\r\n").starts_with(std::string_view(buffer_).substr(0, 2)))
        return refuse(400, "a chunk is longer than its size says");
      if (buffer_.size() < 2) return false;
      buffer_.erase(0, 2);
      part_ = Part::chunk_size;
      return true;
    case Part::chunk_size:
      return read_chunk_size();
    case Part::trailer:
      return read_trailer();
  }
  return false;
}

bool RequestReader::read_head(std::string_view head) {
  std::size_t end = head.find("\r\n");
  if (!read_request_line(head.substr(0, end))) return false;
  for (head.remove_prefix(end + 2); !head.empty(); head.remove_prefix(end + 2)) {
    end = head.find("\r\n");
    if (!read_header(head.substr(0, end))) return false;
  }
  return true;
}

bool RequestReader::read_request_line(std::string_view line) {
  std::size_t first = line.find(' '), last = line.rfind(' ');
  if (first == line.npos || first == last) return refuse(400, "the request line is not METHOD TARGET VERSION");
  std::string_view method = line.substr(0, first), target = line.substr(first + 1, last - first - 1),
                   version = line.substr(last + 1);
  if (!is_token(method)) return refuse(400, "the method is no word");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return refuse(400, "the version is not HTTP/1.1 or HTTP/1.0");
  bool plain = std::all_of(target.begin(), target.end(), [](char c) { return c > ' ' && c < 0x7F; });
  if (!plain || !target.starts_with('/')) return refuse(400, "the target is no path");
  std::size_t question = target.find('?');
  request_.method = method;
  request_.path = target.substr(0, question);
  request_.query = question == target.npos ? "" : target.substr(question + 1);
  request_.keep_alive = request_.chunks = version == "HTTP/1.1";
  return true;
}

bool RequestReader::read_header(std::string_view line) {
  std::size_t colon = line.find(':');
  if (colon == line.npos || !is_token(line.substr(0, colon))) return refuse(400, "a header is not NAME: VALUE");
  std::string_view value = trimmed(line.substr(colon + 1));
  if (!is_field_text(value)) return refuse(400, "a header has a control character");
  request_.headers.emplace_back(ascii_lower(line.substr(0, colon)), value);
  return true;
}

bool RequestReader::read_framing() {
  std::size_t lengths = 0, codings = 0, hosts = 0;
  for (const auto& [name, value] : request_.headers) {
    lengths += name == "content-length";
    codings += name == "transfer-encoding";
    hosts += name == "host";
    if (name != "connection") continue;
    std::string words = ascii_lower(value);
    if (words.find("close") != words.npos) request_.keep_alive = false;
  }
  if (hosts > 1 || (hosts == 0 && request_.chunks)) return refuse(400, "there is not one Host header");
  if (lengths + codings > 1) return refuse(400, "the length of the body is given twice");
  if (const std::string* expect = request_.header("expect")) continue_ = ascii_lower(*expect) == "100-continue";
  if (const std::string* coding = request_.header("transfer-encoding")) {
    if (ascii_lower(*coding) != "chunked" || !request_.chunks)
      return refuse(400, "the only transfer coding is chunked, of HTTP/1.1");
    part_ = Part::chunk_size;
    return true;
  }
  const std::string* length = request_.header("content-length");
  if (!length) {
    bool has_body = request_.method == "POST" || request_.method == "PUT" || request_.method == "PATCH";
    return has_body ? refuse(411, "the request has no Content-Length") : finish();
  }
  std::size_t digits = length->find_first_not_of("0123456789");
  if (length->empty() || digits != length->npos) return refuse(400, "Content-Length is no number");
  if (!number_of(*length, 10, left_) || left_ > limits_.body_bytes)
    return refuse(413, fmt::format("the body is larger than {} bytes", limits_.body_bytes));
  part_ = Part::sized;
  return true;
}

bool RequestReader::read_chunk_size() {
  std::size_t end = buffer_.find("\r\n");
  if (std::min(end, buffer_.size()) > 1024) return refuse(400, "a chunk's size line is too long");
  if (end == buffer_.npos) return false;
  // Extensions, behind a semicolon, mean nothing here; but they are bytes somebody made us read.
  overhead_ += end + 2 - std::min<std::size_t>(end, 8);
  std::string_view line = std::string_view(buffer_).substr(0, end);
  if (!number_of(trimmed(line.substr(0, line.find(';'))), 16, left_))
    return refuse(400, "a chunk's size is no hexadecimal number");
  if (left_ > limits_.body_bytes - request_.body.size())
    return refuse(413, fmt::format("the body is larger than {} bytes", limits_.body_bytes));
  if (overhead_ > limits_.body_bytes + limits_.header_bytes) return refuse(413, "the body's chunks are too small");
  buffer_.erase(0, end + 2);
  part_ = left_ > 0 ? Part::chunk : Part::trailer;
  if (left_ == 0) overhead_ = 0;
  return true;
}

bool RequestReader::read_trailer() {
  std::size_t end = buffer_.find("\r\n");
  if (overhead_ + std::min(end, buffer_.size()) > limits_.header_bytes)
    return refuse(431, fmt::format("the trailers are larger than {} bytes", limits_.header_bytes));
  if (end == buffer_.npos) return false;
  overhead_ += end + 2;
  buffer_.erase(0, end + 2);
  return end == 0 ? finish() : true;
}

bool RequestReader::wants_continue() {
  bool wants = continue_ && state_ == State::more && part_ != Part::head && buffer_.empty();
  if (wants) continue_ = false;
  return wants;
}

HttpRequest RequestReader::take() {
  HttpRequest taken = std::move(request_);
  request_ = {};
  part_ = Part::head;
  state_ = State::more;
  left_ = overhead_ = 0;
  advance();
  return taken;
}

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
  }
  return "Internal Server Error";
}

std::string answer_head(int status, std::string_view type, std::size_t length, bool keep_alive, bool chunked) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nX-Content-Type-Options: nosniff\r\n", status,
                                 reason_of(status), type);
  if (chunked)
    head += "Transfer-Encoding: chunked\r\nCache-Control: no-store\r\n";
  else if (length != head.npos)
    head += fmt::format("Content-Length: {}\r\n", length);
  head += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return head;
}

std::string chunk_of(std::string_view bytes) { return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes); }

}  // namespace pomona::server
