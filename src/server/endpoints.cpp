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
  auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(since).count();
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

// Several answers to one prompt have read it once.
Json usage_of(const std::vector<api::Generation>& all, std::size_t choices) {
  std::size_t prompt = 0, generated = 0, cached = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    generated += all[i].ids.size();
    if (i % choices) continue;
    prompt += all[i].prompt.size();
    cached += all[i].cached;
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", generated},
          {"total_tokens", prompt + generated},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

// The two endpoints differ in words only.
struct Form {
  bool chat;
  std::string id, model;
  std::int64_t created;
  const llm::Tokenizer* tokenizer;

  Json frame(bool piece) const {
    const char* object = !chat ? "text_completion" : piece ? "chat.completion.chunk" : "chat.completion";
    return {{"id", id}, {"object", object}, {"created", created}, {"model", model}};
  }
  Json token(int id, double logarithm) const {
    std::string text = tokenizer->decode({id}, false);
    Json bytes = Json::array();
    for (unsigned char c : text) bytes.push_back(c);
    return {{"token", text}, {"logprob", logarithm}, {"bytes", bytes}};
  }
  Json chances(const std::vector<api::TokenChance>& all) const {
    Json content = Json::array(), tokens = Json::array(), own = Json::array(), tops = Json::array();
    for (const api::TokenChance& each : all) {
      Json entry = token(each.id, each.logarithm), list = Json::array(), by_text = Json::object();
      for (const auto& [id, logarithm] : each.most) {
        list.push_back(token(id, logarithm));
        by_text[list.back()["token"].get<std::string>()] = logarithm;
      }
      tokens.push_back(entry["token"]);
      own.push_back(each.logarithm);
      tops.push_back(std::move(by_text));
      entry["top_logprobs"] = std::move(list);
      content.push_back(std::move(entry));
    }
    if (chat) return {{"content", std::move(content)}};
    return {{"tokens", std::move(tokens)}, {"token_logprobs", std::move(own)}, {"top_logprobs", std::move(tops)}};
  }
  Json piece(std::size_t index, std::string_view text, const Json& finish, bool first = false,
             const std::vector<api::TokenChance>& noted = {}) const {
    Json choice{{"index", index}};
    if (chat) {
      choice["delta"] = Json::object();
      if (first) choice["delta"]["role"] = "assistant";
      if (first || !text.empty()) choice["delta"]["content"] = text;
    } else {
      choice["text"] = text;
    }
    if (!noted.empty()) choice["logprobs"] = chances(noted);
    choice["finish_reason"] = finish;
    Json all = frame(true);
    all["choices"] = Json::array({choice});
    return all;
  }
  Json whole(const std::vector<api::Generation>& generations, const Wanted& wanted) const {
    Json all = frame(false);
    all["choices"] = Json::array();
    for (const api::Generation& g : generations) {
      Json choice{{"index", all["choices"].size()}};
      if (chat)
        choice["message"] = {{"role", "assistant"}, {"content", g.text}};
      else
        choice["text"] = g.text;
      choice["logprobs"] = wanted.chances ? chances(g.chances) : Json();
      choice["finish_reason"] = g.finish;
      all["choices"].push_back(std::move(choice));
    }
    all["usage"] = usage_of(generations, std::size_t(wanted.choices));
    return all;
  }
};

using Works = std::vector<std::shared_ptr<Work>>;
void cancel(const Works& works) {
  for (const auto& work : works) work->cancel();
}
// How long one of several is waited for.
std::chrono::milliseconds patience_with(const Works& works) {
  return std::chrono::milliseconds(works.size() == 1 ? 50 : 2);
}

void stream(Exchange& exchange, const Endpoints& endpoints, const Works& works, const Wanted& wanted,
            const Form& form) {
  auto event = [&](const Json& json) { exchange.send(fmt::format("data: {}\n\n", text_of(json))); };
  // The first piece waits for the first text, so that what fails before it still has a status of its own.
  bool begun = false;
  auto begin = [&] {
    if (std::exchange(begun, true)) return;
    exchange.begin_stream("text/event-stream");
    for (std::size_t i = 0; form.chat && i < works.size(); ++i) event(form.piece(i, "", nullptr, true));
  };
  std::vector<bool> ended(works.size(), false);
  std::vector<api::Generation> generations(works.size());
  for (std::size_t left = works.size(); left > 0;) {
    for (std::size_t i = 0; i < works.size(); ++i) {
      if (ended[i]) continue;
      bool over = works[i]->done();
      std::string text = over ? "" : works[i]->next(patience_with(works));
      std::vector<api::TokenChance> noted = works[i]->next_chances();
      if (!text.empty() || !noted.empty()) {
        begin();
        event(form.piece(i, text, nullptr, false, noted));
      }
      if (!over) continue;
      ended[i] = true;
      --left;
      auto outcome = works[i]->outcome();
      if (!outcome) {
        cancel(works);
        int status = status_of(outcome.error());
        if (!begun) return refuse(exchange, status, outcome.error().what);
        exchange.send(fmt::format("data: {}\n\n", error_body(status, outcome.error().what)));
        return exchange.end_stream();
      }
      generations[i] = std::move(*outcome);
      begin();
      event(form.piece(i, "", generations[i].finish));
    }
    if (exchange.gone() || endpoints.listener->stopping()) cancel(works);
  }
  if (wanted.usage) {
    Json last = form.frame(true);
    last["choices"] = Json::array();
    last["usage"] = usage_of(generations, std::size_t(wanted.choices));
    event(last);
  }
  exchange.send("data: [DONE]\n\n");
  exchange.end_stream();
}

void answer_whole(Exchange& exchange, const Endpoints& endpoints, const Works& works, const Wanted& wanted,
                  const Form& form) {
  std::vector<api::Generation> generations;
  for (const auto& work : works) {
    while (!work->done()) {
      work->next(std::chrono::milliseconds(50));
      if (exchange.gone() || endpoints.listener->stopping()) cancel(works);
    }
    auto outcome = work->outcome();
    if (!outcome) {
      cancel(works);
      return refuse(exchange, status_of(outcome.error()), outcome.error().what);
    }
    generations.push_back(std::move(*outcome));
  }
  exchange.answer(200, json_type, text_of(form.whole(generations, wanted)));
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
  Works works;
  for (const std::vector<int>& prompt : wanted->prompts)
    for (std::int64_t i = 0; i < wanted->choices; ++i) {
      api::SamplingFlags flags = wanted->flags;
      flags.seed.value = std::int64_t(std::uint64_t(*flags.seed) + std::uint64_t(i));  // each draws its own
      works.push_back(std::make_shared<Work>(prompt, flags, wanted->chances));
      if (endpoints.scheduler->submit(works.back())) continue;
      cancel(works);
      return refuse(exchange, 429, "too many requests wait already");
    }
  std::int64_t time = now();
  Form form{chat, fmt::format("{}-{:x}-{}", chat ? "chatcmpl" : "cmpl", time, ++endpoints.ids), endpoints.name, time,
            endpoints.language->tokenizer.get()};
  if (wanted->stream) return stream(exchange, endpoints, works, *wanted, form);
  answer_whole(exchange, endpoints, works, *wanted, form);
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

Json model_of(const Endpoints& endpoints) {
  return {{"id", endpoints.name}, {"object", "model"}, {"created", endpoints.created}, {"owned_by", "pomona"}};
}
void one_model(Endpoints& endpoints, Exchange& exchange) {
  exchange.answer(200, json_type, text_of(model_of(endpoints)));
}
void models(Endpoints& endpoints, Exchange& exchange) {
  Json model = model_of(endpoints);
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
  static constexpr Route only_model{"GET", "/v1/models/", true, one_model};
  if (request.path == std::string(only_model.path) + endpoints.name) found = &only_model;
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
