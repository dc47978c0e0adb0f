#include "ir/border.h"

namespace pomona {
namespace {

constexpr std::string_view prefixes[] = {"com.pomona.source.output.", "com.pomona.source.input."};
constexpr std::string_view assumption_prefix = "com.pomona.source.assumption.";
constexpr std::string_view equal_prefix = "com.pomona.source.equal.";

std::string key_of(bool is_input, const std::string& feature) { return std::string(prefixes[is_input]) + feature; }

SourceFeature parsed(bool is_input, const std::string& feature, const std::string& text) {
  SourceFeature f{is_input, feature, text, "?", feature};
  std::size_t space = text.find(' ');
  if (space == std::string::npos) return f;
  f.dtype = text.substr(0, space);
  // The shape holds spaces of its own; it ends with its bracket, or is a single "?".
  std::size_t begin = space + 1, end = text[begin] == '[' ? text.find(']', begin) : begin;
  if (end == std::string::npos) return f;
  f.shape = text.substr(begin, end + 1 - begin);
  if (end + 2 <= text.size()) f.name = text.substr(end + 2);
  return f;
}

}  // namespace

Feature feature_of(Value value) {
  Feature feature;
  feature.name = value.name();
  feature.dtype = value.dtype();
  feature.has_shape = all_known(value.shape());
  if (feature.has_shape) feature.shape = known_sizes(value.shape());
  return feature;
}

void note_assumptions(Metadata& metadata, const std::vector<std::string>& sentences) {
  for (std::size_t i = 0; i < sentences.size(); ++i)
    metadata.user[std::string(assumption_prefix) + std::to_string(i)] = sentences[i];
}
std::vector<std::string> assumptions(const Metadata& metadata) {
  std::vector<std::string> sentences;
  for (auto at = metadata.user.lower_bound(std::string(assumption_prefix));
       at != metadata.user.end() && at->first.starts_with(assumption_prefix); ++at)
    sentences.push_back(at->second);
  return sentences;
}

void note_equal_sizes(Metadata& metadata, const EqualSizes& pairs) {
  for (std::size_t i = 0; i < pairs.size(); ++i)
    metadata.user[std::string(equal_prefix) + std::to_string(i)] = pairs[i].first + "\t" + pairs[i].second;
}
EqualSizes equal_sizes(const Metadata& metadata) {
  EqualSizes pairs;
  for (auto at = metadata.user.lower_bound(std::string(equal_prefix));
       at != metadata.user.end() && at->first.starts_with(equal_prefix); ++at)
    if (std::size_t tab = at->second.find('\t'); tab != std::string::npos)
      pairs.emplace_back(at->second.substr(0, tab), at->second.substr(tab + 1));
  return pairs;
}

void note_source_feature(Metadata& metadata, const SourceFeature& f) {
  metadata.user[key_of(f.is_input, f.feature)] = f.dtype + " " + f.shape + " " + f.name;
}

std::vector<SourceFeature> source_features(const Metadata& metadata) {
  std::vector<SourceFeature> all;
  for (const auto& [key, text] : metadata.user)
    for (bool is_input : {false, true})
      if (key.starts_with(prefixes[is_input]))
        all.push_back(parsed(is_input, key.substr(prefixes[is_input].size()), text));
  return all;
}

std::optional<SourceFeature> source_feature(const Metadata& metadata, bool is_input, const std::string& feature) {
  auto at = metadata.user.find(key_of(is_input, feature));
  if (at == metadata.user.end()) return {};
  return parsed(is_input, feature, at->second);
}

void rename_source_feature(Metadata& metadata, bool is_input, const std::string& before, const std::string& after) {
  auto at = metadata.user.find(key_of(is_input, before));
  if (at == metadata.user.end() || before == after) return;
  std::string text = std::move(at->second);
  metadata.user.erase(at);
  metadata.user[key_of(is_input, after)] = std::move(text);
}

}  // namespace pomona
