"""Ops that move elements: shapes, slices, permutations, spatial blocks."""

import numpy as np

from harness import In, class_versions, dtypes_of, random_array, seeded


def indices_dtype(opset, k, small=("int32", "int16", "int8")):
    return small[k % len(small)] if opset >= 17 else "int32"


def data_dtypes(op, opset, k):
    """Every dtype for the first case of an op version, then by turns."""
    names = dtypes_of(op, opset, "x")
    return names if k == 0 else [names[k % len(names)], "float32"][: 2 if names[k % len(names)] != "float32" else 1]


def axes_ops(suite):
    expand = [
        ((2, 3), [0]),
        ((2, 3), [-1]),
        ((2, 3), [1, 3]),
        ((), [0]),
        ((), [0, 1]),
        ((3,), [-1, 0]),
        ((0, 2), [1]),
        ((2,), [3, 0, -3]),
        ((2, 1, 3), [2, -1]),
    ]
    squeeze = [
        ((1, 2, 1), None),
        ((1, 2, 1), [0]),
        ((1, 2, 1), [-1]),
        ((1, 2, 1), [2, 0]),
        ((1, 1), [0, 1]),
        ((1, 0, 1), [0]),
        ((2, 3), None),
        ((1,), [0]),
    ]
    for opset in class_versions("expand_dims"):
        for k, (shape, axes) in enumerate(expand):
            for dtype in data_dtypes("expand_dims", opset, k):
                x = random_array(seeded("expand", k, dtype), shape, dtype)
                want = np.expand_dims(x, tuple(axes))
                suite.op(
                    "expand_dims",
                    opset,
                    f"{dtype}_{k}",
                    {"x": In(x, (None,) + shape[1:] if k == 1 else None), "axes": np.array(axes, "int32")},
                    want,
                    rtol=0,
                )
        suite.error(
            "expand_dims",
            opset,
            "axis_out_of_range",
            {"x": In(np.ones((2, 3), "float32")), "axes": np.array([4], "int32")},
            [((2, 3, 1), "float32")],
        )
    for opset in class_versions("squeeze"):
        for k, (shape, axes) in enumerate(squeeze):
            for dtype in data_dtypes("squeeze", opset, k):
                x = random_array(seeded("squeeze", k, dtype), shape, dtype)
                inputs = {"x": In(x)} if axes is None else {"x": In(x), "axes": np.array(axes, "int32")}
                suite.op(
                    "squeeze",
                    opset,
                    f"{dtype}_{k}",
                    inputs,
                    np.squeeze(x, None if axes is None else tuple(axes)),
                    rtol=0,
                    fold=x.size > 1,
                )
        x = np.arange(6, dtype="float32").reshape(1, 2, 3)
        suite.raw(
            "squeeze",
            opset,
            "other_sizes_left_alone",
            {"x": In(x), "axes": np.array([0, 1], "int32")},
            x[0],
            rtol=0,
            source="fact sheet",
            reading="listed dims that are not 1 are left alone",
        )
    for opset in class_versions("transpose"):
        for k, (shape, perm) in enumerate(
            [
                ((2, 3), [1, 0]),
                ((2, 3, 4), [2, 0, 1]),
                ((2, 3, 4), [-1, 0, -2]),
                ((3,), [0]),
                ((2, 0, 3), [2, 1, 0]),
                ((1, 2, 3, 2), [0, 2, 3, 1]),
                ((2, 1, 2, 1, 3), [4, 3, 2, 1, 0]),
                ((2, 3, 4), [0, 1, 2]),
            ]
        ):
            for dtype in data_dtypes("transpose", opset, k):
                x = random_array(seeded("transpose", k, dtype), shape, dtype)
                dims = tuple(None for _ in shape) if k in (1, 5) else None
                suite.op(
                    "transpose",
                    opset,
                    f"{dtype}_{k}",
                    {"x": In(x, dims), "perm": np.array(perm, "int32")},
                    np.transpose(x, perm),
                    rtol=0,
                )
        suite.error(
            "transpose",
            opset,
            "perm_repeats",
            {"x": In(np.ones((2, 2), "float32")), "perm": np.array([0, 0], "int32")},
            [((2, 2), "float32")],
        )
    for opset in class_versions("reverse"):
        for k, (shape, axes) in enumerate(
            [
                ((4,), [0]),
                ((2, 3), None),
                ((2, 3), [1]),
                ((2, 3), [-2]),
                ((2, 3, 4), [0, 2]),
                ((0, 3), [0]),
                ((2, 1, 2, 1, 2), [-1, -3]),
            ]
        ):
            for dtype in data_dtypes("reverse", opset, k):
                x = random_array(seeded("reverse", k, dtype), shape, dtype)
                inputs = {"x": In(x, (None,) + shape[1:] if k == 2 else None)}
                if axes is not None:
                    inputs["axes"] = np.array(axes, "int32")
                suite.op(
                    "reverse", opset, f"{dtype}_{k}", inputs, np.flip(x, None if axes is None else tuple(axes)), rtol=0
                )
    for opset in class_versions("reverse_sequence"):
        for k, (shape, lengths, seq, batch) in enumerate(
            [
                ((2, 4), [3, 1], 1, 0),
                ((4, 2), [0, 4], 0, 1),
                ((2, 3, 4), [4, 2], -1, 0),
                ((2, 3, 4), [1, 2, 2], 0, 1),
                ((1, 8), [7], 1, 0),
            ]
        ):
            for dtype in data_dtypes("reverse_sequence", opset, k):
                x = random_array(seeded("revseq", k, dtype), shape, dtype)
                if k == 4:
                    x = np.array([[1, 2, 3, 4, 5, 0, 0, 0]], dtype) if dtype != "bool" else x
                want = x.copy()
                for b, n in enumerate(lengths):
                    rows, out = np.moveaxis(x, (batch, seq), (0, 1))[b], np.moveaxis(want, (batch, seq), (0, 1))[b]
                    out[:n] = rows[:n][::-1]
                inputs = {
                    "x": In(x),
                    "lengths": In(np.array(lengths, indices_dtype(opset, k))),
                    "seq_axis": np.int32(seq),
                    "batch_axis": np.int32(batch),
                }
                suite.op("reverse_sequence", opset, f"{dtype}_{k}", inputs, want, rtol=0, fold=False)


