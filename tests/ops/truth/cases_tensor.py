"""Joining, splitting, filling, sorting and counting."""

import numpy as np

from harness import In, by_turns, class_versions, dtypes_of, narrow, random_array, seeded, wide


def join(suite):
    concat = [
        ([(2, 3), (2, 3)], 0),
        ([(2, 3), (2, 1), (2, 2)], 1),
        ([(2, 3), (2, 4)], -1),
        ([(3,)], 0),
        ([(), ()], 0),
        ([(0, 2), (3, 2)], 0),
        ([(1, 2, 1, 2, 1), (1, 2, 3, 2, 1)], 2),
        ([(2, 2)] * 4, -2),
    ]
    for k, (shapes, axis) in enumerate(concat):
        for dtype in by_turns(["float16", "float32", "int32", "bool"], k):
            rng = seeded("concat", k, dtype)
            values = [random_array(rng, s, dtype) for s in shapes]
            want = np.concatenate([np.atleast_1d(v) for v in values], axis=axis)
            first = (None,) + shapes[0][1:] if k == 0 else None
            inputs = {
                "values": [In(v, first if j == 0 else None) for j, v in enumerate(values)],
                "axis": np.int32(axis),
            }
            suite.op("concat", 15, f"{dtype}_{k}", inputs, want, rtol=0)
    for k, (shape, axis, count) in enumerate([((2, 3), 0, 2), ((2, 3), 1, 3), ((1, 2, 3), -2, 2)]):
        values = [random_array(seeded("interleave", k, j), shape, "float32") for j in range(count)]
        want = np.stack(values, axis=axis % len(shape) + 1).reshape(
            [n * count if a == axis % len(shape) else n for a, n in enumerate(shape)]
        )
        suite.op(
            "concat",
            15,
            f"interleaved_{k}",
            {"values": [In(v) for v in values], "axis": np.int32(axis), "interleave": True},
            want,
            rtol=0,
            fold=False,
            reading="coremltools' folding ignores interleave",
        )
    for opset in (17, 18):
        values = [random_array(seeded("concat small", opset, j), (2, 2), "int8") for j in range(2)]
        suite.op(
            "concat",
            opset,
            "int8",
            {"values": [In(v) for v in values], "axis": np.int32(0)},
            np.concatenate(values),
            rtol=0,
        )
    suite.error(
        "concat",
        15,
        "sizes_differ",
        {"values": [In(np.ones((2, 3), "float32")), In(np.ones((3, 2), "float32"))], "axis": np.int32(0)},
        [((5, 3), "float32")],
    )
    for k, (shape, axis, count) in enumerate(
        [
            ((2, 3), 0, 2),
            ((2, 3), -1, 3),
            ((2, 3), 1, 2),
            ((), 0, 3),
            ((0, 2), 1, 2),
            ((2,), -2, 1),
            ((1, 2, 3, 2), 2, 2),
        ]
    ):
        for dtype in by_turns(["float16", "float32", "int32", "bool"], k):
            values = [random_array(seeded("stack", k, j, dtype), shape, dtype) for j in range(count)]
            suite.op(
                "stack",
                15,
                f"{dtype}_{k}",
                {"values": [In(v) for v in values], "axis": np.int32(axis)},
                np.stack(values, axis),
                rtol=0,
            )
    split = [
        ((6,), 0, 3, None),
        ((2, 6), 1, 2, None),
        ((2, 6), -1, None, [1, 2, 3]),
        ((5, 2), 0, None, [5]),
        ((4, 2), 0, 2, [1, 3]),
        ((2, 4, 3), 1, 4, None),
        ((0, 4), 1, 2, None),
        ((3, 2), 0, None, [0, 3]),
    ]
    for k, (shape, axis, count, sizes) in enumerate(split):
        for dtype in by_turns(dtypes_of("split", 15, "x"), k):
            x = random_array(seeded("split", k, dtype), shape, dtype)
            inputs = {"x": In(x, (None,) + shape[1:] if k == 1 else None), "axis": np.int32(axis)}
            if count:
                inputs["num_splits"] = np.int32(count)
            if sizes:
                inputs["split_sizes"] = np.array(sizes, "int32")
            suite.op(
                "split",
                15,
                f"{dtype}_{k}",
                inputs,
                np.split(x, np.cumsum(sizes)[:-1] if sizes else count, axis),
                rtol=0,
            )
    suite.error(
        "split",
        15,
        "uneven",
        {"x": In(np.ones((5,), "float32")), "num_splits": np.int32(2), "axis": np.int32(0)},
        [((2,), "float32"), ((3,), "float32")],
    )


