#include "server/endpoints.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "server/page.h"
#include "server/requests.h"

namespace pomona::server {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::string_view json_type = "application/json";

std::string text_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::int64_t now() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

void refuse(Exchange& exchange, int status, const std::string& message) {
  exchange.answer(status, json_type, error_body(status, message));
}
int status_of(const Error& error) { return error.fault == Fault::request ? 400 : 500; }

// Compares all of it wherever they differ: the time taken says nothing about the key.
bool same_secret(std::string_view a, std::string_view b) {
  unsigned difference = a.size() != b.size();
  for (std::size_t i = 0; i < b.size(); ++i) difference |= unsigned(a[a.empty() ? 0 : i % a.size()] ^ b[i]);
  return difference == 0 && !a.empty();
}

bool allowed(const Endpoints& endpoints, const HttpRequest& request) {
  if (endpoints.keys.empty()) return true;
  const std::string* header = request.header("authorization");
  constexpr std::string_view scheme = "Bearer ";
  if (!header || !header->starts_with(scheme)) return false;
  std::string_view given = std::string_view(*header).substr(scheme.size());
  bool found = false;
  for (const std::string& key : endpoints.keys) found = same_secret(given, key) || found;
  return found;
}

Json usage_of(const api::Generation& g) {
  return {{"prompt_tokens", g.prompt.size()},
          {"completion_tokens", g.ids.size()},
          {"total_tokens", g.prompt.size() + g.ids.size()},
          {"prompt_tokens_details", {{"cached_tokens", g.cached}}}};
}

// The two endpoints differ in words only.
struct Form {
  bool chat;
  std::string id, model;
  std::int64_t created;