def reshape(suite):
    before17 = [
        ((2, 6), [3, 4], (3, 4)),
        ((2, 6), [-1], (12,)),
        ((2, 6), [0, 2, -1], None),
        ((2, 6), [0, -1], (2, 6)),
        ((4, 3), [2, 0], None),
        ((2, 3, 4), [0, -1, 2], (2, 6, 2)),
        ((1,), [], ()),
        ((), [1, 1], (1, 1)),
        ((0, 3), [3, 0, 2], None),
        ((2, 3, 4), [4, 0, -1], (4, 3, 2)),
        ((6,), [1, 2, 1, 3, 1], (1, 2, 1, 3, 1)),
    ]
    for k, (shape, target, want) in enumerate(before17):
        if want is None:
            continue
        for dtype in data_dtypes("reshape", 15, k):
            x = random_array(seeded("reshape", k, dtype), shape, dtype)
            suite.op(
                "reshape",
                15,
                f"{dtype}_{k}",
                {"x": In(x), "shape": np.array(target, "int32")},
                x.reshape(want),
                rtol=0,
                fold=len(want) > 0,
                reading="0 copies the dim of the same index" if 0 in target else "",
            )
    for k, (shape, target, want) in enumerate(
        [
            ((2, 6), [3, 4], (3, 4)),
            ((2, 50), [1, 0, -1, 0], (1, 1, 2, 50)),
            ((2, 6), [-1], (12,)),
            ((2, 3, 4), [-1, 0, 0], (2, 3, 4)),
            ((2, 3, 4), [0, -1], (3, 8)),
            ((6, 2), [3, -1, 0], (3, 2, 2)),
            ((1,), [], ()),
            ((2, 6), [2, 2, -1], (2, 2, 3)),
            ((3,), [0, 0, -1], None),
            ((5,), [0, 0], (1, 5)),
        ]
    ):
        if want is None:
            continue
        for dtype in data_dtypes("reshape", 17, k):
            x = random_array(seeded("reshape17", k, dtype), shape, dtype)
            inputs = {"x": In(x), "shape": np.array(target, indices_dtype(17, k))}
            suite.op(
                "reshape",
                17,
                f"{dtype}_{k}",
                inputs,
                x.reshape(want),
                rtol=0,
                fold=False,
                reading="0 is aligned from the right, 1 where x has no such dim" if 0 in target else "",
            )
    for opset in (15, 17):
        x = np.arange(12, dtype="float32").reshape(3, 4)
        suite.op(
            "reshape",
            opset,
            "shape_from_input",
            {"x": In(x, (None, 4)), "shape": In(np.array([2, -1], "int32"))},
            x.reshape(2, 6),
            rtol=0,
            fold=False,
        )
        suite.op(
            "reshape",
            opset,
            "dynamic",
            {"x": In(x, (None, None)), "shape": np.array([-1, 6], "int32")},
            x.reshape(2, 6),
            rtol=0,
            fold=False,
        )
        for label, target in (("two_unknowns", [-1, -1]), ("size_differs", [5, 2])):
            suite.error(
                "reshape", opset, label, {"x": In(x), "shape": np.array(target, "int32")}, [((3, 4), "float32")]
            )
    suite.error(
        "reshape",
        15,
        "zero_with_other_rank",
        {"x": In(np.ones((2, 6), "float32")), "shape": np.array([0, 2, -1], "int32")},
        [((2, 2, 3), "float32")],
        reading="before iOS17 a 0 needs len(shape) = rank x",
    )
    for opset in class_versions("reshape_like"):
        for k, dtype in enumerate(dtypes_of("reshape_like", opset, "x")):
            x = random_array(seeded("reshape_like", dtype), (2, 6), dtype)
            first, second = np.ones((3, 2, 5), "float32"), np.ones((7, 2), "int32")
            inputs = {
                "x": In(x),
                "ref_tensors": [In(first), In(second)],
                "begins": (np.int32(0), np.int32(1)),
                "ends": (np.int32(2), np.int32(0)),
                "end_masks": (False, True),
            }
            suite.op("reshape_like", opset, f"{dtype}", inputs, x.reshape(3, 2, 2), rtol=0, fold=False)
        x = np.arange(12, dtype="float32").reshape(3, 4)
        inputs = {
            "x": In(x),
            "ref_tensors": [In(np.ones((9, 2, 6, 5), "float32"))],
            "begins": (np.int32(-3),),
            "ends": (np.int32(-1),),
            "end_masks": (False,),
        }
        suite.op("reshape_like", opset, "negative", inputs, x.reshape(2, 6), rtol=0, fold=False)


