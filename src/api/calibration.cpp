#include "api/calibration.h"

#include <algorithm>
#include <filesystem>

#include "api/border.h"
#include "api/tensors.h"
#include "api/text.h"
#include "llm/tokenizer.h"
#include "verify/inputs.h"

namespace pomona::api {
namespace {

namespace fs = std::filesystem;

Tensor rows_of(const Tensor& tensor, std::int64_t first, std::int64_t count) {
  Sizes sizes = tensor.sizes();
  std::size_t row = tensor.size_bytes() / std::size_t(sizes[0]);
  sizes[0] = count;
  Tensor part(tensor.dtype(), sizes);
  std::copy_n(tensor.data() + std::size_t(first) * row, std::size_t(count) * row, part.mutable_data());
  return part;
}

// Cuts arrays that hold several samples, one behind the other along the first axis.
Result<std::vector<NamedTensors>> cut(const NamedTensors& given, const Program& program, const Function& function,
                                      std::int64_t most) {
  std::int64_t samples = 0;
  std::map<std::string, std::int64_t> lengths;
  for (const auto& [name, tensor] : given) {
    const Feature* feature = find_feature(function.inputs, name);
    for (const Feature& each : function.inputs)
      if (!feature && source_name(program, true, each.name) == name) feature = &each;
    if (!feature || feature->kind != Feature::Kind::array || feature->shape.empty() || tensor.rank() == 0) continue;
    Value input = function.body.input(feature->name);
    bool fixed = input && input.rank() > 0 && input.shape()[0].known();
    std::int64_t length = fixed ? input.shape()[0].value() : std::max<std::int64_t>(1, feature->shape[0]);
    std::int64_t here = tensor.sizes()[0] % length == 0 ? tensor.sizes()[0] / length : 1;
    if (samples != 0 && here != samples) return std::vector<NamedTensors>{given};
    samples = here;
    lengths[name] = length;
  }
  if (samples <= 1) return std::vector<NamedTensors>{given};
  std::vector<NamedTensors> all;
  for (std::int64_t s = 0; s < std::min(samples, most); ++s) {
    NamedTensors one = given;
    for (const auto& [name, length] : lengths) one[name] = rows_of(given.at(name), s * length, length);
    all.push_back(std::move(one));
  }
  return all;
}

Result<std::vector<NamedTensors>> texts(const SampleChoice& choice, const Program& program, const Function& function) {
  auto tokenizer = POM_TRY(tokenizer_for(program, choice.tokenizer));
  Bytes bytes = POM_TRY(map_file(choice.place));
  std::string_view rest = bytes.text();
  std::vector<NamedTensors> samples;
  while (!rest.empty() && samples.size() < std::size_t(choice.count)) {
    std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string line(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    samples.push_back(POM_TRY(text_inputs(*tokenizer, line, program, function)));
  }
  return samples;
}

Result<std::vector<std::string>> files_at(const std::string& place) {
  std::error_code failed;
  if (!fs::is_directory(place, failed)) return std::vector<std::string>{place};
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(place, failed))
    if (entry.is_regular_file()) files.push_back(entry.path().string());
  POM_REQUIRE(!failed, "'{}' cannot be read: {}", place, failed.message());
  std::ranges::sort(files);
  return files;
}

Result<std::vector<NamedTensors>> given_samples(const SampleChoice& choice, const Program& program,
                                                const Function& function) {
  if (choice.place.ends_with(".txt")) return texts(choice, program, function);
  std::vector<NamedTensors> samples;
  for (const std::string& file : POM_TRY(files_at(choice.place))) {
    if (samples.size() >= std::size_t(choice.count)) break;
    NamedTensors given = POM_TRY(read_tensors({file}, program, function));
    auto several = POM_TRY(cut(given, program, function, choice.count - std::int64_t(samples.size())));
    samples.insert(samples.end(), several.begin(), several.end());
  }
  return samples;
}

}  // namespace

Result<std::vector<NamedTensors>> calibration_samples(const SampleChoice& choice, const Program& program,
                                                      const Function& function) {
  POM_REQUIRE(choice.count >= 1, "{} samples were asked for", choice.count);
  std::vector<NamedTensors> samples;
  if (choice.place == "random") {
    for (int s = 0; s < choice.count; ++s)
      samples.push_back(POM_TRY(verify::random_inputs(function, {.seed = std::uint64_t(choice.seed + s)})));
    return samples;
  }
  for (const NamedTensors& given : POM_TRY_IN(given_samples(choice, program, function), "'{}'", choice.place))
    samples.push_back(POM_TRY_IN(program_inputs(program, function, given), "'{}'", choice.place));
  POM_REQUIRE(!samples.empty(), "there are no samples in '{}'", choice.place);
  return samples;
}

}  // namespace pomona::api
