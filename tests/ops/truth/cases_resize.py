"""Image resizing, cropping and sampling."""

import itertools

import numpy as np

import second_opinion
from harness import In, class_versions, narrow, random_array, seeded, wide

MODES = ["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"]
ONNX_MODES = {"STRICT_ALIGN_CORNERS": "align_corners", "DEFAULT": "asymmetric", "UNALIGN_CORNERS": "half_pixel"}


def grid(mode, last, count):
    """`count` positions on [0, last], where last + 1 is the number of input samples."""
    i = np.arange(count, dtype=np.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if count == 1:
            return np.array([0.0 if mode.startswith("STRICT") else last / 2])
        return i * last / (count - 1)
    if mode == "DEFAULT":
        return i * (last + 1) / count
    if mode == "OFFSET_CORNERS":
        return (i + 0.5) * max(1, last) / count
    return (i + 0.5) * (last + 1) / count - 0.5


def linear_along(x, axis, positions):
    last = x.shape[axis] - 1
    p = np.clip(positions, 0, last)
    low = np.floor(p).astype(int)
    high = np.minimum(low + 1, last)
    weight = (p - low).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return np.take(x, low, axis) * (1 - weight) + np.take(x, high, axis) * weight


def linear(x, sizes, mode):
    out = wide(x)
    for k, size in enumerate(sizes):
        axis = x.ndim - len(sizes) + k
        out = linear_along(out, axis, grid(mode, x.shape[axis] - 1, size))
    return out


def nearest(x, sizes, half_pixel):
    out = x
    for k, size in enumerate(sizes):
        axis = x.ndim - len(sizes) + k
        n = x.shape[axis]
        index = ((2 * np.arange(size) + 1) * n // (2 * size)) if half_pixel else np.arange(size) * n // size
        out = np.take(out, index, axis)
    return out


def confirm_linear(suite, x, sizes, mode, want):
    if (
        x.dtype != np.float32
        or mode not in ONNX_MODES
        or x.ndim != 4
        or len(sizes) != 2
        or (mode.startswith("STRICT") and 1 in sizes)
    ):
        return None
    got = second_opinion.run(
        "Resize",
        [x, None, None, np.array([*x.shape[:2], *sizes], "int64")],
        mode="linear",
        coordinate_transformation_mode=ONNX_MODES[mode],
    )
    return second_opinion.confirm(suite, f"resize {mode} {x.shape} {sizes}", want, got and got[0])


SIZES = [
    ((1, 2, 3, 4), (5, 2)),
    ((1, 1, 2, 2), (5, 6)),
    ((2, 3, 4), (4, 8)),
    ((1, 1, 4, 3), (1, 1)),
    ((1, 2, 1, 5), (3, 10)),
    ((2, 1, 4, 4), (2, 3)),
]


def resize_ops(suite):
    for dtype in ("float16", "float32"):
        for k, (shape, (h, w)) in enumerate(SIZES):
            x = random_array(seeded("resize", k, dtype), shape, dtype)
            for mode in MODES + [None] if dtype == "float32" else [MODES[k % 5]]:
                want = linear(x, (h, w), mode or "DEFAULT")
                source = confirm_linear(suite, x, (h, w), mode or "DEFAULT", want)
                inputs = {
                    "x": In(x, (None,) + shape[1:] if k == 5 else None),
                    "target_size_height": np.int32(h),
                    "target_size_width": np.int32(w),
                }
                if mode:
                    inputs["sampling_mode"] = mode
                suite.op(
                    "resize_bilinear",
                    15,
                    f"{dtype}_{(mode or 'default').lower()}",
                    inputs,
                    narrow(want, dtype),
                    accumulate=True,
                    source=source,
                )
                shape_input = np.array([h, w], ("int32", "int16", "uint16", "uint32")[k % 4])
                inputs = {
                    "x": In(x),
                    "shape": shape_input,
                    "resized_dims": np.uint32(2),
                    **({"sampling_mode": mode, "interpolation_mode": "LINEAR"} if mode else {}),
                }
                suite.op(
                    "resize",
                    17,
                    f"{dtype}_{(mode or 'default').lower()}",
                    inputs,
                    narrow(want, dtype),
                    accumulate=True,
                    source=source,
                )
            inputs = {"x": In(x), "target_size_height": np.int32(h), "target_size_width": np.int32(w)}
            exact = h % shape[-2] == 0 and w % shape[-1] == 0
            suite.op(
                "resize_nearest_neighbor",
                15,
                f"{dtype}_{k}",
                inputs,
                nearest(x, (h, w), True),
                rtol=0,
                reading="" if exact else "index floor((i+0.5)*X/N), as TensorFlow's half-pixel nearest",
            )
    for k, (shape, target, dims) in enumerate(
        [
            ((2, 3), [4], 1),
            ((2, 3), [4, 6], 2),
            ((2, 2, 3), [3, 0, 6], 3),
            ((1, 2, 3, 2), [9, 9, 6, 4], 2),
            ((1, 2, 2, 2, 2), [4, 3, 5], 3),
            ((3,), [5], 1),
            ((2, 3), [0, 5], 2),
        ]
    ):
        sizes = [t or n for t, n in zip(target[-dims:], shape[-dims:])]
        for dtype in ("float16", "float32", "int32"):
            x = random_array(seeded("resize nd", k, dtype), shape, dtype)
            inputs = {"x": In(x), "shape": np.array(target, "int32"), "resized_dims": np.uint32(dims)}
            suite.op(
                "resize",
                17,
                f"{dtype}_nearest_{k}",
                {**inputs, "interpolation_mode": "NEAREST_NEIGHBOR"},
                nearest(x, sizes, True),
                rtol=0,
                reading="NEAREST_NEIGHBOR with DEFAULT takes floor((i+0.5)*X/N)",
            )
            if dtype != "int32":
                mode = MODES[k % 5]
                suite.op(
                    "resize",
                    17,
                    f"{dtype}_linear_{k}",
                    {**inputs, "sampling_mode": mode},
                    narrow(linear(x, sizes, mode), dtype),
                    accumulate=True,
                    reading="entry 0 of shape keeps the dim" if 0 in target else "",
                )
    x = np.array([[1.0], [2.0]], "float32")
    suite.op(
        "resize",
        17,
        "vector_nearest",
        {
            "x": In(x),
            "shape": np.array([3, 1], "int32"),
            "resized_dims": np.uint32(2),
            "interpolation_mode": "NEAREST_NEIGHBOR",
        },
        np.array([[1.0], [2.0], [2.0]], "float32"),
        rtol=0,
        source="fact sheet vector",
        reading="NEAREST_NEIGHBOR with DEFAULT: column [a, b] to 3 gives [a, b, b]",
    )
    grids = {
        "STRICT_ALIGN_CORNERS": ([0, 0.25, 0.5, 0.75, 1], [0, 0.2, 0.4, 0.6, 0.8, 1]),
        "ALIGN_CORNERS": ([0, 0.25, 0.5, 0.75, 1], [0, 0.2, 0.4, 0.6, 0.8, 1]),
        "DEFAULT": ([0, 0.4, 0.8, 1, 1], [0, 1 / 3, 2 / 3, 1, 1, 1]),
        "OFFSET_CORNERS": ([0.1, 0.3, 0.5, 0.7, 0.9], [1 / 12, 0.25, 5 / 12, 7 / 12, 0.75, 11 / 12]),
        "UNALIGN_CORNERS": ([0, 0.1, 0.5, 0.9, 1], [0, 0, 1 / 3, 2 / 3, 1, 1]),
    }
    ramp = np.array([[[0.0, 1.0]]], "float32")
    for mode, rows in grids.items():
        for row in rows:
            want = np.array(row, "float32").reshape(1, 1, -1)
            suite.op(
                "resize_bilinear",
                15,
                f"vector_{mode.lower()}",
                {
                    "x": In(ramp),
                    "target_size_height": np.int32(1),
                    "target_size_width": np.int32(len(row)),
                    "sampling_mode": mode,
                },
                want,
                source="fact sheet vector",
                accumulate=True,
            )
    empty = np.zeros((0, 2, 3, 3), "float32")
    suite.op(
        "resize_bilinear",
        15,
        "empty",
        {"x": In(empty), "target_size_height": np.int32(2), "target_size_width": np.int32(5)},
        np.zeros((0, 2, 2, 5), "float32"),
    )


def upsample(suite):
    for dtype in ("float16", "float32"):
        for k, (shape, fh, fw) in enumerate(
            [
                ((1, 2, 2, 3), np.int32(2), np.int32(3)),
                ((1, 1, 3, 2), np.float32(1.5), np.float32(2.5)),
                ((2, 2, 4), np.int32(1), np.int32(2)),
                ((1, 1, 4, 5), np.float32(0.5), np.float32(0.67)),
            ]
        ):
            x = random_array(seeded("upsample", k, dtype), shape, dtype)
            sizes = (int(np.floor(shape[-2] * fh)), int(np.floor(shape[-1] * fw)))
            inputs = {"x": In(x), "scale_factor_height": fh, "scale_factor_width": fw}
            suite.op(
                "upsample_nearest_neighbor",
                15,
                f"{dtype}_{k}",
                inputs,
                nearest(x, sizes, False),
                rtol=0,
                reading="index floor(i*X/N)",
            )
            for opset, align, half in (
                (15, True, None),
                (15, False, None),
                (15, None, None),
                (16, True, None),
                (16, False, True),
                (16, False, False),
                (16, None, None),
                (16, True, False),
                (16, False, None),
            ):
                mode = (
                    "STRICT_ALIGN_CORNERS"
                    if align in (True, None)
                    else "DEFAULT" if half is False else "UNALIGN_CORNERS"
                )
                given = dict(inputs)
                if align is not None:
                    given["align_corners"] = align
                if half is not None:
                    given["half_pixel_centers"] = half
                want = linear(x, sizes, mode)
                suite.op(
                    "upsample_bilinear",
                    opset,
                    f"{dtype}_{k}",
                    given,
                    narrow(want, dtype),
                    accumulate=True,
                    source=confirm_linear(suite, x, sizes, mode, want),
                    reading=(
                        "align_corners false, half_pixel_centers false: grid i*X/N"
                        if half is False and not align
                        else ""
                    ),
                )
    row = np.array([[[1.0, 2.0]]], "float32")
    suite.op(
        "upsample_bilinear",
        16,
        "vector",
        {"x": In(row), "scale_factor_width": np.int32(3), "align_corners": False, "half_pixel_centers": False},
        np.array([[[1, 4 / 3, 5 / 3, 2, 2, 2]]], "float32"),
        source="fact sheet vector",
        reading="both flags false: grid i*X/N",
    )
    row = np.array([[[1.5, -2.5, 3.5]]], "float32")
    for factor, want in ((0.67, [1.5, -2.5]), (1.12, [1.5, -2.5, 3.5])):
        suite.op(
            "upsample_nearest_neighbor",
            15,
            "vector",
            {"x": In(row), "scale_factor_width": np.float32(factor)},
            np.array([[want]], "float32"),
            rtol=0,
            source="fact sheet vector",
            reading="index floor(i*X/N) with the recomputed N",
        )
    suite.error(
        "upsample_bilinear",
        16,
        "both_flags",
        {"x": In(row), "scale_factor_width": np.int32(2), "align_corners": True, "half_pixel_centers": True},
        [((1, 1, 6), "float32")],
    )


def sample_inside(plane, y, x):
    """Bilinear inside the image."""
    h, w = plane.shape[-2:]
    y0, x0 = int(np.floor(y)), int(np.floor(x))
    y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
    fy, fx = y - y0, x - x0
    return (
        plane[..., y0, x0] * (1 - fy) * (1 - fx)
        + plane[..., y0, x1] * (1 - fy) * fx
        + plane[..., y1, x0] * fy * (1 - fx)
        + plane[..., y1, x1] * fy * fx
    )


def crop_one(image, box, h, w, mode, normalized, scale, layout, pad_value):
    """image [C, H, W], box of 4 numbers; pad_value None clamps to the image."""
    a, b, c, d = [float(v) for v in box]
    if "WIDTH" in layout:
        a, b, c, d = b, a, d, c
    if layout.startswith("CENTER"):
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    last_h, last_w = image.shape[1] - 1, image.shape[2] - 1
    if normalized:
        a, c, b, d = a * last_h, c * last_h, b * last_w, d * last_w
    a, b, c, d = a * scale, b * scale, c * scale, d * scale
    rows, columns = a + grid(mode, c - a, h), b + grid(mode, d - b, w)
    out = np.zeros((image.shape[0], h, w))
    for i, j in itertools.product(range(h), range(w)):
        y, x = rows[i], columns[j]
        outside = y < -1e-9 or x < -1e-9 or y > last_h + 1e-9 or x > last_w + 1e-9
        if outside and pad_value is not None:
            out[:, i, j] = pad_value
        else:
            out[:, i, j] = sample_inside(wide(image), min(max(y, 0), last_h), min(max(x, 0), last_w))
    return out


LAYOUTS = {
    "CORNERS_HEIGHT_FIRST": [0.5, 1.0, 3.0, 2.5],
    "CORNERS_WIDTH_FIRST": [1.0, 0.5, 2.5, 3.0],
    "CENTER_SIZE_HEIGHT_FIRST": [1.75, 1.75, 2.5, 1.5],
    "CENTER_SIZE_WIDTH_FIRST": [1.75, 1.75, 1.5, 2.5],
}


def crop_resize_settings():
    for layout, box in LAYOUTS.items():
        yield layout, box, 2, 3, "ALIGN_CORNERS", False, 1.0, (
            "boxes given by the centre span half the size on each side" if "CENTER" in layout else ""
        )
    for mode in MODES:
        certain = "ALIGN_CORNERS" in mode and not mode.startswith("UN")
        yield "CORNERS_HEIGHT_FIRST", [0.0, 1.0, 3.0, 3.0], 2, 2, mode, False, 1.0, (
            "" if certain else "the grid table with X-1 = end-start"
        )
    yield "CORNERS_HEIGHT_FIRST", [0.1, 0.2, 0.9, 0.7], 3, 2, "STRICT_ALIGN_CORNERS", True, 1.0, ""
    yield "CORNERS_HEIGHT_FIRST", [
        1.0,
        0.0,
        6.0,
        4.0,
    ], 2, 2, "ALIGN_CORNERS", False, 0.5, "spatial_scale multiplies the coordinates"
    yield "CORNERS_HEIGHT_FIRST", [
        3.0,
        2.0,
        1.0,
        0.0,
    ], 2, 2, "STRICT_ALIGN_CORNERS", False, 1.0, "end before start flips"
    yield "CORNERS_HEIGHT_FIRST", [1.0, 1.0, 2.0, 2.0], 1, 1, "ALIGN_CORNERS", False, 1.0, "one sample: the middle"
    yield "CORNERS_HEIGHT_FIRST", [
        1.0,
        1.0,
        2.0,
        2.0,
    ], 1, 1, "STRICT_ALIGN_CORNERS", False, 1.0, "one sample: the start"


def crops(suite):
    for shape, ch, cw in (((1, 2, 4, 5), [1, 1], [0, 2]), ((3, 4, 4), [0, 0], [1, 0]), ((4, 5), [2, 1], [1, 3])):
        for dtype in ("float16", "float32"):
            x = random_array(seeded("crop", shape), shape, dtype)
            want = x[..., ch[0] : shape[-2] - ch[1], cw[0] : shape[-1] - cw[1]]
            (suite.op if len(shape) > 2 else suite.raw)(
                "crop",
                15,
                dtype,
                {"x": In(x), "crop_height": np.array(ch, "int32"), "crop_width": np.array(cw, "int32")},
                want,
                rtol=0,
            )
    for dtype in ("float16", "float32"):
        t = np.dtype(dtype)
        images = random_array(seeded("crop_resize", dtype), (2, 2, 4, 4), dtype)
        settings = list(crop_resize_settings())
        for layout, box, h, w, mode, normalized, scale, reading in settings if dtype == "float32" else settings[::3]:
            options = {
                "target_height": np.int32(h),
                "target_width": np.int32(w),
                "normalized_coordinates": normalized,
                "spatial_scale": np.float32(scale),
                "box_coordinate_mode": layout,
                "sampling_mode": mode,
            }
            box = np.array(box, t)
            for opset in (15, 16, 17):
                one = crop_one
                if opset < 17:
                    roi = np.stack([box, box]).reshape(2, 1, 4, 1, 1)
                    want = np.stack(
                        [[one(image, box, h, w, mode, normalized, scale, layout, None) for image in images]] * 2
                    )
                    suite.op(
                        "crop_resize",
                        opset,
                        f"{dtype}_{mode.lower()}",
                        {"x": In(images), "roi": In(roi), **options},
                        narrow(want, dtype),
                        accumulate=True,
                        reading=reading,
                    )
                    roi = np.concatenate([np.array([[1], [0], [1]], t), np.stack([box] * 3)], 1).reshape(3, 1, 5, 1, 1)
                    want = np.stack(
                        [[one(images[k], box, h, w, mode, normalized, scale, layout, None)] for k in (1, 0, 1)]
                    )
                    suite.raw(
                        "crop_resize",
                        opset,
                        f"{dtype}_indexed",
                        {"x": In(images), "roi": In(roi), **options},
                        narrow(want, dtype),
                        accumulate=True,
                        reading="roi with 5 values: the image index first, result [N,1,C,h,w]",
                    )
                else:
                    boxes = np.stack([box] * 3)
                    want = np.stack(
                        [one(images[k], box, h, w, mode, normalized, scale, layout, 0.0) for k in (1, 0, 1)]
                    )
                    suite.op(
                        "crop_resize",
                        17,
                        f"{dtype}_{mode.lower()}",
                        {
                            "x": In(images),
                            "boxes": In(boxes),
                            "box_indices": In(np.array([1, 0, 1], "int32" if h == 2 else "uint16")),
                            **options,
                        },
                        narrow(want, dtype),
                        accumulate=True,
                        reading=reading,
                    )
                    suite.op(
                        "crop_resize",
                        17,
                        f"{dtype}_default_indices",
                        {"x": In(images), "boxes": In(boxes[:2]), **options},
                        narrow(want[1::-1], dtype),
                        accumulate=True,
                        reading="box_indices default to 0, 1, ...",
                    )
    image = np.arange(1, 17, dtype="float32").reshape(1, 1, 4, 4)
    for box, h, want in (
        ([1, 1, 2, 2], 2, [6, 7, 10, 11]),
        ([1, 1, 2, 2], 1, [8.5]),
        ([2, 2, 1, 1], 2, [11, 10, 7, 6]),
    ):
        roi = np.array(box, "float32").reshape(1, 1, 4, 1, 1)
        options = {"target_height": np.int32(h), "target_width": np.int32(h), "sampling_mode": "ALIGN_CORNERS"}
        for opset in (15, 16):
            suite.op(
                "crop_resize",
                opset,
                "vector",
                {"x": In(image), "roi": In(roi), **options},
                np.array(want, "float32").reshape(1, 1, 1, h, h),
                source="fact sheet vector",
            )
        suite.op(
            "crop_resize",
            17,
            "vector",
            {"x": In(image), "boxes": In(roi.reshape(1, 4)), **options},
            np.array(want, "float32").reshape(1, 1, h, h),
            source="fact sheet vector",
        )
        suite.op(
            "crop_resize",
            17,
            "vector_u16",
            {"x": In(image), "boxes": In(roi.reshape(1, 4).astype("uint16")), **options},
            np.array(want, "float32").reshape(1, 1, h, h),
            source="fact sheet vector",
        )
    outside = -3.5
    for box, want in (
        ([0.1, 0.3, 1.3, 1.0], [3.1, 5.2, outside, outside]),
        ([0.5, 1.8, 1.0, 0.3], [outside, 7.9, outside, 13.9]),
        ([0, 0.4, 0.6, 0.7], [2.2, 3.1, 9.4, 10.3]),
    ):
        options = {
            "target_height": np.int32(2),
            "target_width": np.int32(2),
            "sampling_mode": "ALIGN_CORNERS",
            "normalized_coordinates": True,
            "pad_value": np.float32(outside),
        }
        box = np.array(box, "float32")
        suite.op(
            "crop_resize",
            16,
            "vector_padded",
            {"x": In(image), "roi": In(box.reshape(1, 1, 4, 1, 1)), **options},
            np.array(want, "float32").reshape(1, 1, 1, 2, 2),
            source="fact sheet vector",
            reading="a grid point outside the image is pad_value whole",
            accumulate=True,
        )
        suite.op(
            "crop_resize",
            17,
            "vector_padded",
            {"x": In(image), "boxes": In(box.reshape(1, 4)), **options},
            np.array(want, "float32").reshape(1, 1, 2, 2),
            source="fact sheet vector",
            reading="a grid point outside the image is pad_value whole",
            accumulate=True,
        )


def mirror(p, low, high):
    """Reflects p into [low, high]."""
    span = high - low
    if span == 0:
        return low
    offset = abs(p - low) % (2 * span)
    return low + (2 * span - offset if offset > span else offset)


def place(p, size, padding):
    if padding == "border":
        return min(max(p, 0), size - 1)
    if padding == "reflection":
        return mirror(p, 0, size - 1)
    if padding == "symmetric":
        return min(max(mirror(p, -0.5, size - 0.5), 0), size - 1)
    return p


def pixel(c, size, mode, align):
    if mode == "unnormalized":
        return c
    if mode == "normalized_minus_one_to_one":
        return (c + 1) / 2 * (size - 1) if align else ((c + 1) * size - 1) / 2
    return c * (size - 1) if align else c * size - 0.5


def resample_value(x, coordinates, sampling, padding, pad_value, mode, align):
    v, c = wide(x), wide(coordinates)
    batch, channels, h, w = v.shape
    out = np.zeros((batch, channels, *c.shape[1:3]))
    for n, i, j in itertools.product(range(batch), range(c.shape[1]), range(c.shape[2])):
        px = place(pixel(c[n, i, j, 0], w, mode, align), w, padding)
        py = place(pixel(c[n, i, j, 1], h, mode, align), h, padding)

        def tap(y, x_):
            return v[n, :, y, x_] if 0 <= y < h and 0 <= x_ < w else np.full(channels, pad_value)

        if sampling == "nearest":
            out[n, :, i, j] = tap(int(np.round(py)), int(np.round(px)))
        else:
            y0, x0 = int(np.floor(py)), int(np.floor(px))
            fy, fx = py - y0, px - x0
            for dy, dx in itertools.product((0, 1), (0, 1)):
                weight = (fy if dy else 1 - fy) * (fx if dx else 1 - fx)
                if weight:
                    out[n, :, i, j] += weight * tap(y0 + dy, x0 + dx)
    return out


IMAGE = np.array([[11, 22], [33, 44]], "float32").reshape(1, 1, 2, 2)


def resample(suite):
    spread = {
        "unnormalized": (-2.3, 5.7),
        "normalized_minus_one_to_one": (-1.7, 1.6),
        "normalized_zero_to_one": (-0.4, 1.3),
    }
    for k, (sampling, padding, mode, align) in enumerate(
        itertools.product(
            ("bilinear", "nearest"), ("constant", "border", "reflection", "symmetric"), spread, (True, False)
        )
    ):
        for dtype in ("float32", "float16") if k % 3 == 0 else ("float32",):
            rng = seeded("resample", k)
            x = random_array(rng, (2, 2, 3, 4), dtype)
            coordinates = np.round(rng.uniform(*spread[mode], (2, 2, 3, 2)) * 64) / 64 + 1 / 256
            coordinates = coordinates.astype("float32")
            pad_value = np.dtype(dtype).type(6.25 if padding == "constant" else 0)
            want = resample_value(x, coordinates, sampling, padding, float(pad_value), mode, align)
            source = None
            if (
                dtype == "float32"
                and mode == "normalized_minus_one_to_one"
                and padding != "symmetric"
                and not (padding == "reflection" and not align)
            ):
                got = second_opinion.run(
                    "GridSample",
                    [x, coordinates],
                    opset=16,
                    mode=sampling,
                    align_corners=int(align),
                    padding_mode={"constant": "zeros"}.get(padding, padding),
                )
                blank = resample_value(x, coordinates, sampling, padding, 0.0, mode, align)
                source = second_opinion.confirm(
                    suite, f"resample {sampling} {padding} align={align}", blank, got and got[0]
                )
            for opset in (
                [class_versions("resample")[k % 3]] if dtype == "float16" or k % 4 else class_versions("resample")
            ):
                c = coordinates
                reading = "pixel positions by PyTorch's grid_sample formulas"
                if opset >= 16 and k % 4 == 1 and mode == "unnormalized":
                    c = np.round(coordinates).astype("float16")
                options = {
                    "sampling_mode": sampling,
                    "padding_mode": padding,
                    "padding_value": pad_value,
                    "coordinates_mode": mode,
                    "align_corners": align,
                }
                value = (
                    want if c is coordinates else resample_value(x, c, sampling, padding, float(pad_value), mode, align)
                )
                suite.op(
                    "resample",
                    opset,
                    f"{dtype}_{sampling}_{padding}",
                    {"x": In(x), "coordinates": In(c), **options},
                    narrow(value, dtype),
                    accumulate=True,
                    source=source,
                    reading=reading,
                )
    points = np.array([[-1, -2], [-3.7, -1], [0, 0], [3.5, 1.2]], "float32").reshape(1, 2, 2, 2)
    vectors = [
        ("bilinear", "constant", 6.17, "normalized_minus_one_to_one", True, [8.585, 6.17, 27.5, 6.17]),
        ("nearest", "border", 0, "unnormalized", False, [11, 11, 11, 44]),
        ("bilinear", "reflection", 0, "normalized_zero_to_one", True, [22, 36.3, 11, 34.1]),
        ("nearest", "symmetric", 0, "normalized_zero_to_one", False, [22, 33, 11, 33]),
    ]
    for sampling, padding, value, mode, align, want in vectors:
        for opset in class_versions("resample"):
            inputs = {
                "x": In(IMAGE),
                "coordinates": In(points),
                "sampling_mode": sampling,
                "padding_mode": padding,
                "padding_value": np.float32(value),
                "coordinates_mode": mode,
                "align_corners": align,
            }
            suite.op(
                "resample",
                opset,
                "vector",
                inputs,
                np.array(want, "float32").reshape(1, 1, 2, 2),
                source="fact sheet vector",
                rtol=2e-5,
            )
    integers = np.array([[0, 0], [1, 1], [-1, 0], [3, 1]], "int32").reshape(1, 1, 4, 2)
    for opset, dtype in ((15, "int32"), (16, "int32"), (17, "int8"), (17, "int16"), (17, "int32")):
        inputs = {
            "x": In(IMAGE),
            "coordinates": In(integers.astype(dtype)),
            "sampling_mode": "nearest",
            "padding_mode": "constant",
            "padding_value": np.float32(-1),
            "coordinates_mode": "unnormalized",
            "align_corners": True,
        }
        suite.op(
            "resample", opset, f"{dtype}_coordinates", inputs, np.array([11, 44, -1, -1], "float32").reshape(1, 1, 1, 4)
        )


def affine(suite):
    def options(h, w):
        return {
            "output_height": np.int32(h),
            "output_width": np.int32(w),
            "sampling_mode": "bilinear",
            "padding_mode": "constant",
            "coordinates_mode": "normalized_minus_one_to_one",
            "align_corners": True,
        }

    matrix = np.array([[-1, -2, -3.7, -1, 3.5, 1.2]], "float32")
    for h, w, want in (
        (3, 3, [10.7525, 2.5025, 0, 1.98, 0, 0, 0, 0, 0]),
        (2, 5, [10.7525, 5.94, 2.5025, 0.44, 0, 0, 0, 0, 0, 0]),
    ):
        suite.op(
            "affine",
            15,
            "vector",
            {"x": In(IMAGE), "transform_matrix": In(matrix), "padding_value": np.float32(0), **options(h, w)},
            np.array(want, "float32").reshape(1, 1, h, w),
            source="fact sheet vector",
            rtol=1e-4,
            accumulate=True,
        )
    for k, (batch, h, w) in enumerate(((2, 3, 4), (1, 2, 2), (2, 4, 3))):
        for dtype in ("float16", "float32"):
            rng = seeded("affine", k, dtype)
            x = random_array(rng, (2, 2, 3, 4), dtype)
            m = random_array(rng, (batch, 6), dtype, -0.9, 0.9)
            full = np.broadcast_to(wide(m), (2, 6))
            xs, ys = np.meshgrid(np.linspace(-1, 1, w), np.linspace(-1, 1, h))
            c = np.stack([np.stack([a[0] * xs + a[1] * ys + a[2], a[3] * xs + a[4] * ys + a[5]], -1) for a in full])
            want = resample_value(x, c, "bilinear", "constant", 0.0, "normalized_minus_one_to_one", True)
            suite.op(
                "affine",
                15,
                dtype,
                {"x": In(x), "transform_matrix": In(m), "padding_value": np.dtype(dtype).type(0), **options(h, w)},
                narrow(want, dtype),
                rtol=1e-4,
                accumulate=True,
            )


def add(suite):
    resize_ops(suite)
    upsample(suite)
    crops(suite)
    resample(suite)
    affine(suite)
