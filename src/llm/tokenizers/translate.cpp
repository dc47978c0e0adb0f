#include "llm/tokenizers/translate.h"

#include <algorithm>
#include <unordered_map>

#include <nlohmann/json.hpp>
#include "base/bytes.h"
#include "llm/tokenizer.h"
#include "llm/tokenizers/unicode.h"

namespace pomona::llm {
namespace {

constexpr const char* mark = "\xE2\x96\x81";

std::string to_base64(std::string_view bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  std::uint32_t held = 0;
  int bits = 0;
  for (char c : bytes) {
    held = held << 8 | static_cast<unsigned char>(c);
    for (bits += 8; bits >= 6; bits -= 6) text += digits[held >> (bits - 6) & 63];
  }
  if (bits) text += digits[held << (6 - bits) & 63];
  while (text.size() % 4) text += '=';
  return text;
}

Json replace(const char* kind, const std::string& what, const std::string& with) {
  return {{"type", "Replace"}, {"pattern", {{kind, what}}}, {"content", with}};
}

Json added_json(const std::vector<AddedToken>& added) {
  Json list = Json::array();
  for (const AddedToken& t : added)
    list.push_back({{"id", t.id},
                    {"content", t.content},
                    {"special", t.special},
                    {"normalized", t.normalized},
                    {"single_word", t.single_word},
                    {"lstrip", t.lstrip},
                    {"rstrip", t.rstrip}});
  return list;
}

Json template_of(const std::vector<int>& before, const std::vector<int>& after) {
  if (before.empty() && after.empty()) return nullptr;
  Json single = Json::array(), special = Json::object();
  auto add = [&](int id) {
    std::string name = fmt::format("#{}", id);
    single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
    special[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
  };
  for (int id : before) add(id);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  for (int id : after) add(id);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", special}};
}

Json unigram_model(const SentencePieces& model) {
  Json vocabulary = Json::array(), silent = Json::array(), unknown;
  for (const SentencePiece& piece : model.pieces) {
    if (piece.kind == PieceKind::unknown) unknown = vocabulary.size();
    if (piece.kind != PieceKind::normal && piece.kind != PieceKind::user_defined) silent.push_back(vocabulary.size());
    vocabulary.push_back({piece.text, piece.score});
  }
  return {{"type", "Unigram"}, {"vocab", vocabulary}, {"unk_id", unknown}, {"byte_fallback", model.byte_fallback},
          {"silent", silent},  {"single", true}};
}

Json bpe_model(const SentencePieces& model) {
  Json vocabulary = Json::object(), unknown;
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const SentencePiece& piece = model.pieces[i];
    vocabulary[piece.text] = i;
    if (piece.kind == PieceKind::unknown) unknown = piece.text;
    if (piece.kind == PieceKind::normal || piece.kind == PieceKind::user_defined) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return model.pieces[a].score > model.pieces[b].score; });
  std::vector<std::string> pieces;
  for (std::size_t i : order) pieces.push_back(model.pieces[i].text);
  return {{"type", "BPE"},         {"vocab", vocabulary}, {"merges", merges_of(pieces, true)},
          {"unk_token", unknown},  {"fuse_unk", true},    {"byte_fallback", model.byte_fallback},
          {"rank_by_result", true}};
}

}  // namespace

Json sequence_of(const char* kind, const char* list, std::vector<Json> parts) {
  if (parts.empty()) return nullptr;
  return {{"type", kind}, {list, std::move(parts)}};
}