  Json frame(bool piece) const {
    const char* object = !chat ? "text_completion" : piece ? "chat.completion.chunk" : "chat.completion";
    return {{"id", id}, {"object", object}, {"created", created}, {"model", model}};
  }
  Json piece(std::string_view text, const Json& finish, bool first = false) const {
    Json choice{{"index", 0}};
    if (chat) {
      choice["delta"] = Json::object();
      if (first) choice["delta"]["role"] = "assistant";
      if (first || !text.empty()) choice["delta"]["content"] = text;
    } else {
      choice["text"] = text;
    }
    choice["finish_reason"] = finish;
    Json all = frame(true);
    all["choices"] = Json::array({choice});
    return all;
  }
  Json whole(const api::Generation& g) const {
    Json choice{{"index", 0}};
    if (chat)
      choice["message"] = {{"role", "assistant"}, {"content", g.text}};
    else
      choice["text"] = g.text;
    choice["logprobs"] = nullptr;
    choice["finish_reason"] = g.finish;
    Json all = frame(false);
    all["choices"] = Json::array({choice});
    all["usage"] = usage_of(g);
    return all;
  }
};

void stream(Exchange& exchange, const Endpoints& endpoints, Work& work, const Wanted& wanted, const Form& form) {
  auto event = [&](const Json& json) { exchange.send(fmt::format("data: {}\n\n", text_of(json))); };
  // The first piece waits for the first text, so that what fails before it still has a status of its own.
  bool begun = false;
  auto begin = [&] {
    if (begun) return;
    begun = true;
    exchange.begin_stream("text/event-stream");
    if (form.chat) event(form.piece("", nullptr, true));
  };
  while (!work.done()) {
    std::string text = work.next(std::chrono::milliseconds(50));
    if (!text.empty()) {
      begin();
      event(form.piece(text, nullptr));
    }
    if (exchange.gone() || endpoints.listener->stopping()) work.cancel();
  }
  auto outcome = work.outcome();
  if (!outcome) {
    int status = status_of(outcome.error());
    if (!begun) return refuse(exchange, status, outcome.error().what);
    exchange.send(fmt::format("data: {}\n\n", error_body(status, outcome.error().what)));
  } else {
    begin();
    event(form.piece("", outcome->finish));
    if (wanted.usage) {
      Json last = form.frame(true);
      last["choices"] = Json::array();
      last["usage"] = usage_of(*outcome);
      event(last);
    }
    exchange.send("data: [DONE]\n\n");
  }
  exchange.end_stream();
}

Result<Json> body_of(const HttpRequest& request) {
  Json body = Json::parse(request.body, nullptr, false);
  POM_REQUIRE(!body.is_discarded(), "the body is no JSON");
  return body;
}

void complete(Endpoints& endpoints, Exchange& exchange, bool chat) {
  if (!endpoints.scheduler) return refuse(exchange, 400, "the model is an encoder: it embeds, and writes no text");
  auto body = body_of(exchange.request());
  if (!body) return refuse(exchange, 400, body.error().what);
  auto wanted = chat ? chat_request(*endpoints.language, *body) : completion_request(*endpoints.language, *body);
  if (!wanted) return refuse(exchange, status_of(wanted.error()), wanted.error().what);
  auto work = std::make_shared<Work>(wanted->prompt, wanted->flags);
  if (!endpoints.scheduler->submit(work)) return refuse(exchange, 429, "too many requests wait already");
  std::int64_t time = now();
  Form form{chat, fmt::format("{}-{:x}-{}", chat ? "chatcmpl" : "cmpl", time, ++endpoints.ids), endpoints.name, time};
  if (wanted->stream) return stream(exchange, endpoints, *work, *wanted, form);
  while (!work->done()) {
    work->next(std::chrono::milliseconds(50));
    if (exchange.gone() || endpoints.listener->stopping()) work->cancel();
  }
  auto outcome = work->outcome();
  if (!outcome) return refuse(exchange, status_of(outcome.error()), outcome.error().what);
  exchange.answer(200, json_type, text_of(form.whole(*outcome)));
}

// Little-endian floats, as clients ask for to spare themselves numbers as text.
std::string base64_of(const std::vector<float>& values) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<unsigned> bytes;
  for (float value : values) {
    auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(bits >> shift & 255);
  }
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::size_t left = std::min<std::size_t>(bytes.size() - i, 3);
    unsigned group = bytes[i] << 16 | (left > 1 ? bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
    for (std::size_t k = 0; k < 4; ++k) text += k <= left ? digits[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

void embed(Endpoints& endpoints, Exchange& exchange) {
  if (!endpoints.embedder)
    return refuse(exchange, 400, "the model writes text; embeddings come from encoders such as bert");
  auto body = body_of(exchange.request());
  if (!body) return refuse(exchange, 400, body.error().what);
  auto texts = embedding_request(*body);
  if (!texts) return refuse(exchange, 400, texts.error().what);
  bool base64 = body->contains("encoding_format") && (*body)["encoding_format"] == "base64";
  Json data = Json::array();
  std::size_t tokens = 0;
  for (const std::string& text : *texts) {
    if (exchange.gone() || endpoints.listener->stopping()) return refuse(exchange, 500, "cancelled");
    auto embedding = endpoints.embedder->embed(text);
    if (!embedding) return refuse(exchange, status_of(embedding.error()), embedding.error().what);
    tokens += embedding->tokens;
    Json values = base64 ? Json(base64_of(embedding->values)) : Json(embedding->values);
    data.push_back({{"object", "embedding"}, {"index", data.size()}, {"embedding", std::move(values)}});
  }
  Json all{{"object", "list"},
           {"data", std::move(data)},
           {"model", endpoints.name},
           {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}};
  exchange.answer(200, json_type, text_of(all));
}

void models(Endpoints& endpoints, Exchange& exchange) {
  Json model{{"id", endpoints.name}, {"object", "model"}, {"created", endpoints.created}, {"owned_by", "pomona"}};
  exchange.answer(200, json_type, text_of({{"object", "list"}, {"data", Json::array({model})}}));
}

void health(Endpoints&, Exchange& exchange) { exchange.answer(200, json_type, R"({"status":"ok"})"); }
void page(Endpoints&, Exchange& exchange) { exchange.answer(200, "text/html; charset=utf-8", chat_page()); }

void metrics(Endpoints& endpoints, Exchange& exchange) {
  std::string text =
      "# HELP pomona_http_requests_total Answers by status.\n# TYPE pomona_http_requests_total counter\n";
  for (std::size_t status = 0; status < endpoints.statuses.size(); ++status)
    if (std::uint64_t count = endpoints.statuses[status])
      text += fmt::format("pomona_http_requests_total{{code=\"{}\"}} {}\n", status, count);
  auto add = [&](const char* name, const char* type, const char* help, std::uint64_t value) {
    text += fmt::format("# HELP pomona_{0} {1}\n# TYPE pomona_{0} {2}\npomona_{0} {3}\n", name, help, type, value);
  };
  add("connections", "gauge", "Clients connected.", endpoints.listener->clients());
  if (endpoints.scheduler) {
    const SchedulerCounts& c = endpoints.scheduler->counts();
    add("active_requests", "gauge", "Answers under way.", c.active);
    add("queued_requests", "gauge", "Requests that wait for a slot.", c.queued);
    add("answers_total", "counter", "Answers that came to their end.", c.answers);
    add("cancelled_total", "counter", "Answers that nobody waited for any more.", c.cancelled);
    add("failed_total", "counter", "Answers that failed.", c.failed);
    add("prompt_tokens_total", "counter", "Tokens of prompts.", c.prompt_tokens);
    add("cached_prompt_tokens_total", "counter", "Of these, tokens that had been read before.", c.cached_tokens);
    add("generated_tokens_total", "counter", "Tokens of answers.", c.generated_tokens);
  }
  exchange.answer(200, "text/plain; version=0.0.4; charset=utf-8", text);
}

struct Route {
  std::string_view method, path;
  bool needs_key;
  void (*handle)(Endpoints&, Exchange&);
};
constexpr Route routes[] = {
    {"POST", "/v1/chat/completions", true, [](Endpoints& e, Exchange& x) { complete(e, x, true); }},
    {"POST", "/v1/completions", true, [](Endpoints& e, Exchange& x) { complete(e, x, false); }},
    {"POST", "/v1/embeddings", true, embed},
    {"GET", "/v1/models", true, models},
    {"GET", "/metrics", true, metrics},
    {"GET", "/health", false, health},
    {"GET", "/", false, page},
};

void dispatch(Endpoints& endpoints, Exchange& exchange) {
  const HttpRequest& request = exchange.request();
  const Route* found = nullptr;
  for (const Route& route : routes)
    if (route.path == request.path) found = &route;
  bool guarded = found ? found->needs_key : request.path.starts_with("/v1");
  if (guarded && !allowed(endpoints, request)) return refuse(exchange, 401, "a valid API key is needed");
  if (!found) return refuse(exchange, 404, fmt::format("there is nothing at '{}'", request.path));
  bool fits = request.method == found->method || (request.method == "HEAD" && found->method == "GET");
  if (!fits) return refuse(exchange, 405, fmt::format("'{}' takes {}", request.path, found->method));
  found->handle(endpoints, exchange);
}

}  // namespace

std::string error_body(int status, const std::string& message) {
  const char* type = status == 401   ? "authentication_error"
                     : status == 429 ? "rate_limit_error"
                     : status >= 500 ? "server_error"
                                     : "invalid_request_error";
  return text_of({{"error", {{"message", message}, {"type", type}, {"code", status}}}});
}

void handle(Endpoints& endpoints, Exchange& exchange) {
  dispatch(endpoints, exchange);
  ++endpoints.statuses[std::size_t(std::clamp(exchange.status(), 0, 599))];
}

}  // namespace pomona::server
