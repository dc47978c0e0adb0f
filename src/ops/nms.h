// MIL non_maximum_suppression, in both of its layouts: boxes last (iOS15) and boxes along the last axis (iOS17).
//
//   Values out = g.add_all(mil::non_maximum_suppression{.boxes = b, .scores = s, .iou_threshold = 0.5, .max_boxes =
//   10}); out[0]: boxes, out[1]: scores, out[2]: indices of the boxes kept
//
// Boxes are x-centre, y-centre, width, height. They are ranked by their best score over the classes; a box is dropped
// when it overlaps a kept one by more than iou_threshold (with per_class_suppression only one of the same best class).
// Unused places hold 0, and -1 as index.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct non_maximum_suppression_iOS15 {
  static constexpr auto mil_name = "non_maximum_suppression";
  static constexpr Target until = iOS17;
  static constexpr auto doc =
      "boxes[n,B,4], scores[n,B,K] to boxes[n,M,4], scores[n,M,K], indices[n,M] and the number kept [n]; when no score "
      "reaches score_threshold, the best box alone is returned";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(boxes, T);
  POM_IN(scores, T);
  POM_FLOAT(iou_threshold, T, .required = true);
  POM_FLOAT(score_threshold, T, .required = true);
  POM_ATTR(max_boxes, int, .required = true);
  POM_ATTR(per_class_suppression, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct non_maximum_suppression {
  static constexpr Target from = iOS17;
  static constexpr auto doc = "boxes[n,4,B], scores[n,K,B] to boxes[n,4,M], scores[n,K,M] and indices[n,M]";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(boxes, T);
  POM_IN(scores, T);
  POM_FLOAT(iou_threshold, T, .required = true);
  POM_ATTR(max_boxes, int, .required = true);
  POM_ATTR(per_class_suppression, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
