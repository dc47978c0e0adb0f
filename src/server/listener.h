// Sockets: accepts clients, reads their requests, writes what a handler answers.
//
//   auto listener = POM_TRY(Listener::open("127.0.0.1", 8080, limits));
//   listener->run([&](Exchange& e) { e.answer(200, "text/plain", "hello"); });   // until stop()
//
// A thread per client, of whom there may be so many; one more is told to come back. A client that sends a request, or
// takes an answer, slower than the time-out is left.
#pragma once
#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <thread>

#include "base/error.h"
#include "server/http.h"

namespace pomona::server {

struct ListenerLimits {
  HttpLimits http;
  std::size_t clients = 64;
  double timeout = 30;  // seconds to send a request, to take a piece of an answer, to be idle
};

// One request and its answer: answer(), or begin_stream() and any number of send() and end_stream().
class Exchange {
 public:
  Exchange(int socket, const HttpRequest& request, double timeout)
      : socket_(socket), request_(request), timeout_(timeout), keep_(request.keep_alive) {}
  const HttpRequest& request() const { return request_; }
  void answer(int status, std::string_view type, std::string_view body);
  void begin_stream(std::string_view type);
  void send(std::string_view piece);
  void end_stream();
  // Whether the client has closed its side, or can no longer be written to.
  bool gone();
  bool keep_alive() const { return keep_ && !failed_; }
  int status() const { return status_; }

 private:
  void write(std::string_view bytes);
  int socket_;
  const HttpRequest& request_;
  double timeout_;
  bool keep_, failed_ = false;
  int status_ = 0;
};

using Handler = std::function<void(Exchange&)>;
// The body of an answer that refuses.
using Refuser = std::function<std::string(int status, const std::string& message)>;

class Listener {
 public:
  // Port 0: any that is free. Errors: the address is not one of this machine's, or taken.
  static Result<std::unique_ptr<Listener>> open(const std::string& host, int port, ListenerLimits limits);
  ~Listener();
  std::string url() const;
  // Until stop(), which any thread may call; then all clients are left and their threads joined.
  void run(const Handler& handler, const Refuser& refuser);
  void stop();
  std::size_t clients() const { return clients_; }
  bool stopping() const { return stopping_; }

 private:
  struct Client {
    int socket;
    std::atomic<bool> done = false;
    std::thread thread;
  };
  Listener(std::string host, int socket, ListenerLimits limits);
  void accept_one(const Handler& handler, const Refuser& refuser);
  void serve(Client& client, const Handler& handler, const Refuser& refuser);
  bool read_request(int socket, RequestReader& reader);
  void reap(bool all);

  std::string host_;
  int socket_, wake_[2] = {-1, -1};
  ListenerLimits limits_;
  std::list<Client> list_;
  std::atomic<std::size_t> clients_ = 0;
  std::atomic<bool> stopping_ = false;
};

}  // namespace pomona::server