def fillers(suite):
    for dtype in dtypes_of("fill", 15, "value"):
        value = {"b": np.bool_(True), "i": np.int32(-7), "f": np.dtype(dtype).type(2.5)}[np.dtype(dtype).kind]
        for shape in ((3,), (2, 3), (0, 2), (1, 2, 1, 2, 1)):
            want = np.full(shape, value, dtype)
            suite.op("fill", 15, dtype, {"shape": np.array(shape, "int32"), "value": value}, want, rtol=0)
            suite.op(
                "fill",
                15,
                f"{dtype}_shape_from_input",
                {"shape": In(np.array(shape, "int32")), "value": value},
                want,
                rtol=0,
            )
    suite.op("fill", 15, "default", {"shape": np.array([2, 2], "int32")}, np.zeros((2, 2), "float32"), rtol=0)
    for reference in dtypes_of("fill_like", 16, "ref_tensor"):
        for dtype in dtypes_of("fill_like", 16, "value"):
            for shape in ((2, 3), (), (0, 2)) if reference == dtype else ((2, 3),):
                ref = random_array(seeded("fill_like", shape), shape, reference)
                suite.op(
                    "fill_like",
                    16,
                    f"{dtype}_like_{reference}",
                    {"ref_tensor": In(ref, (None, 3) if shape == (2, 3) else None), "value": np.dtype(dtype).type(1)},
                    np.full(shape, 1, dtype),
                    rtol=0,
                    fold=shape != (),
                )
    suite.op(
        "fill_like", 16, "default", {"ref_tensor": In(np.ones((2, 2), "int32"))}, np.zeros((2, 2), "float32"), rtol=0
    )
    for k, (shape, depth, axis) in enumerate(
        [((3,), 4, None), ((2, 2), 3, -1), ((2, 2), 3, 0), ((3,), 2, 1), ((), 4, -1), ((2, 3), 2, -2), ((0,), 3, -1)]
    ):
        for dtype in by_turns(dtypes_of("one_hot", 15, "on_value"), k):
            indices = seeded("one_hot", k).integers(0, depth, shape).astype("int32")
            t = np.dtype(dtype).type
            on, off = (t(True), t(False)) if dtype == "bool" else (t(5), t(-2))
            a = (-1 if axis is None else axis) % (len(shape) + 1)
            position = np.arange(depth).reshape([-1 if j == a else 1 for j in range(len(shape) + 1)])
            want = np.where(np.expand_dims(indices, a) == position, on, off).astype(dtype)
            inputs = {"indices": In(indices), "one_hot_vector_size": np.int32(depth), "on_value": on, "off_value": off}
            if axis is not None:
                inputs["axis"] = np.int32(axis)
            suite.op("one_hot", 15, f"{dtype}_{k}", inputs, want, rtol=0)
    suite.op(
        "one_hot",
        15,
        "default",
        {"indices": In(np.array([1, 0], "int32")), "one_hot_vector_size": np.int32(2)},
        np.array([[0, 1], [1, 0]], "int32"),
        reading="default values are int32",
    )
    suite.op(
        "one_hot",
        15,
        "depth_from_input",
        {"indices": In(np.array([2, 0], "int32")), "one_hot_vector_size": In(np.array(3, "int32"))},
        np.array([[0, 0, 1], [1, 0, 0]], "int32"),
    )
    for start, end, step in ((0, 5, 1), (2, 9, 3), (5, 0, -2), (0, 0, 1), (-3, 3, 2), (1, 2, 5)):
        for dtype in dtypes_of("range_1d", 15, "start"):
            t = np.dtype(dtype)
            want = np.arange(start, end, step).astype(dtype)
            values = {"end": np.array(end, t), "start": np.array(start, t), "step": np.array(step, t)}
            suite.op("range_1d", 15, dtype, {k: In(v) for k, v in values.items()}, want, rtol=0)
            suite.op("range_1d", 15, f"{dtype}_constant", {k: v[()] for k, v in values.items()}, want, rtol=0)
    quarters = {"end": np.float32(2.1), "start": np.float32(0.5), "step": np.float32(0.25)}
    suite.op("range_1d", 15, "fractions", quarters, np.arange(7, dtype="float32") * np.float32(0.25) + np.float32(0.5))


