// A detector's last stage: of boxes that overlap, the best of each class stays.
//
//   POM_TRY(add_detector(function, {.boxes = "boxes", .scores = "scores"}));
//
// The outputs named become "coordinates" [n, 4] (centre and size, as shares of the picture) and "confidence"
// [n, classes]; "iouThreshold" and "confidenceThreshold" become optional inputs. It works in the program, round by
// round, so that both thresholds may change from call to call.
#pragma once
#include "api/convert_border.h"

namespace pomona::api {

Status add_detector(Function& function, const DetectorRequest& request);

}  // namespace pomona::api
