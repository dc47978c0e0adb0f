#include "server/http.h"

#include <gtest/gtest.h>

namespace pomona::server {
namespace {

using State = RequestReader::State;

// All at once, and byte by byte: what is read does not depend on how it arrives.
int status_of(std::string_view bytes, HttpLimits limits = {}) {
  RequestReader whole(limits), drip(limits);
  whole.add(bytes);
  for (char c : bytes) drip.add({&c, 1});
  EXPECT_EQ(whole.state(), drip.state()) << bytes;
  EXPECT_EQ(whole.refusal().status, drip.refusal().status) << bytes;
  if (whole.state() == State::whole) return 200;
  return whole.state() == State::more ? 0 : whole.refusal().status;
}

TEST(Http, ReadsARequest) {
  RequestReader reader({});
  reader.add(
      "\r\nPOST /v1/x?a=b HTTP/1.1\r\nHost: here\r\nX-Long:  two words \r\nContent-Length: 4\r\n\r\nbodyGET / HTTP/1.0\r\n\r\n");
  ASSERT_EQ(reader.state(), State::whole);
  HttpRequest first = reader.take();
  EXPECT_EQ(first.method, "POST");
  EXPECT_EQ(first.path, "/v1/x");
  EXPECT_EQ(first.query, "a=b");
  EXPECT_EQ(first.body, "body");
  EXPECT_EQ(*first.header("x-long"), "two words");
  EXPECT_TRUE(first.keep_alive);
  ASSERT_EQ(reader.state(), State::whole);
  HttpRequest second = reader.take();
  EXPECT_EQ(second.path, "/");
  EXPECT_TRUE(second.body.empty());
  EXPECT_FALSE(second.keep_alive);
  EXPECT_FALSE(reader.begun());
}

TEST(Http, ReadsChunks) {
  std::string_view text =
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n"
      "4;name=value\r\nWiki\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";
  for (std::size_t step : {std::size_t(1), std::size_t(7), text.size()}) {
    RequestReader reader({});
    for (std::size_t at = 0; at < text.size(); at += step) reader.add(text.substr(at, step));
    ASSERT_EQ(reader.state(), State::whole);
    HttpRequest request = reader.take();
    EXPECT_EQ(request.body, "Wiki0123456789");
    EXPECT_FALSE(request.keep_alive);
  }
}

TEST(Http, Refuses) {
  auto post = [](std::string_view headers, std::string_view body = "") {
    return "POST / HTTP/1.1\r\nHost: a\r\n" + std::string(headers) + "\r\n" + std::string(body);
  };
  EXPECT_EQ(status_of(post("Content-Length: 0\r\n")), 200);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\r\n"), 0);
  for (const char* line :
       {"GET /", "GET / HTTP/2.0", "GET nowhere HTTP/1.1", "G(T / HTTP/1.1", "GET /\t HTTP/1.1", "GET  / HTTP/1.1"})
    EXPECT_EQ(status_of(std::string(line) + "\r\nHost: a\r\n\r\n"), 400) << line;
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
  for (const char* header : {"No colon", "Name : x", " folded: x", "A: b\nC: d", ": x", "A: \x01"})
    EXPECT_EQ(status_of(post(std::string(header) + "\r\nContent-Length: 0\r\n")), 400) << header;
  EXPECT_EQ(status_of(post("")), 411);
  for (const char* length : {"-1", "+1", "1x", "0x1", "", "1, 1", "1 1"})
    EXPECT_EQ(status_of(post("Content-Length: " + std::string(length) + "\r\n")), 400) << length;
  EXPECT_EQ(status_of(post("Content-Length: 1\r\nContent-Length: 1\r\n", "a")), 400);
  EXPECT_EQ(status_of(post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "a")), 400);
  EXPECT_EQ(status_of(post("Transfer-Encoding: gzip, chunked\r\n")), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
  for (const char* chunk : {"g\r\n", "\r\n", "-1\r\n", "0x4\r\n", "1\r\nab", "1\r\nabcd"})
    EXPECT_EQ(status_of(post("Transfer-Encoding: chunked\r\n", chunk)), 400) << chunk;
}

TEST(Http, Limits) {
  HttpLimits limits{.header_bytes = 200, .body_bytes = 100};
  std::string start = "POST / HTTP/1.1\r\nHost: a\r\n";
  EXPECT_EQ(status_of(start + "X: " + std::string(300, 'x'), limits), 431);
  EXPECT_EQ(status_of(std::string(300, 'x'), limits), 431);
  EXPECT_EQ(status_of(start + "Content-Length: 101\r\n\r\n", limits), 413);
  EXPECT_EQ(status_of(start + "Content-Length: 99999999999999999999999\r\n\r\n", limits), 413);
  EXPECT_EQ(status_of(start + "Content-Length: 100\r\n\r\n" + std::string(100, 'x'), limits), 200);
  std::string chunked = start + "Transfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(status_of(chunked + "65\r\n", limits), 413);
  EXPECT_EQ(status_of(chunked + "40\r\n" + std::string(64, 'x') + "\r\n40\r\n", limits), 413);
  EXPECT_EQ(status_of(chunked + "ffffffffffffffff\r\n", limits), 413);
  EXPECT_EQ(status_of(chunked + "0\r\nX: " + std::string(300, 'x'), limits), 431);
  std::string padded = "1;" + std::string(150, 'x') + "\r\na\r\n";
  EXPECT_EQ(status_of(chunked + padded + padded + padded, limits), 413);
}

TEST(Http, Continues) {
  RequestReader reader({});
  reader.add("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
  EXPECT_TRUE(reader.wants_continue());
  EXPECT_FALSE(reader.wants_continue());
  reader.add("x");
  EXPECT_EQ(reader.state(), State::whole);
}

}  // namespace
}  // namespace pomona::server
