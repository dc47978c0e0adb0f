"""non_maximum_suppression in both layouts."""

import numpy as np

from harness import In, seeded


def overlap(a, b):
    """Intersection over union of (centre x, centre y, width, height) boxes."""
    width = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    height = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    common = max(width, 0) * max(height, 0)
    union = a[2] * a[3] + b[2] * b[3] - common
    return common / union if union > 0 else 0.0


def suppress(boxes, scores, iou_threshold, score_threshold, max_boxes, per_class):
    """One image: boxes [B,4], scores [B,K]; indices of the survivors, best first."""
    best, kind = scores.max(axis=1), scores.argmax(axis=1)
    kept = []
    for k in np.argsort(-best, kind="stable"):
        if score_threshold is not None and best[k] < score_threshold:
            continue
        if all(overlap(boxes[k], boxes[j]) <= iou_threshold for j in kept if not per_class or kind[j] == kind[k]):
            kept.append(int(k))
    if not kept:
        kept = [int(np.argmax(best))]
    return kept[:max_boxes]


def expected(boxes, scores, iou, threshold, max_boxes, per_class):
    count, classes = boxes.shape[0], scores.shape[2]
    out_boxes, out_scores = np.zeros((count, max_boxes, 4), boxes.dtype), np.zeros(
        (count, max_boxes, classes), scores.dtype
    )
    indices, counts = np.full((count, max_boxes), -1, "int32"), np.zeros(count, "int32")
    for n in range(count):
        kept = suppress(boxes[n].astype("float64"), scores[n].astype("float64"), iou, threshold, max_boxes, per_class)
        out_boxes[n, : len(kept)], out_scores[n, : len(kept)] = boxes[n][kept], scores[n][kept]
        indices[n, : len(kept)], counts[n] = kept, len(kept)
    return out_boxes, out_scores, indices, counts


def add(suite):
    settings = [
        (0.5, 0.2, 4, False),
        (0.3, 0.6, 6, False),
        (0.3, 0.0, 3, True),
        (0.0, 0.1, 8, False),
        (1.0, 0.0, 8, False),
        (0.4, 0.3, 1, True),
    ]
    for k, (iou, threshold, max_boxes, per_class) in enumerate(settings):
        for dtype in ("float32", "float16"):
            for images, count, classes in ((1, 6, 1), (2, 7, 3)):
                rng = seeded("nms", k, images)
                boxes = np.concatenate(
                    [rng.integers(0, 12, (images, count, 2)) / 4, rng.integers(4, 10, (images, count, 2)) / 4], -1
                ).astype(dtype)
                scores = (
                    ((rng.permutation(images * count * classes) + 1) / (images * count * classes + 1))
                    .reshape(images, count, classes)
                    .astype(dtype)
                )
                t = np.dtype(dtype).type
                padded = "padding: boxes and scores 0, index -1"
                out = expected(boxes, scores, float(t(iou)), float(t(threshold)), max_boxes, per_class)
                inputs = {
                    "boxes": In(boxes),
                    "scores": In(scores),
                    "iou_threshold": t(iou),
                    "score_threshold": t(threshold),
                    "max_boxes": np.int32(max_boxes),
                    "per_class_suppression": per_class,
                }
                suite.op("non_maximum_suppression", 15, f"{dtype}_{images}", inputs, list(out), rtol=0, reading=padded)
                out = expected(boxes, scores, float(t(iou)), None, max_boxes, per_class)
                inputs = {
                    "boxes": In(np.ascontiguousarray(boxes.transpose(0, 2, 1))),
                    "scores": In(np.ascontiguousarray(scores.transpose(0, 2, 1))),
                    "iou_threshold": t(iou),
                    "max_boxes": np.int32(max_boxes),
                    "per_class_suppression": per_class,
                }
                suite.op(
                    "non_maximum_suppression",
                    17,
                    f"{dtype}_{images}",
                    inputs,
                    [out[0].transpose(0, 2, 1), out[1].transpose(0, 2, 1), out[2]],
                    rtol=0,
                    reading=padded,
                )
    boxes = np.array([[[1, 1, 2, 2], [5, 5, 2, 2], [9, 9, 2, 2]]], "float32")
    scores = np.array([[[0.1], [0.3], [0.2]]], "float32")
    out = expected(boxes, scores, 0.5, 0.9, 2, False)
    inputs = {
        "boxes": In(boxes),
        "scores": In(scores),
        "iou_threshold": np.float32(0.5),
        "score_threshold": np.float32(0.9),
        "max_boxes": np.int32(2),
    }
    suite.op(
        "non_maximum_suppression",
        15,
        "none_survives",
        inputs,
        list(out),
        rtol=0,
        reading="if no box survives, the best one is returned and counts 1",
    )
