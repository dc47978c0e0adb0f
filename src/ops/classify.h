// MIL classify: the op at the end of a classifier. It makes the predicted label and a dictionary from every label to
// its probability; the model's ClassLabels are its `classes`.
//
//   Values out = g.add_all(mil::classify{.probabilities = p, .classes = Strings{"cat", "dog"}});
//
// Labels are strings or int64.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct classify {
  static constexpr auto doc = "The label of the greatest probability, and a dictionary of all labels' probabilities";
  POM_IN(probabilities, {'P', dtypes::fp32});
  POM_ATTR(classes, IntsOrStrings, .wire = DType::int64, .form = AttributeRule::Form::vector, .required = true,
           .inline_value = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