SLICES = [  # shape, begin, end, stride, begin_mask, end_mask, squeeze_mask
    ((5,), [1], [4], None, None, None, None),
    ((5,), [-3], [-1], None, None, None, None),
    ((5,), [0], [5], [2], None, None, None),
    ((5,), [4], [0], [-1], None, None, None),
    ((5,), [4], [0], [-2], [True], [True], None),
    ((5,), [-1], [-5], [-1], None, None, None),
    ((5,), [1], [100], None, None, None, None),
    ((5,), [3], [3], None, None, None, None),
    ((4, 5), [1, 0], [3, 5], [1, 2], None, None, None),
    ((4, 5), [1, 2], [0, 0], None, None, [True, False], [False, True]),
    ((4, 5), [-1, 1], [0, 4], None, None, None, [True, False]),
    ((2, 3, 4), [0, 1, 3], [2, 3, 0], [1, 1, -1], [True, False, False], [False, True, True], None),
    ((2, 3, 4), [1, 2, 3], [2, 3, 4], None, None, None, [True, True, False]),
    ((2, 3, 4), [0, 0, 0], [0, 0, 0], [1, 2, 3], [True] * 3, [True] * 3, None),
    (
        (2, 1, 2, 1, 3),
        [0, 0, 1, 0, 2],
        [2, 1, 2, 1, 0],
        [1, 1, 1, 1, -2],
        None,
        [False, False, False, False, True],
        None,
    ),
    ((0, 3), [0, 1], [0, 3], None, [True, False], None, None),
    ((3, 2), [0, 0], [3, 2], [1, 1], None, None, None),
    ((6,), [5], [1], [-2], None, None, None),
]


