#include "llm/tokenizers/gguf.h"

#include <nlohmann/json.hpp>
#include "llm/tokenizers/translate.h"

namespace pomona::llm {
namespace {

using Texts = std::vector<std::string_view>;

// What "pre" stands for: the expressions that a text is split by, one after the other.
struct PreSplit {
  std::vector<std::string_view> names;
  std::vector<std::string> expressions;
  bool ignore_merges = false, add_bos = false, composed = false;  // composed: to NFC first
};

const std::vector<PreSplit>& pre_splits() {
  static const std::string contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
  static const std::string gpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  static const std::string ends = R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  static const std::string word = R"(|[^\r\n\p{L}\p{N}]?\p{L}+|)";
  static const std::string llama3 = contractions + word + R"(\p{N}{1,3}|)" + ends;
  static const std::string qwen2 = contractions + word + R"(\p{N}|)" + ends;
  static const std::string lower_words =
      R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)";
  static const std::string upper_words =
      R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)";
  static const std::string slash_ends = R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  static const std::string tekken = lower_words + "|" + upper_words + R"(|\p{N}|)" + slash_ends;
  static const std::string gpt4o =
      lower_words + contractions + "?|" + upper_words + contractions + R"(?|\p{N}{1,3}|)" + slash_ends;
  static const std::string ideographs = "[一-龥ࠀ-一가-퟿]+", deepseek_ideographs = "[一-龥぀-ゟ゠-ヿ]+";
  static const std::string deepseek3 =
      R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  static const std::string deepseek_letters =
      "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-"
      "Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
  static const std::string bloom = " ?[^(\\s|.,!?…。，、।۔،)]+";
  static const std::vector<PreSplit> all = {
      {{"default"}, {R"([\p{P}\$\+<=>\^~\|]+)", gpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
      {{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
       {llama3},
       true,
       true},
      {{"dbrx", "smaug-bpe", "chatglm-bpe"}, {llama3}},
      {{"glm4"}, {llama3}, true},
      {{"qwen2", "deepseek-r1-qwen", "megrez"}, {qwen2}, false, false, true},
      {{"stablelm2", "hunyuan", "solar-open", "grok-2"}, {qwen2}},
      {{"gpt-2", "phi-2", "mpt", "olmo", "jais", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "gigachat", "mellum",
        "modern-bert", "exaone4", "trillion", "granite-docling", "roberta-bpe", "jina-v1-en", "jina-v2-code"},
       {gpt2}},
      {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"},
       {R"(\p{N})", gpt2}},
      {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", gpt2, "[0-9][0-9][0-9]"}},
      {{"tekken"}, {tekken}, true, true},
      {{"gpt-4o", "llama4", "kanana2", "minimax-m2"}, {gpt4o}},
      {{"deepseek-llm"},
       {"[\\r\\n]", deepseek_letters, "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", ideographs, "\\p{N}+"}},
      {{"deepseek-coder"}, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", ideographs, "\\p{N}"}},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm"}, {"\\p{N}{1,3}", deepseek_ideographs, deepseek3}},
      {{"bloom", "gpt3-finnish", "poro-chat"}, {bloom}},
      {{"viking"}, {bloom, "\\p{N}"}},
  };
  return all;
}

Result<const PreSplit*> pre_split_of(std::string_view name) {
  for (const PreSplit& split : pre_splits())
    for (std::string_view known : split.names)
      if (known == name) return &split;
  return fail("the pre-tokenizer '{}' of the GGUF file (tokenizer.ggml.pre) is not known", name);
}

PieceKind kind_at(const gguf::File& file, std::size_t id) {
  auto* kinds = file.integers("tokenizer.ggml.token_type");
  return kinds && id < kinds->size() ? PieceKind((*kinds)[id]) : PieceKind::normal;
}

void add_special(const gguf::File& file, const Texts& tokens, std::vector<AddedToken>& added) {
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    PieceKind kind = kind_at(file, id);
    bool special = kind == PieceKind::control || kind == PieceKind::unknown;
    if ((special || kind == PieceKind::user_defined) && !tokens[id].empty())
      added.push_back({.content = std::string(tokens[id]), .id = int(id), .special = special});
  }
}

Status enclose(const gguf::File& file, std::size_t tokens, const char* flag, bool otherwise, const char* key,
               std::optional<std::int64_t> usual, std::vector<int>& ids) {
  if (!file.boolean(flag).value_or(otherwise)) return {};
  std::optional<std::int64_t> id = file.integer(key);
  if (!id) id = usual;
  if (!id) return {};
  POM_REQUIRE(*id >= 0 && std::size_t(*id) < tokens, "{} is {}, and there are {} tokens", key, *id, tokens);
  ids.push_back(int(*id));
  return {};
}

constexpr const char* add_bos = "tokenizer.ggml.add_bos_token";
constexpr const char* add_eos = "tokenizer.ggml.add_eos_token";
constexpr const char* bos_id = "tokenizer.ggml.bos_token_id";
constexpr const char* eos_id = "tokenizer.ggml.eos_token_id";

Result<Json> sentence_pieces(const gguf::File& file, const Texts& tokens, bool unigram) {
  SentencePieces model;
  auto* scores = file.numbers("tokenizer.ggml.scores");
  for (std::size_t id = 0; id < tokens.size(); ++id)
    model.pieces.push_back(
        {std::string(tokens[id]), scores && id < scores->size() ? (*scores)[id] : 0, kind_at(file, id)});
  model.unigram = unigram;
  model.byte_fallback = !unigram;
  for (const SentencePiece& piece : model.pieces) model.byte_fallback |= piece.kind == PieceKind::byte;
  model.add_prefix = file.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  model.prefix_after_added = true;
  model.remove_extra_whitespace = file.boolean("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  if (auto* bytes = file.integers("tokenizer.ggml.precompiled_charsmap"))
    for (std::int64_t byte : *bytes) model.character_map += char(byte);
  POM_TRY(enclose(file, tokens.size(), add_bos, !unigram, bos_id, 1, model.before));
  POM_TRY(enclose(file, tokens.size(), add_eos, unigram, eos_id, unigram ? 1 : 2, model.after));
  return tokenizer_of(model);
}

Result<Json> byte_level(const gguf::File& file, const Texts& tokens) {
  const PreSplit* split = POM_TRY(pre_split_of(file.text("tokenizer.ggml.pre").value_or("default")));
  auto* merges = file.strings("tokenizer.ggml.merges");
  POM_REQUIRE(merges, "the GGUF file has no merges (tokenizer.ggml.merges)");
  Json vocabulary = Json::object(), list = Json::array();
  for (std::size_t id = 0; id < tokens.size(); ++id) vocabulary.emplace(std::string(tokens[id]), id);
  for (std::string_view merge : *merges) list.push_back(merge);
  Assembly parts;
  parts.model = {{"type", "BPE"},
                 {"vocab", std::move(vocabulary)},
                 {"merges", std::move(list)},
                 {"ignore_merges", split->ignore_merges}};
  if (split->composed) parts.normalizer = {{"type", "NFC"}};
  std::vector<Json> steps;
  for (const std::string& expression : split->expressions) steps.push_back(split_by(expression));
  bool prefix = file.boolean("tokenizer.ggml.add_space_prefix").value_or(false);
  steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"use_regex", false}});
  parts.pre_tokenizer = sequence_of("Sequence", "pretokenizers", std::move(steps));
  parts.decoder = byte_level_decoder();
  add_special(file, tokens, parts.added);
  POM_TRY(enclose(file, tokens.size(), add_bos, split->add_bos, bos_id, std::nullopt, parts.before));
  POM_TRY(enclose(file, tokens.size(), add_eos, false, eos_id, std::nullopt, parts.after));
  return assemble(std::move(parts));
}

