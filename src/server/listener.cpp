#include "server/listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

namespace pomona::server {
namespace {

#ifdef MSG_NOSIGNAL
constexpr int no_signal = MSG_NOSIGNAL;
#else
constexpr int no_signal = 0;  // macOS: SO_NOSIGPIPE on the socket
#endif

using Clock = std::chrono::steady_clock;

void prepare(int socket) {
  fcntl(socket, F_SETFD, FD_CLOEXEC);
  fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK);
  int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
#ifdef SO_NOSIGPIPE
  setsockopt(socket, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
}

// Waits until the socket can be read or written; false when it takes longer than until `end`.
bool wait_for(int socket, short what, Clock::time_point end) {
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) return false;
    pollfd p{socket, what, 0};
    int ready = poll(&p, 1, int(std::min<std::int64_t>(left, 3'600'000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

Clock::time_point after(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

void Exchange::write(std::string_view bytes) {
  auto end = after(timeout_);
  while (!failed_ && !bytes.empty()) {
    ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), no_signal);
    if (sent > 0) {
      bytes.remove_prefix(std::size_t(sent));
      end = after(timeout_);
    } else if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      failed_ = !wait_for(socket_, POLLOUT, end);
    } else if (sent < 0 && errno != EINTR) {
      failed_ = true;
    }
  }
}

void Exchange::answer(int status, std::string_view type, std::string_view body) {
  status_ = status;
  std::string all = answer_head(status, type, body.size(), keep_, false);
  if (request_.method != "HEAD") all += body;
  write(all);
}

void Exchange::begin_stream(std::string_view type) {
  status_ = 200;
  keep_ = keep_ && request_.chunks;
  write(answer_head(200, type, std::string::npos, keep_, request_.chunks));
}
void Exchange::send(std::string_view piece) {
  if (!piece.empty()) write(request_.chunks ? chunk_of(piece) : std::string(piece));
}
void Exchange::end_stream() {
  if (request_.chunks) write("0\r\n\r\n");
}

bool Exchange::gone() {
  char byte = 0;
  ssize_t got = recv(socket_, &byte, 1, MSG_PEEK);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) failed_ = true;
  return failed_;
}

Listener::Listener(std::string host, int socket, ListenerLimits limits)
    : host_(std::move(host)), socket_(socket), limits_(limits) {}

Result<std::unique_ptr<Listener>> Listener::open(const std::string& host, int port, ListenerLimits limits) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  int failed = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failed) return fail("there is no address '{}': {}", host, gai_strerror(failed));
  std::string why;
  int socket = -1;
  for (addrinfo* each = found; each && socket < 0; each = each->ai_next) {
    socket = ::socket(each->ai_family, each->ai_socktype, each->ai_protocol);
    if (socket < 0) continue;
    int on = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(socket, each->ai_addr, each->ai_addrlen) == 0 && listen(socket, 128) == 0) continue;
    why = std::strerror(errno);
    close(socket);
    socket = -1;
  }
  freeaddrinfo(found);
  if (socket < 0)
    return fail("cannot listen on {} port {}: {}", host, port, why)
        .advise("--port 0 takes any that is free")
        .blame(Fault::environment);
  prepare(socket);
  std::unique_ptr<Listener> listener(new Listener(host, socket, limits));
  if (pipe(listener->wake_) != 0) return fail("no pipe: {}", std::strerror(errno)).blame(Fault::environment);
  for (int end : listener->wake_) fcntl(end, F_SETFD, FD_CLOEXEC);
  return listener;
}

Listener::~Listener() {
  for (int file : {socket_, wake_[0], wake_[1]})
    if (file >= 0) close(file);
}

std::string Listener::url() const {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length);
  int port = ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                                 : reinterpret_cast<sockaddr_in&>(address).sin_port);
  bool bare = host_.find(':') != host_.npos;
  return fmt::format("http://{}{}{}:{}", bare ? "[" : "", host_, bare ? "]" : "", port);
}