def python_slice(begin, end, stride, begin_mask, end_mask, squeeze_mask):
    result = []
    for k in range(len(begin)):
        if squeeze_mask and squeeze_mask[k]:
            result.append(begin[k])
        else:
            result.append(
                slice(
                    None if begin_mask and begin_mask[k] else begin[k],
                    None if end_mask and end_mask[k] else end[k],
                    stride[k] if stride else 1,
                )
            )
    return tuple(result)


def slice_inputs(spec, dtype, from_input):
    shape, begin, end, stride, begin_mask, end_mask, squeeze_mask = spec
    wrap = In if from_input else (lambda v: v)
    inputs = {"begin": wrap(np.array(begin, dtype)), "end": wrap(np.array(end, dtype))}
    if stride is not None:
        inputs["stride"] = np.array(stride, dtype)
    for name, mask in (("begin_mask", begin_mask), ("end_mask", end_mask), ("squeeze_mask", squeeze_mask)):
        if mask is not None:
            inputs[name] = np.array(mask)
    return inputs


def slices(suite):
    for opset in class_versions("slice_by_index"):
        for k, spec in enumerate(SLICES):
            for dtype in data_dtypes("slice_by_index", opset, k):
                x = random_array(seeded("slice", k, dtype), spec[0], dtype)
                inputs = {
                    "x": In(x, (None,) * x.ndim if k % 7 == 3 else None),
                    **slice_inputs(spec, indices_dtype(opset, k), False),
                }
                suite.op(
                    "slice_by_index", opset, f"{dtype}_{k}", inputs, x[python_slice(*spec[1:])], rtol=0, fold=k % 7 != 3
                )
            if k % 3 == 0:
                x = random_array(seeded("slice in", k), spec[0], "float32")
                inputs = {"x": In(x), **slice_inputs(spec, "int32", True)}
                suite.op(
                    "slice_by_index",
                    opset,
                    f"bounds_from_input_{k}",
                    inputs,
                    x[python_slice(*spec[1:])],
                    rtol=0,
                    fold=False,
                )
        suite.op(
            "slice_by_index",
            opset,
            "rank0_result",
            {
                "x": In(np.array([3.0, 5.0], "float32")),
                "begin": np.array([1], "int32"),
                "end": np.array([0], "int32"),
                "squeeze_mask": np.array([True]),
            },
            np.array(5.0, "float32"),
            rtol=0,
        )
        suite.error(
            "slice_by_index",
            opset,
            "begin_too_short",
            {"x": In(np.ones((2, 3), "float32")), "begin": np.array([1], "int32"), "end": np.array([2], "int32")},
            [((1, 3), "float32")],
        )
    for opset in class_versions("slice_by_size"):
        for k, (shape, begin, size) in enumerate(
            [
                ((5,), [1], [3]),
                ((5,), [-2], [2]),
                ((5,), [2], [-1]),
                ((4, 5), [1, 0], [2, -1]),
                ((2, 3, 4), [0, -1, 1], [-1, 1, 2]),
                ((3, 2), [0, 0], [3, 2]),
            ]
        ):
            for dtype in data_dtypes("slice_by_size", opset, k):
                x = random_array(seeded("slice size", k, dtype), shape, dtype)
                starts = [b % n for b, n in zip(begin, shape)]
                want = x[tuple(slice(b, n if s == -1 else b + s) for b, s, n in zip(starts, size, shape))]
                integer = indices_dtype(opset, k)
                inputs = {"x": In(x), "begin": np.array(begin, integer), "size": np.array(size, integer)}
                suite.op("slice_by_size", opset, f"{dtype}_{k}", inputs, want, rtol=0)
                if k % 2:
                    inputs["begin"] = In(inputs["begin"])
                    suite.op("slice_by_size", opset, f"{dtype}_begin_from_input_{k}", inputs, want, rtol=0, fold=False)
    for k, spec in enumerate(SLICES):
        for dtype in data_dtypes("slice_update", 18, k):
            rng = seeded("slice_update", k, dtype)
            x = random_array(rng, spec[0], dtype)
            where = python_slice(*spec[1:])
            update = random_array(rng, x[where].shape, dtype)
            if update.ndim == 0:
                continue
            want = x.copy()
            want[where] = update
            inputs = {"x": In(x), "update": In(update), **slice_inputs(spec, indices_dtype(18, k), k % 3 == 2)}
            if k % 3 == 2:  # with bounds from inputs coremltools cannot tell the shape of the slice
                suite.raw("slice_update", 18, f"{dtype}_{k}", inputs, want, rtol=0)
            else:
                suite.op("slice_update", 18, f"{dtype}_{k}", inputs, want, rtol=0)
    suite.error(
        "slice_update",
        18,
        "update_shape_differs",
        {
            "x": In(np.zeros((4,), "float32")),
            "update": In(np.zeros((3,), "float32")),
            "begin": np.array([0], "int32"),
            "end": np.array([2], "int32"),
        },
        [((4,), "float32")],
    )


