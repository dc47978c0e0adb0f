// What each path answers. See serve.h for the list.
#pragma once
#include <array>

#include "server/embedder.h"
#include "server/listener.h"
#include "server/scheduler.h"

namespace pomona::server {

struct Endpoints {
  std::string name;          // of the model, as clients see it
  std::int64_t created = 0;  // seconds since 1970
  std::vector<std::string> keys;
  const api::Language* language = nullptr;  // with a scheduler; else an embedder
  Scheduler* scheduler = nullptr;
  Embedder* embedder = nullptr;
  const Listener* listener = nullptr;
  std::array<std::atomic<std::uint64_t>, 600> statuses{};  // answers by status
  std::atomic<std::uint64_t> ids = 0;
};

void handle(Endpoints& endpoints, Exchange& exchange);
// {"error": {"message", "type", "code"}}
std::string error_body(int status, const std::string& message);

}  // namespace pomona::server