PADS = [
    ((4,), [1, 2]),
    ((3, 4), [1, 0, 2, 3]),
    ((3, 4), [2, 1]),
    ((2, 3, 4), [1, 1, 0, 2]),
    ((2, 3, 4), [0, 0, 2, 1, 3, 3]),
    ((1, 2, 3, 4), [1, 1, 2, 2]),
    ((3, 2), [0, 0, 0, 0]),
]


def pad(suite):
    for mode, name in (("constant", "constant"), ("reflect", "reflect"), ("replicate", "edge")):
        for k, (shape, amounts) in enumerate(PADS):
            for dtype in by_turns(["float32", "float16"], k):
                x = random_array(seeded("pad", k, dtype), shape, dtype)
                pairs = [(0, 0)] * (x.ndim - len(amounts) // 2) + list(zip(amounts[0::2], amounts[1::2]))
                extra = {"constant_values": np.dtype(dtype).type(1.5)} if mode == "constant" else {}
                want = np.pad(x, pairs, name, **extra)
                inputs = {
                    "x": In(x, (None,) + shape[1:] if k == 3 else None),
                    "pad": np.array(amounts, "int32"),
                    "mode": mode,
                }
                if mode == "constant":
                    inputs["constant_val"] = np.dtype(dtype).type(1.5)
                suite.op("pad", 15, f"{dtype}_{mode}_{k}", inputs, want, rtol=0)
                if len(amounts) == 2 * x.ndim:
                    suite.op(
                        "pad",
                        15,
                        f"{dtype}_{mode}_from_input_{k}",
                        {**inputs, "x": In(x), "pad": In(np.array(amounts, "int32"))},
                        want,
                        rtol=0,
                        fold=False,
                    )
    empty = np.zeros((0, 2), "float32")
    suite.op(
        "pad",
        15,
        "empty",
        {"x": In(empty), "pad": np.array([1, 0, 0, 1], "int32")},
        np.zeros((1, 3), "float32"),
        rtol=0,
        fold=False,
    )
    suite.error(
        "pad",
        15,
        "reflects_too_far",
        {"x": In(np.ones((3,), "float32")), "pad": np.array([3, 0], "int32"), "mode": "reflect"},
        [((6,), "float32")],
        reading="reflect padding is at most D-1",
    )
    suite.error(
        "pad",
        15,
        "too_many_amounts",
        {"x": In(np.ones((3,), "float32")), "pad": np.array([1, 0, 0, 1], "int32")},
        [((4,), "float32")],
    )


def sums_and_bands(suite):
    for k, (shape, axis) in enumerate(
        [((5,), None), ((2, 3), 0), ((2, 3), -1), ((2, 3, 4), 1), ((0, 3), 0), ((1, 2, 1, 3, 2), 3)]
    ):
        for dtype in by_turns(dtypes_of("cumsum", 15, "x"), k):
            for exclusive in (False, True):
                for reverse in (False, True):
                    x = random_array(seeded("cumsum", k, dtype), shape, dtype)
                    a = axis or 0
                    v = np.flip(wide(x), a) if reverse else wide(x)
                    total = np.cumsum(v, a) - (v if exclusive else 0)
                    want = narrow(np.flip(total, a) if reverse else total, dtype)
                    inputs = {
                        "x": In(x, (None,) + shape[1:] if k == 3 else None),
                        "exclusive": exclusive,
                        "reverse": reverse,
                    }
                    if axis is not None:
                        inputs["axis"] = np.int32(axis)
                    suite.op("cumsum", 15, f"{dtype}_{k}", inputs, want, accumulate=True)
    for k, shape in enumerate([(4, 4), (3, 5), (5, 2), (2, 3, 3), (0, 3, 2)]):
        for lower, upper in ((-1, -1), (0, 0), (1, 0), (-1, 0), (0, -1), (1, 2)):
            dtype = ("float32", "float16", "int32", "bool")[(k + lower + upper) % 4]
            x = random_array(seeded("band", k, dtype), shape, dtype)
            m, n = np.ogrid[: shape[-2], : shape[-1]]
            keep = ((lower < 0) | (m - n <= lower)) & ((upper < 0) | (n - m <= upper))
            suite.op(
                "band_part",
                15,
                f"{dtype}_{k}",
                {"x": In(x), "lower": np.int32(lower), "upper": np.int32(upper)},
                np.where(keep, x, np.zeros((), dtype)),
                rtol=0,
            )
    x = random_array(seeded("band default"), (3, 3))
    suite.op("band_part", 15, "default", {"x": In(x)}, x, rtol=0)


def sorting(suite):
    shapes = [((6,), None), ((2, 5), -1), ((4, 3), 0), ((2, 3, 4), 1)]
    for k, (shape, axis) in enumerate(shapes):
        for dtype in dtypes_of("argsort", 15, "x"):
            for ascending in (None, True, False):
                x = (seeded("argsort", k, dtype).permutation(int(np.prod(shape))).reshape(shape) - 4).astype(dtype)
                a = -1 if axis is None else axis
                want = np.argsort(x if ascending else -x, axis=a).astype("int32")
                inputs = {"x": In(x)}
                if axis is not None:
                    inputs["axis"] = np.int32(axis)
                if ascending is not None:
                    inputs["ascending"] = ascending
                suite.op("argsort", 15, f"{dtype}_{k}", inputs, want)
    for opset in class_versions("topk"):
        for j, (shape, axis) in enumerate(shapes):
            for dtype in (
                dtypes_of("topk", opset, "x") if j == 0 else ["float32", "float16", "int32"][j % 3 :][:1] + ["float32"]
            ):
                for ascending in (False, True):
                    x = (seeded("topk", j, dtype).permutation(int(np.prod(shape))).reshape(shape)).astype(dtype)
                    a = -1 if axis is None else axis
                    for count in (None, 2, x.shape[a]):
                        order = np.argsort(x if ascending else -wide(x), axis=a, kind="stable")
                        indices = np.take(order, range(count or 1), axis=a)
                        want = [np.take_along_axis(x, indices, axis=a), indices.astype("int32")]
                        inputs = {
                            "x": In(x, (None,) + shape[1:] if j == 1 and opset == 15 else None),
                            "ascending": ascending,
                        }
                        if count:
                            inputs["k"] = np.dtype(("int32", "int16", "int8")[j % 3] if opset >= 17 else "int32").type(
                                count
                            )
                        if axis is not None:
                            inputs["axis"] = np.int32(axis)
                        if opset >= 16 and count == 2 and j == 2:
                            inputs["return_indices"] = False
                            want = want[:1]
                        elif opset >= 17 and count == 2:
                            inputs["output_indices_dtype"] = "uint16"
                            want[1] = want[1].astype("uint16")
                        if opset >= 16 and j == 3:
                            inputs["sort"] = True
                        # folding negates x, which is wrong for unsigned types
                        suite.op("topk", opset, f"{dtype}_{j}", inputs, want, rtol=0, fold=not dtype.startswith("uint"))
        suite.error(
            "topk",
            opset,
            "k_too_large",
            {"x": In(np.ones((3,), "float32")), "k": np.int32(4)},
            [((4,), "float32"), ((4,), "int32")],
        )
    x = np.array([3.0, 9.0, 5.0, 7.0], "float32")
    suite.op(
        "topk",
        16,
        "unsorted_all_of_one",
        {"x": In(x), "k": np.int32(1), "sort": False},
        [np.array([9.0], "float32"), np.array([1], "int32")],
        rtol=0,
        reading="sort=false leaves the order open; with k=1 there is only one",
    )
    whole = np.argsort(-x)
    suite.raw(
        "topk",
        17,
        "k_minus_one",
        {"x": In(x), "k": np.int32(-1)},
        [x[whole], whole.astype("int32")],
        rtol=0,
        source="fact sheet",
        reading="k=-1 takes all elements",
    )


def queries(suite):
    for k, shape in enumerate([(5,), (2, 3), (2, 2, 2), (0, 3), (1, 2, 1, 2, 2)]):
        for dtype in by_turns(dtypes_of("non_zero", 15, "x"), k):
            x = (seeded("non_zero", k, dtype).integers(0, 3, shape) - 1).astype(dtype)
            suite.op("non_zero", 15, f"{dtype}_{k}", {"x": In(x)}, np.argwhere(x).astype("int32"))
        for dtype in by_turns(dtypes_of("shape", 15, "x"), k):
            x = np.zeros(shape, dtype)
            suite.op(
                "shape",
                15,
                f"{dtype}_{k}",
                {"x": In(x, (None,) + shape[1:] if k % 2 else None)},
                np.array(shape, "int32"),
            )
    suite.op(
        "non_zero",
        15,
        "nan",
        {"x": In(np.array([np.nan, 0.0, -0.0, np.inf], "float32"))},
        np.array([[0], [3]], "int32"),
    )
    suite.raw("shape", 15, "rank0", {"x": In(np.array(1.0, "float32"))}, np.zeros((0,), "int32"))
    for k, (shape, reps) in enumerate(
        [
            ((3,), [2]),
            ((2, 3), [1, 2]),
            ((2, 3), [3, 1]),
            ((1, 2, 1), [2, 2, 3]),
            ((0, 2), [2, 2]),
            ((1, 2, 1, 1, 2), [1, 1, 3, 2, 1]),
        ]
    ):
        for dtype in by_turns(dtypes_of("tile", 15, "x"), k):
            x = random_array(seeded("tile", k, dtype), shape, dtype)
            suite.op(
                "tile",
                15,
                f"{dtype}_{k}",
                {"x": In(x, (None,) + shape[1:] if k == 1 else None), "reps": np.array(reps, "int32")},
                np.tile(x, reps),
                rtol=0,
            )
        suite.op(
            "tile",
            15,
            f"reps_from_input_{k}",
            {"x": In(x), "reps": In(np.array(reps, "int32"))},
            np.tile(x, reps),
            rtol=0,
            fold=False,
        )
    for k, (shape, axis, want) in enumerate(
        [
            ((2, 3, 4), None, (2, 12)),
            ((2, 3, 4), 2, (6, 4)),
            ((2, 3, 4), 0, (1, 24)),
            ((2, 3, 4), -1, (6, 4)),
            ((5,), -1, (1, 5)),
            ((2, 3), 2, (6, 1)),
            ((0, 3), 1, (0, 3)),
            ((1, 2, 1, 2, 3), 3, (2, 6)),
        ]
    ):
        for dtype in dtypes_of("flatten2d", 15, "x")[: 4 if k == 0 else 1]:
            x = random_array(seeded("flatten", k, dtype), shape, dtype)
            inputs = {"x": In(x)} if axis is None else {"x": In(x), "axis": np.int32(axis)}
            write = suite.raw if axis == 2 and len(shape) == 2 else suite.op
            write("flatten2d", 15, f"{dtype}_{k}", inputs, x.reshape(want), rtol=0)
    for dtype in ("float16", "float32", "int32", "bool"):
        for shape in ((), (2, 3), (0,), (1, 2, 3, 1, 2)):
            x = random_array(seeded("identity", shape, dtype), shape, dtype)
            suite.op("identity", 15, dtype, {"x": In(x, (None, None) if len(shape) == 2 else None)}, x, rtol=0)
    for dtype in ("int8", "uint8", "int16", "uint16"):
        x = random_array(seeded("identity", dtype), (2, 3), dtype)
        suite.op("identity", 17, dtype, {"x": In(x)}, x, rtol=0)


def add(suite):
    join(suite)
    fillers(suite)
    pad(suite)
    sums_and_bands(suite)
    sorting(suite)
    queries(suite)
