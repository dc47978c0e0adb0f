#include "api/importance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "formats/gguf/imatrix.h"
#include "formats/npy/npy.h"
#include "ir/naming.h"
#include "llm/checkpoint.h"

namespace pomona::api {
namespace {

using Importance = std::map<std::string, std::vector<float>>;

// As weights of packages are named.
std::string as_weight_name(std::string_view name) {
  return plain_name(name.starts_with("model.") ? name.substr(6) : name);
}

std::set<std::string> weight_names(const Program& program) {
  std::set<std::string> names;
  for (const auto& function : program.functions)
    for (const auto& node : function->body.nodes())
      if (node->output_count() == 1 && node->output().literal()) names.insert(node->output().name());
  return names;
}

// Weights here that are meant by a name in the file: parts of a head that was cut included.
std::vector<std::string> meant_by(const std::string& name, const std::set<std::string>& known) {
  std::vector<std::string> candidates{name, as_weight_name(name)};
  if (name == "output.weight") candidates.push_back("embed_tokens_weight");  // where both are one
  for (const std::string& other : llm::names_of_gguf_tensor(name)) candidates.push_back(as_weight_name(other));
  std::vector<std::string> found;
  for (const std::string& candidate : candidates)
    for (auto at = known.lower_bound(candidate); at != known.end() && at->starts_with(candidate); ++at) {
      std::string rest = at->substr(candidate.size());
      bool part =
          rest.empty() || (rest.size() > 1 && rest[0] == '_' && rest.find_first_not_of("0123456789", 1) == rest.npos);
      if (part && std::ranges::find(found, *at) == found.end()) found.push_back(*at);
    }
  return found;
}

}  // namespace

bool is_importance_file(const std::string& path) {
  return path.ends_with(".dat") || path.ends_with(".gguf") || path.ends_with(".imatrix");
}

Result<Importance> read_importance(const std::string& path, const Program& program,
                                   std::vector<std::string>& warnings) {
  Bytes bytes = POM_TRY(map_file(path));
  Importance in_file;
  if (path.ends_with(".npz")) {
    for (const auto& [name, tensor] : POM_TRY_IN(npy::read_npz(bytes), "'{}'", path)) {
      std::vector<double> numbers = tensor.numbers();
      for (double number : numbers)
        POM_REQUIRE(std::isfinite(number) && number >= 0, "'{}': '{}' has {}", path, name, number);
      in_file[name] = {numbers.begin(), numbers.end()};
    }
  } else {
    in_file = POM_TRY_IN(gguf::read_imatrix(bytes), "'{}'", path).mean_squares;
  }
  Importance importance;
  std::set<std::string> known = weight_names(program);
  std::size_t unknown = 0;
  for (const auto& [name, values] : in_file) {
    std::vector<std::string> found = meant_by(name, known);
    unknown += found.empty();
    for (const std::string& weight : found) importance[weight] = values;
  }
  POM_REQUIRE(!importance.empty(), "'{}' has {} entries, and no weight of the model is named as one of them: '{}', ...",
              path, in_file.size(), in_file.empty() ? "" : in_file.begin()->first);
  if (unknown)
    warnings.push_back(
        fmt::format("'{}': {} of {} entries are of no weight of the model", path, unknown, in_file.size()));
  return importance;
}

}  // namespace pomona::api
