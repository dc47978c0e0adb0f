#include "server/serve.h"

#include <chrono>
#include <filesystem>

#include "server/endpoints.h"

namespace pomona::server {
namespace {

Result<std::vector<std::string>> keys_of(const std::string& path) {
  std::vector<std::string> keys;
  if (path.empty()) return keys;
  Bytes bytes = POM_TRY(map_file(path));
  std::string_view text = bytes.text();
  while (!text.empty()) {
    std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    std::size_t first = line.find_first_not_of(" \t\r"), last = line.find_last_not_of(" \t\r");
    if (first != line.npos) keys.emplace_back(line.substr(first, last - first + 1));
  }
  POM_REQUIRE(!keys.empty(), "the file '{}' has no keys", path);
  return keys;
}

Status within(std::int64_t value, std::int64_t low, std::int64_t high, const char* name) {
  POM_REQUIRE(value >= low && value <= high, "--{} is {}; it lies between {} and {}", name, value, low, high);
  return {};
}

Status check(const ServeOptions& options) {
  POM_TRY(within(options.port, 0, 65535, "port"));
  POM_TRY(within(options.slots, 1, 256, "slots"));
  POM_TRY(within(options.queue, 1, 100'000, "queue"));
  POM_TRY(within(options.max_clients, 1, 10'000, "max-clients"));
  POM_TRY(within(options.max_body, 1024, 1 << 30, "max-body"));
  POM_REQUIRE(options.timeout > 0 && options.timeout <= 86'400, "--timeout is {} seconds", *options.timeout);
  return {};
}

// Whether it is a text's encoder and not a model that writes: none of its functions gives logits.
bool embeds(const Program& program) {
  for (const auto& function : program.functions)
    for (Value result : function->body.results())
      if (result.name() == "logits") return false;
  return true;
}

std::string name_of(const std::string& path) {
  std::filesystem::path trimmed = path;
  if (!trimmed.has_filename()) trimmed = trimmed.parent_path();
  return trimmed.stem().string();
}

}  // namespace

struct Server::Parts {
  api::Language language;
  std::unique_ptr<Embedder> embedder;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Scheduler> scheduler;
  Endpoints endpoints;
};

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::open(const std::string& path, const ServeOptions& options) {
  POM_TRY(check(options));
  auto parts = std::make_unique<Parts>();
  Endpoints& endpoints = parts->endpoints;
  endpoints.keys = POM_TRY(keys_of(options.api_key_file));
  // Taken before the model is read: an address that cannot be had is told at once.
  parts->listener = POM_TRY(Listener::open(options.host, int(*options.port),
                                           {.http = {.body_bytes = std::size_t(*options.max_body)},
                                            .clients = std::size_t(*options.max_clients),
                                            .timeout = options.timeout}));
  auto language = api::open_language(path, {.context = options.context});
  if (language && !embeds(*language->program)) {
    parts->language = std::move(*language);
    POM_REQUIRE(parts->language.tokenizer, "model '{}' has no tokenizer", path);
    endpoints.language = &parts->language;
    parts->scheduler = POM_TRY(
        Scheduler::open(parts->language, {.slots = std::size_t(*options.slots), .queue = std::size_t(*options.queue)}));
  } else {
    auto model = api::open_model(path);
    if (!model) return std::move(model).error();
    if (!language && !embeds(model->program)) return std::move(language).error();
    parts->embedder = POM_TRY(Embedder::open(std::move(*model)));
  }
  endpoints.name = name_of(path);
  endpoints.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  endpoints.scheduler = parts->scheduler.get();
  endpoints.embedder = parts->embedder.get();
  endpoints.listener = parts->listener.get();
  return std::unique_ptr<Server>(new Server(std::move(parts)));
}

std::string Server::url() const { return parts_->listener->url(); }
void Server::stop() { parts_->listener->stop(); }
void Server::run() {
  parts_->listener->run([this](Exchange& exchange) { handle(parts_->endpoints, exchange); },
                        [this](int status, const std::string& message) {
                          ++parts_->endpoints.statuses[std::size_t(status)];
                          return error_body(status, message);
                        });
}

}  // namespace pomona::server
