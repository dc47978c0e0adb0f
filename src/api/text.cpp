#include "api/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "api/border.h"
#include "llm/language_model.h"

namespace pomona::api {
namespace {

// The longest text, in tokens, where the model does not say.
constexpr std::int64_t default_most = 512;

struct Length {
  std::int64_t fixed = 0, most = default_most;  // fixed 0: any up to `most`
};

Result<Length> length_of(Value ids, const Function& function) {
  POM_REQUIRE(ids.rank() == 2, "input '{}' is {}; text needs [batch, length]", ids.name(), ids.type().text());
  POM_REQUIRE(!ids.shape()[0].known() || ids.shape()[0] == 1, "input '{}' takes {} texts at once; --text gives one",
              ids.name(), ids.shape()[0].text());
  Length length;
  if (ids.shape()[1].known()) length.fixed = length.most = ids.shape()[1].value();
  const Feature* feature = find_feature(function.inputs, ids.name());
  if (feature && feature->ranges.size() == 2 && feature->ranges[1].upper > 0) length.most = feature->ranges[1].upper;
  return length;
}

int padding_of(const llm::Tokenizer& tokenizer) {
  for (const char* name : {"[PAD]", "<pad>"})
    if (auto id = tokenizer.id_of(name)) return *id;
  return 0;
}

}  // namespace

Result<std::shared_ptr<const llm::Tokenizer>> tokenizer_for(const Program& program, const std::string& place) {
  std::string json = place.empty() ? llm::tokenizer_in(program) : POM_TRY(llm::tokenizer_json_of(place));
  POM_REQUIRE(!json.empty(),
              "texts need --tokenizer: a vocab.txt, a tokenizer.json or the folder of one; the model carries none");
  return POM_TRY_IN(llm::Tokenizer::from_json(json), "tokenizer '{}'", place.empty() ? "of the model" : place);
}

Result<NamedTensors> text_inputs(const llm::Tokenizer& tokenizer, const std::string& text, const Program& program,
                                 const Function& function) {
  Value ids_input;
  for (std::size_t i = 0; i < function.body.input_count(); ++i)
    if (source_name(program, true, function.body.input(i).name()) == "input_ids") ids_input = function.body.input(i);
  if (!ids_input) return fail("the model has no input 'input_ids': it does not take text");
  Length length = POM_TRY(length_of(ids_input, function));
  if (std::int64_t own = llm::most_tokens_in(program); own > 0) length.most = std::min(length.most, own);
  std::vector<int> ids = POM_TRY(tokenizer.encode(text, {.most = std::size_t(length.most)}));
  std::size_t used = ids.size(), width = length.fixed ? std::size_t(length.fixed) : used;
  ids.resize(width, padding_of(tokenizer));

  NamedTensors inputs;
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    std::string name = source_name(program, true, function.body.input(i).name());
    std::vector<double> values(width, 0);
    if (name == "input_ids")
      std::copy(ids.begin(), ids.end(), values.begin());
    else if (name == "attention_mask")
      std::fill_n(values.begin(), used, 1);
    else if (name != "token_type_ids")
      return fail("the model's input '{}' is none that follows from a text", name);
    inputs[name] = Tensor::from_numbers(DType::int64, {1, std::int64_t(width)}, values);
  }
  return inputs;
}

Result<Tensor> pooled(const std::string& method, const NamedTensors& outputs, const NamedTensors& inputs) {
  POM_REQUIRE(method == "mean" || method == "first", "--pool is mean or first, not '{}'", method);
  const Tensor* states = nullptr;
  for (const auto& [name, tensor] : outputs)
    if (tensor.rank() == 3 && is_float(tensor.dtype()) && (!states || name == "last_hidden_state")) states = &tensor;
  POM_REQUIRE(states && states->sizes()[0] == 1, "the model has no output of shape [1, length, width] to pool");
  std::size_t length = std::size_t(states->sizes()[1]), width = std::size_t(states->sizes()[2]);
  auto mask = inputs.find("attention_mask");
  std::vector<double> sum(width, 0);
  for (std::size_t t = 0; t < length; ++t) {
    bool counts =
        method == "first" ? t == 0 : mask == inputs.end() || t >= mask->second.count() || mask->second.number(t) != 0;
    for (std::size_t k = 0; counts && k < width; ++k) sum[k] += states->number(t * width + k);
  }
  double norm = 0;
  for (double v : sum) norm += v * v;
  norm = std::sqrt(norm);
  for (double& v : sum) v = norm > 0 ? v / norm : 0;
  return Tensor::from_numbers(DType::fp32, {std::int64_t(width)}, sum);
}

}  // namespace pomona::api
