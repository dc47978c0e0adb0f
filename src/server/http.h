// HTTP/1.1 as a small server needs it: requests from bytes as they arrive, heads of answers. No sockets here.
//
//   RequestReader reader({.header_bytes = 16384, .body_bytes = 1 << 20});
//   while (reader.state() == RequestReader::State::more) reader.add(received);
//   if (reader.state() == RequestReader::State::whole) answer(reader.take());       // what follows it stays for the
//   next else refuse(reader.refusal());
//
// Strict where leniency lets two readers see two requests: line ends are CRLF, header names are tokens without blanks
// before the colon, lines are not folded, a length stands once and never beside a transfer coding, "chunked" is the
// only coding. A body counts against its limit however it is sent.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pomona::server {

struct HttpLimits {
  std::size_t header_bytes = 16 << 10;  // request line, headers and trailers
  std::size_t body_bytes = 4 << 20;
};

struct HttpRequest {
  std::string method, path, query;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  bool keep_alive = true, chunks = true;  // chunks: the client (HTTP/1.1) reads answers of unknown length
  const std::string* header(std::string_view name) const;
};

struct HttpRefusal {
  int status = 0;
  std::string message;
};

class RequestReader {
 public:
  enum class State : unsigned char { more, whole, refused };
  explicit RequestReader(HttpLimits limits) : limits_(limits) {}
  void add(std::string_view bytes);
  State state() const { return state_; }
  const HttpRefusal& refusal() const { return refusal_; }
  bool begun() const { return part_ != Part::head || !buffer_.empty(); }
  // Whether the client waits for "100 Continue" before it sends the body; true once.
  bool wants_continue();
  // The request; reading goes on with what came behind it.
  HttpRequest take();

 private:
  enum class Part : unsigned char { head, sized, chunk_size, chunk, chunk_end, trailer };
  void advance();
  bool step();  // false: needs more bytes, or is done
  bool refuse(int status, std::string message);
  bool finish();
  bool read_head(std::string_view head);
  bool read_request_line(std::string_view line);
  bool read_header(std::string_view line);
  bool read_framing();
  bool read_chunk_size();
  bool read_trailer();

  HttpLimits limits_;
  State state_ = State::more;
  Part part_ = Part::head;
  std::string buffer_;
  HttpRequest request_;
  HttpRefusal refusal_;
  std::size_t left_ = 0;      // bytes of the body, or of the chunk, to come
  std::size_t overhead_ = 0;  // bytes of chunk lines and trailers so far
  bool continue_ = false;
};

std::string_view reason_of(int status);
// The head of an answer, `length` bytes of body to follow; with `length` npos they come in chunks or until the end.
std::string answer_head(int status, std::string_view type, std::size_t length, bool keep_alive, bool chunked);
std::string chunk_of(std::string_view bytes);

}  // namespace pomona::server
