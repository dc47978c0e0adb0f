// A language model behind HTTP, in the form of OpenAI's interface; what `pomona serve` is.
//
//   auto server = POM_TRY(Server::open("model.gguf", {.port = 0}));
//   tell(server->url());
//   server->run();                     // until stop(), from any thread
//
// POST /v1/chat/completions, /v1/completions (streamed and not), /v1/embeddings; GET /v1/models, /health, /metrics and
// a page to chat with at /. Sampling defaults are those of `generate`. With keys, /v1 and /metrics ask for one. There
// is no TLS: another program stands before it where that is wanted.
#pragma once
#include <memory>

#include "base/record.h"

namespace pomona::server {

struct ServeOptions {
  POM_OPTION(host, std::string, "address to listen on; the loopback's cannot be reached from elsewhere") = "127.0.0.1";
  POM_OPTION(port, std::int64_t, "port to listen on; 0: any that is free") = 8080;
  POM_OPTION(api_key_file, std::string, "a file of keys, one a line, of which clients must have one");
  POM_OPTION(context, std::int64_t, "tokens the model keeps in mind; 0: its own, at most 4096") = 0;
  POM_OPTION(slots, std::int64_t, "answers under way at once; each has caches of its own") = 4;
  POM_OPTION(queue, std::int64_t, "requests that may wait for one of them") = 64;
  POM_OPTION(max_clients, std::int64_t, "connections at once") = 64;
  POM_OPTION(max_body, std::int64_t, "bytes a request's body may have") = 4 << 20;
  POM_OPTION(timeout, double, "seconds a client may take to send a request, or to take what it is sent") = 30;
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> open(const std::string& path, const ServeOptions& options);
  ~Server();
  std::string url() const;
  void run();
  void stop();

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace pomona::server
