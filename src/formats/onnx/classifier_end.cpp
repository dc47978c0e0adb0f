#include "formats/onnx/classifier_end.h"

#include <cctype>

#include "ir/builder.h"
#include "ir/naming.h"
#include "ops/classify.h"
#include "ops/elementwise_unary.h"
#include "ops/tensor_operation.h"

namespace pomona::onnx {
namespace {

// The name, where Core ML may have it.
std::string plain_or(const std::string& name, std::string_view otherwise) {
  bool plain = !name.empty() && plain_name(name) == name && !std::isdigit(static_cast<unsigned char>(name[0]));
  return plain ? name : std::string(otherwise);
}

}  // namespace

Result<bool> ClassifierEnd::takes(std::string_view output, const Entry& entry) {
  if (!entry.is_text()) return false;
  bool is_label = entry.elem == Elem::string;
  POM_REQUIRE((is_label ? label_ : map_).empty(), "outputs '{}' and '{}' are two classifiers' {}, and Core ML has one",
              is_label ? label_ : map_, output, is_label ? "labels" : "maps");
  (is_label ? label_ : map_) = output;
  // A map's scores may have been scaled on their way.
  if (!is_label || !classes_) classes_ = entry.classes;
  made_ = made_ || entry.classes->made;
  POM_REQUIRE(!made_ || map_.empty(),
              "output '{}' is a map of scores, the greatest of which is not always that of the "
              "label '{}'; Core ML takes it to be",
              map_, label_);
  return true;
}

std::string ClassifierEnd::open_rows() const {
  if (!classes_ || classes_->scores.rank() != 2) return "";
  return classes_->scores.shape()[0].symbol().value_or("");
}

Status ClassifierEnd::finish(Function& main, Values& results) const {
  if (!classes_) return {};
  Value scores = classes_->scores;
  if (scores.rank() != 2 || !(scores.shape()[0] == 1))
    return fail("output '{}' is a classifier's {}, which Core ML gives for one row; here there are {}",
                map_.empty() ? label_ : map_, map_.empty() ? "label in words" : "map of scores",
                scores.rank() == 2 ? scores.shape()[0].text() : "no rows")
        .advise("an input of one row: --input NAME=1x...");
  Builder g(main);
  if (scores.dtype() != DType::fp32) scores = g.add(mil::cast{.x = scores, .dtype = "fp32"});
  IntsOrStrings labels;
  if (classes_->strings.empty())
    labels = Ints(classes_->ints);
  else
    labels = Strings(classes_->strings);
  Values made = g.add_all(mil::classify{.probabilities = scores, .classes = labels});
  POM_TRY(Status(g.status()));
  made[0].set_name(plain_or(label_, "classLabel"));
  made[1].set_name(plain_or(map_, made[0].name() + "_probs"));
  results.insert(results.begin(), made.begin(), made.end());
  main.predicted_feature = made[0].name();
  main.predicted_probabilities = made[1].name();
  main.class_labels = classes_->strings;
  if (classes_->strings.empty())
    for (std::int64_t label : classes_->ints) main.class_labels.push_back(std::to_string(label));
  return {};
}

}  // namespace pomona::onnx