// GGUF marks the pieces that begin a word, where vocab.txt marks those that continue one.
Result<Json> word_pieces(const gguf::File& file, const Texts& tokens) {
  constexpr std::string_view mark = "\xE2\x96\x81";
  Json vocabulary = Json::object();
  bool capitals = false;
  Assembly parts;
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    std::string_view token = tokens[id];
    bool special = token.starts_with('[') && token.ends_with(']') && token.size() > 2;
    std::string piece = special                   ? std::string(token)
                        : token.starts_with(mark) ? std::string(token.substr(mark.size()))
                                                  : "##" + std::string(token);
    capitals = capitals || (!special && piece.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") != piece.npos);
    vocabulary.emplace(piece, id);
    if (special && (token == "[CLS]" || token == "[SEP]" || token == "[UNK]" || token == "[PAD]" || token == "[MASK]"))
      parts.added.push_back({.content = piece, .id = int(id), .special = true});
  }
  for (auto [name, key, place] : {std::tuple{"[CLS]", "tokenizer.ggml.cls_token_id", &parts.before},
                                  {"[SEP]", "tokenizer.ggml.seperator_token_id", &parts.after}}) {
    POM_REQUIRE(vocabulary.contains(name), "the GGUF file's tokens have no {}", name);
    place->push_back(int(file.integer(key).value_or(vocabulary[name].get<int>())));
  }
  parts.normalizer = {{"type", "BertNormalizer"}, {"lowercase", !capitals}};
  parts.pre_tokenizer = {{"type", "BertPreTokenizer"}};
  parts.decoder = {{"type", "WordPiece"}};
  parts.model = {{"type", "WordPiece"}, {"vocab", std::move(vocabulary)}};
  return assemble(std::move(parts));
}

Result<Json> tokenizer_of_file(const gguf::File& file) {
  auto* tokens = file.strings("tokenizer.ggml.tokens");
  POM_REQUIRE(tokens, "the GGUF file has no tokens (tokenizer.ggml.tokens)");
  std::string_view model = file.text("tokenizer.ggml.model").value_or("");
  if (model == "llama") return sentence_pieces(file, *tokens, false);
  if (model == "t5") return sentence_pieces(file, *tokens, true);
  if (model == "gpt2") return byte_level(file, *tokens);
  if (model == "bert") return word_pieces(file, *tokens);
  return fail("the tokenizer '{}' of the GGUF file (tokenizer.ggml.model) is not known", model);
}

}  // namespace

Result<std::string> tokenizer_json_of_gguf(const gguf::File& file) {
  return POM_TRY(tokenizer_of_file(file)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string tokenizer_config_of_gguf(const gguf::File& file) {
  Json config = Json::object();
  auto* tokens = file.strings("tokenizer.ggml.tokens");
  for (auto [name, key] : {std::pair{"bos_token", bos_id},
                           {"eos_token", eos_id},
                           {"unk_token", "tokenizer.ggml.unknown_token_id"},
                           {"pad_token", "tokenizer.ggml.padding_token_id"},
                           {"cls_token", "tokenizer.ggml.cls_token_id"},
                           {"sep_token", "tokenizer.ggml.seperator_token_id"},
                           {"mask_token", "tokenizer.ggml.mask_token_id"}})
    if (auto id = file.integer(key); id && tokens && *id >= 0 && std::size_t(*id) < tokens->size())
      config[name] = (*tokens)[std::size_t(*id)];
  for (const char* name : {"add_bos_token", "add_eos_token"})
    if (auto add = file.boolean(std::string("tokenizer.ggml.") + name)) config[name] = *add;
  if (auto text = file.text("tokenizer.chat_template")) config["chat_template"] = *text;
  return config.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace pomona::llm