Json split_by(const std::string& expression) {
  return {{"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}, {"invert", false}};
}

Json byte_level_decoder() { return {{"type", "ByteLevel"}}; }

Json metaspace_decoder(bool prefixed) {
  std::vector<Json> steps{replace("String", mark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  if (prefixed) steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return sequence_of("Sequence", "decoders", std::move(steps));
}

Json assemble(Assembly parts) {
  return {{"version", "1.0"},
          {"added_tokens", added_json(parts.added)},
          {"normalizer", std::move(parts.normalizer)},
          {"pre_tokenizer", std::move(parts.pre_tokenizer)},
          {"post_processor", template_of(parts.before, parts.after)},
          {"decoder", std::move(parts.decoder)},
          {"model", std::move(parts.model)}};
}

Json merges_of(const std::vector<std::string>& pieces, bool whole_characters) {
  std::unordered_map<std::string_view, std::size_t> ranks;
  for (std::size_t i = 0; i < pieces.size(); ++i) ranks.emplace(pieces[i], i);
  Json merges = Json::array();
  for (std::string_view piece : pieces)
    for (std::size_t at = 1; at < piece.size(); ++at) {
      if (whole_characters && (piece[at] & 0xC0) == 0x80) continue;
      std::string_view left = piece.substr(0, at), right = piece.substr(at);
      if (ranks.contains(left) && ranks.contains(right)) merges.push_back(Json::array({left, right}));
    }
  return merges;
}

void add_tokens_of_config(std::vector<AddedToken>& known, const Json& config) {
  if (!config.is_object() || !config.contains("added_tokens_decoder") || !config["added_tokens_decoder"].is_object())
    return;
  for (const auto& [key, entry] : config["added_tokens_decoder"].items()) {
    AddedToken token;
    token.id = std::atoi(key.c_str());
    token.content = text_field(entry, "content");
    token.special = flag_field(entry, "special", false);
    token.lstrip = flag_field(entry, "lstrip", false);
    token.rstrip = flag_field(entry, "rstrip", false);
    token.single_word = flag_field(entry, "single_word", false);
    token.normalized = flag_field(entry, "normalized", !token.special);
    std::erase_if(known, [&](const AddedToken& k) { return k.id == token.id; });
    if (!token.content.empty()) known.push_back(std::move(token));
  }
}

std::optional<int> token_of_config(const Json& config, const char* key, const std::vector<AddedToken>& added) {
  if (!config.is_object() || !config.contains(key)) return std::nullopt;
  std::string name = config[key].is_object() ? text_field(config[key], "content") : text_field(config, key);
  for (const AddedToken& token : added)
    if (token.content == name) return token.id;
  return std::nullopt;
}

Result<Json> tokenizer_of(const SentencePieces& model) {
  POM_REQUIRE(!model.pieces.empty(), "the tokenizer has no pieces");
  Assembly parts;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const auto& [text, score, kind] = model.pieces[i];
    bool special = kind == PieceKind::control || kind == PieceKind::unknown;
    bool known = std::any_of(model.added.begin(), model.added.end(), [&](auto& t) { return t.id == int(i); });
    if ((special || kind == PieceKind::user_defined) && !known && !text.empty())
      parts.added.push_back({.content = text, .id = int(i), .special = special});
  }
  parts.added.insert(parts.added.end(), model.added.begin(), model.added.end());
  std::vector<Json> steps;
  if (!model.character_map.empty())
    steps.push_back(
        {{"type", "Precompiled"}, {"precompiled_charsmap", to_base64(model.character_map)}, {"longest", true}});
  if (model.remove_extra_whitespace) {
    steps.push_back(replace("Regex", R"(\A +| +\z)", ""));
    steps.push_back(replace("Regex", " {2,}", " "));
  }
  parts.normalizer = sequence_of("Sequence", "normalizers", std::move(steps));
  const char* scheme = !model.add_prefix ? "never" : model.prefix_after_added ? "always" : "first";
  parts.pre_tokenizer = {
      {"type", "Metaspace"}, {"replacement", mark}, {"prepend_scheme", scheme}, {"split", false}, {"doubled", true}};
  parts.decoder = metaspace_decoder(model.add_prefix);
  parts.model = model.unigram ? unigram_model(model) : bpe_model(model);
  parts.before = model.before;
  parts.after = model.after;
  return assemble(std::move(parts));
}

}  // namespace pomona::llm
