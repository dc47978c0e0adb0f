#include <protozero/pbf_reader.hpp>

#include <nlohmann/json.hpp>
#include "llm/tokenizer.h"
#include "llm/tokenizers/translate.h"

namespace pomona::llm {
namespace {

// Of sentencepiece_model.proto.
enum ModelField : std::uint32_t { pieces = 1, trainer_spec = 2, normalizer_spec = 3 };
enum TrainerField : std::uint32_t { model_type = 3, treat_whitespace_as_suffix = 24, byte_fallback = 35 };
enum NormalizerField : std::uint32_t { charsmap = 2, add_dummy_prefix = 3, remove_extra_whitespaces = 4 };
enum TrainedModel : int { unigram = 1, bpe = 2 };

using protozero::tag_and_type;
constexpr auto varint = protozero::pbf_wire_type::varint, bytes = protozero::pbf_wire_type::length_delimited,
               four_bytes = protozero::pbf_wire_type::fixed32;

SentencePiece read_piece(protozero::pbf_reader message) {
  SentencePiece piece;
  while (message.next()) {
    if (message.tag_and_type() == tag_and_type(1, bytes))
      piece.text = message.get_string();
    else if (message.tag_and_type() == tag_and_type(2, four_bytes))
      piece.score = message.get_float();
    else if (message.tag_and_type() == tag_and_type(3, varint))
      piece.kind = PieceKind(message.get_enum());
    else
      message.skip();
  }
  return piece;
}

Status read_trainer(protozero::pbf_reader message, SentencePieces& model) {
  int type = unigram;
  while (message.next()) {
    if (message.tag_and_type() == tag_and_type(model_type, varint))
      type = message.get_enum();
    else if (message.tag_and_type() == tag_and_type(byte_fallback, varint))
      model.byte_fallback = message.get_bool();
    else if (message.tag_and_type() == tag_and_type(treat_whitespace_as_suffix, varint))
      POM_REQUIRE(!message.get_bool(),
                  "the SentencePiece model treats white space as a suffix, which is not known here");
    else
      message.skip();
  }
  POM_REQUIRE(type == unigram || type == bpe,
              "the SentencePiece model is of the type {}; unigram (1) and BPE (2) are known", type);
  model.unigram = type == unigram;
  return {};
}

void read_normalizer(protozero::pbf_reader message, SentencePieces& model) {
  while (message.next()) {
    if (message.tag_and_type() == tag_and_type(charsmap, bytes))
      model.character_map = message.get_string();
    else if (message.tag_and_type() == tag_and_type(add_dummy_prefix, varint))
      model.add_prefix = message.get_bool();
    else if (message.tag_and_type() == tag_and_type(remove_extra_whitespaces, varint))
      model.remove_extra_whitespace = message.get_bool();
    else
      message.skip();
  }
}

Result<SentencePieces> read_model(std::string_view file) {
  SentencePieces model;
  model.remove_extra_whitespace = true;
  try {
    protozero::pbf_reader message(file.data(), file.size());
    while (message.next()) {
      if (message.tag_and_type() == tag_and_type(pieces, bytes))
        model.pieces.push_back(read_piece(message.get_message()));
      else if (message.tag_and_type() == tag_and_type(trainer_spec, bytes))
        POM_TRY(read_trainer(message.get_message(), model));
      else if (message.tag_and_type() == tag_and_type(normalizer_spec, bytes))
        read_normalizer(message.get_message(), model);
      else
        message.skip();
    }
  } catch (const std::exception&) {
    return fail("the tokenizer is no SentencePiece model: its protobuf breaks off");
  }
  return model;
}

// The classes of transformers add them without being told.
void enclose(SentencePieces& model, const Json& config) {
  std::string kind = text_field(config, "tokenizer_class");
  bool begins = kind.starts_with("Llama") || kind.starts_with("Gemma") || kind.starts_with("CodeLlama");
  bool ends = kind.starts_with("T5") || kind.starts_with("MT5");
  std::vector<AddedToken> named = model.added;
  for (std::size_t i = 0; i < model.pieces.size(); ++i)
    if (model.pieces[i].kind == PieceKind::control)
      named.push_back({.content = model.pieces[i].text, .id = int(i), .special = true});
  if (flag_field(config, "add_bos_token", begins))
    if (auto id = token_of_config(config, "bos_token", named)) model.before.push_back(*id);
  if (flag_field(config, "add_eos_token", ends))
    if (auto id = token_of_config(config, "eos_token", named)) model.after.push_back(*id);
}

}  // namespace

Result<std::string> tokenizer_json_of_sentencepiece(std::string_view model_bytes, std::string_view tokenizer_config) {
  SentencePieces model = POM_TRY(read_model(model_bytes));
  Json config = Json::parse(tokenizer_config, nullptr, false);
  add_tokens_of_config(model.added, config);
  if (config.is_object()) enclose(model, config);
  return POM_TRY(tokenizer_of(model)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace pomona::llm