void Listener::stop() {
  stopping_ = true;
  [[maybe_unused]] ssize_t written = ::write(wake_[1], "", 1);
}

void Listener::run(const Handler& handler, const Refuser& refuser) {
  while (!stopping_) {
    pollfd both[] = {{socket_, POLLIN, 0}, {wake_[0], POLLIN, 0}};
    if (poll(both, 2, 200) > 0 && both[0].revents) accept_one(handler, refuser);
    reap(false);
  }
  for (Client& client : list_) shutdown(client.socket, SHUT_RDWR);
  reap(true);
}

void Listener::reap(bool all) {
  for (auto each = list_.begin(); each != list_.end();) {
    if (!all && !each->done) {
      ++each;
      continue;
    }
    each->thread.join();
    close(each->socket);
    each = list_.erase(each);
  }
}

void Listener::accept_one(const Handler& handler, const Refuser& refuser) {
  int socket = accept(socket_, nullptr, nullptr);
  if (socket < 0) {
    // No more files: those who wait are not lost, and asking at once would change nothing.
    if (errno == EMFILE || errno == ENFILE) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return;
  }
  prepare(socket);
  if (clients_ >= limits_.clients) {
    std::string body = refuser(429, fmt::format("there are {} clients already", limits_.clients));
    std::string all = answer_head(429, "application/json", body.size(), false, false) + body;
    [[maybe_unused]] ssize_t sent = ::send(socket, all.data(), all.size(), no_signal);
    close(socket);
    return;
  }
  ++clients_;
  Client& client = list_.emplace_back();
  client.socket = socket;
  client.thread = std::thread([this, &client, &handler, &refuser] {
    serve(client, handler, refuser);
    // The socket is closed where the thread is joined, so that its number is not taken by another meanwhile.
    shutdown(client.socket, SHUT_RDWR);
    --clients_;
    client.done = true;
  });
}

// False: no request came, or none that is whole.
bool Listener::read_request(int socket, RequestReader& reader) {
  auto end = after(limits_.timeout);
  char bytes[16 << 10];
  while (reader.state() == RequestReader::State::more && !stopping_) {
    ssize_t got = recv(socket, bytes, sizeof bytes, 0);
    if (got > 0) {
      reader.add({bytes, std::size_t(got)});
      constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      if (reader.wants_continue() && ::send(socket, go_on.data(), go_on.size(), no_signal) < 0) return false;
    } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (!wait_for(socket, POLLIN, end)) return false;
    } else if (got == 0 || errno != EINTR) {
      return false;
    }
    // However steadily bytes trickle in.
    if (Clock::now() > end) return false;
  }
  return reader.state() != RequestReader::State::more;
}

void Listener::serve(Client& client, const Handler& handler, const Refuser& refuser) {
  RequestReader reader(limits_.http);
  auto refuse = [&](int status, const std::string& message) {
    HttpRequest none;
    none.keep_alive = false;
    Exchange exchange(client.socket, none, limits_.timeout);
    exchange.answer(status, "application/json", refuser(status, message));
    // What was sent and not read would reset the connection, and the answer might be lost with it.
    shutdown(client.socket, SHUT_WR);
    char bytes[16 << 10];
    std::size_t most = 1024;
    for (auto end = after(2); most > 0 && wait_for(client.socket, POLLIN, end); --most)
      if (recv(client.socket, bytes, sizeof bytes, 0) <= 0) break;
  };
  for (;;) {
    if (!read_request(client.socket, reader)) {
      if (reader.begun() && !stopping_) refuse(408, "the request did not come to its end in time");
      return;
    }
    if (reader.state() == RequestReader::State::refused)
      return refuse(reader.refusal().status, reader.refusal().message);
    HttpRequest request = reader.take();
    Exchange exchange(client.socket, request, limits_.timeout);
    handler(exchange);
    if (!exchange.keep_alive() || stopping_) return;
  }
}

}  // namespace pomona::server