def windows_and_blocks(suite):
    for opset in class_versions("sliding_windows"):
        for k, (shape, axis, size, stride) in enumerate(
            [((6,), 0, 3, 1), ((6, 2), 0, 2, 2), ((2, 7), -1, 3, 3), ((2, 5, 2), 1, 2, None), ((3, 4), 1, 4, 1)]
        ):
            for dtype in data_dtypes("sliding_windows", opset, k):
                x = random_array(seeded("windows", k, dtype), shape, dtype)
                step = stride or 1
                a = axis % x.ndim
                want = np.stack(
                    [np.take(x, range(i, i + size), axis=a) for i in range(0, x.shape[a] - size + 1, step)], axis=a
                )
                inputs = {"x": In(x), "axis": np.int32(axis), "size": np.int32(size)}
                if stride:
                    inputs["stride"] = np.int32(stride)
                suite.op("sliding_windows", opset, f"{dtype}_{k}", inputs, want, rtol=0, fold=False)
    for dtype in ("float16", "float32"):
        for shape, b in (((1, 8, 1, 2), 2), ((2, 4, 2, 3), 2), ((1, 9, 2, 1), 3), ((2, 3, 2, 2), 1), ((0, 4, 2, 2), 2)):
            n, c, h, w = shape
            x = np.arange(1, np.prod(shape) + 1).astype(dtype).reshape(shape)
            deep = (
                x.reshape(n, b, b, c // (b * b), h, w)
                .transpose(0, 3, 4, 1, 5, 2)
                .reshape(n, c // (b * b), h * b, w * b)
            )
            shuffled = (
                x.reshape(n, c // (b * b), b, b, h, w)
                .transpose(0, 1, 4, 2, 5, 3)
                .reshape(n, c // (b * b), h * b, w * b)
            )
            dims = (None, c, None, None) if n == 2 else None
            suite.op("depth_to_space", 15, f"{dtype}_b{b}", {"x": In(x, dims), "block_size": np.int32(b)}, deep, rtol=0)
            suite.op("space_to_depth", 15, f"{dtype}_b{b}", {"x": In(deep, None), "block_size": np.int32(b)}, x, rtol=0)
            suite.op(
                "pixel_shuffle",
                15,
                f"{dtype}_b{b}",
                {"x": In(x, dims), "upscale_factor": np.int32(b)},
                shuffled,
                rtol=0,
            )
            suite.op(
                "pixel_unshuffle", 16, f"{dtype}_b{b}", {"x": In(shuffled), "downscale_factor": np.uint32(b)}, x, rtol=0
            )
    x = np.arange(1, 17, dtype="float32").reshape(1, 8, 1, 2)
    for op, name, rows in (
        ("depth_to_space", "block_size", [[1, 5, 2, 6], [9, 13, 10, 14], [3, 7, 4, 8], [11, 15, 12, 16]]),
        ("pixel_shuffle", "upscale_factor", [[1, 3, 2, 4], [5, 7, 6, 8], [9, 11, 10, 12], [13, 15, 14, 16]]),
    ):
        suite.op(
            op,
            15,
            "vector",
            {"x": In(x), name: np.int32(2)},
            np.array(rows, "float32").reshape(1, 2, 2, 4),
            rtol=0,
            source="fact sheet vector",
        )
    suite.error(
        "depth_to_space",
        15,
        "channels_not_divisible",
        {"x": In(np.ones((1, 3, 2, 2), "float32")), "block_size": np.int32(2)},
        [((1, 0, 4, 4), "float32")],
    )
    batches(suite)


def batches(suite):
    for dtype in ("float16", "float32"):
        for k, (shape, block, pads) in enumerate(
            [
                ((2, 1, 2, 4), (2, 2), ((0, 0), (2, 0))),
                ((1, 2, 4, 4), (2, 2), ((0, 0), (0, 0))),
                ((1, 1, 3, 5), (2, 3), ((1, 0), (0, 1))),
                ((2, 3, 2, 2), (1, 2), ((0, 0), (1, 1))),
            ]
        ):
            n, c, h, w = shape
            x = np.arange(1, np.prod(shape) + 1).astype(dtype).reshape(shape)
            p = np.pad(x, [(0, 0), (0, 0), *pads])
            bh, bw = block
            want = (
                p.reshape(n, c, p.shape[2] // bh, bh, p.shape[3] // bw, bw)
                .transpose(3, 5, 0, 1, 2, 4)
                .reshape(n * bh * bw, c, p.shape[2] // bh, p.shape[3] // bw)
            )
            shape_input, pads_input = np.array(block, "int32"), np.array(pads, "int32")
            suite.op(
                "space_to_batch",
                15,
                f"{dtype}_{k}",
                {"x": In(x, (None, c, h, w) if k == 1 else None), "block_shape": shape_input, "paddings": pads_input},
                want,
                rtol=0,
            )
            suite.op(
                "batch_to_space",
                15,
                f"{dtype}_{k}",
                {"x": In(want), "block_shape": shape_input, "crops": pads_input},
                x,
                rtol=0,
            )
    x = np.arange(1, 17, dtype="float32").reshape(2, 1, 2, 4)
    want = np.array(
        [[0, 1, 3], [0, 9, 11], [0, 2, 4], [0, 10, 12], [0, 5, 7], [0, 13, 15], [0, 6, 8], [0, 14, 16]], "float32"
    ).reshape(8, 1, 1, 3)
    suite.op(
        "space_to_batch",
        15,
        "vector",
        {"x": In(x), "block_shape": np.array([2, 2], "int32"), "paddings": np.array([[0, 0], [2, 0]], "int32")},
        want,
        rtol=0,
        source="fact sheet vector",
    )
    row = np.array([[1, 2, 3, 4, 5, 0, 0, 0]], "float32")
    suite.op(
        "reverse_sequence",
        15,
        "vector",
        {"x": In(row), "lengths": np.array([7], "int32"), "seq_axis": np.int32(1), "batch_axis": np.int32(0)},
        np.array([[0, 0, 5, 4, 3, 2, 1, 0]], "float32"),
        rtol=0,
        source="fact sheet vector",
        fold=False,
    )


def add(suite):
    axes_ops(suite)
    reshape(suite)
    slices(suite)
    windows_and_blocks(suite)
