"""Reductions and arg reductions."""

import numpy as np

from harness import In, class_versions, narrow, random_array, seeded, wide

REDUCTIONS = {
    "reduce_l1_norm": lambda x, **o: np.sum(np.abs(x), **o),
    "reduce_l2_norm": lambda x, **o: np.sqrt(np.sum(x * x, **o)),
    "reduce_log_sum": lambda x, **o: np.log(np.sum(x, **o)),
    "reduce_max": np.max,
    "reduce_mean": np.mean,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_sum": np.sum,
    "reduce_sum_square": lambda x, **o: np.sum(x * x, **o),
}


REDUCTION_NAMES = sorted([*REDUCTIONS, "reduce_log_sum_exp"])


def reduce(op, x, axes, keep_dims):
    v = wide(x).astype(np.float64)
    axis = tuple(range(x.ndim)) if axes is None else tuple(sorted(a % x.ndim for a in axes))
    with np.errstate(all="ignore"):
        if op == "reduce_log_sum_exp":
            top = v.max(axis=axis, keepdims=True)
            top = np.where(np.isfinite(top), top, 0)
            out = np.log(np.sum(np.exp(v - top), axis=axis, keepdims=True)) + top
            out = out if keep_dims else np.squeeze(out, axis)
        else:
            out = REDUCTIONS[op](v, axis=axis, keepdims=keep_dims)
        return narrow(out, x.dtype)


SPECS = [
    ((5,), None, False),
    ((5,), [0], True),
    ((2, 3), None, True),
    ((2, 3), [1], False),
    ((2, 3), [-2], True),
    ((2, 3, 4), [0, 2], False),
    ((2, 3, 4), [-1, -3], True),
    ((2, 3, 4), [1], True),
    ((2, 3, 4), None, False),
    ((1, 2, 3, 2), [2, 3], True),
    ((1, 2, 3, 2), [1, 2, 3], False),
    ((2, 1, 2, 1, 3), [0, 4], False),
]


def reductions(suite):
    for op in REDUCTION_NAMES:
        positive = op == "reduce_log_sum"
        for dtype in ("float16", "float32", "int32"):
            for shape, axes, keep in {"float32": SPECS, "float16": SPECS[::3], "int32": SPECS[1::2]}[dtype]:
                rng = seeded(op, dtype, shape, axes)
                x = random_array(rng, shape, dtype, 0.1 if positive else -2, 2)
                if dtype == "int32":
                    x = rng.integers(1 if positive else -3, 6, shape).astype("int32")
                if op == "reduce_prod" and dtype == "int32":
                    x = np.where(x == 0, 1, x).astype("int32") if x.size < 12 else np.sign(x).astype("int32")
                want = reduce(op, x, axes, keep)
                inputs = {"x": In(x, (None,) + shape[1:] if len(shape) == 3 else None)}
                if axes is not None:
                    inputs["axes"] = np.array(axes, "int32")
                if keep or len(shape) % 2:
                    inputs["keep_dims"] = keep
                fractional = op in ("reduce_mean", "reduce_l2_norm", "reduce_log_sum", "reduce_log_sum_exp")
                reading = (
                    "int32 result truncated toward zero (PyMIL folding)" if dtype == "int32" and fractional else ""
                )
                suite.op(op, 15, f"{dtype}_rank{len(shape)}", inputs, want, accumulate=True, reading=reading)
        empty = np.zeros((0, 3), "float32")
        suite.op(
            op,
            15,
            "empty_kept",
            {"x": In(empty), "axes": np.array([1], "int32")},
            np.zeros((0,), "float32"),
            fold=False,
        )
    empty = np.zeros((0, 3), "float32")
    for op, value in (
        ("reduce_sum", 0.0),
        ("reduce_prod", 1.0),
        ("reduce_sum_square", 0.0),
        ("reduce_l1_norm", 0.0),
        ("reduce_l2_norm", 0.0),
    ):
        suite.op(
            op,
            15,
            "empty_reduced",
            {"x": In(empty), "axes": np.array([0], "int32")},
            np.full((3,), value, "float32"),
            reading="a reduction over no element gives its neutral value",
        )
    special = np.array([[1, np.inf, 2], [-np.inf, 0, 1], [3, 4, -5]], "float32")
    for op in ("reduce_max", "reduce_min", "reduce_sum", "reduce_log_sum_exp", "reduce_mean"):
        suite.op(
            op,
            15,
            "infinite",
            {"x": In(special), "axes": np.array([1], "int32")},
            reduce(op, special, [1], False),
            fold=False,
        )
    large = np.array([[1000.0, 1000.0], [-1000.0, -1001.0]], "float32")
    suite.op(
        "reduce_log_sum_exp",
        15,
        "large",
        {"x": In(large), "axes": np.array([1], "int32")},
        reduce("reduce_log_sum_exp", large, [1], False),
        reading="stable: the maximum is subtracted first",
        fold=False,
    )
    scalar = np.array(3.0, "float32")
    suite.op("reduce_sum", 15, "rank0", {"x": In(scalar)}, scalar, fold=False)
    suite.error(
        "reduce_sum",
        15,
        "axis_out_of_range",
        {"x": In(np.ones((2, 3), "float32")), "axes": np.array([2], "int32")},
        [((2, 3), "float32")],
    )


def arg_reductions(suite):
    for op, function in (("reduce_argmax", np.argmax), ("reduce_argmin", np.argmin)):
        for opset in class_versions(op):
            for dtype, shapes in (
                ("float16", [(2, 3)]),
                ("float32", [(4,), (2, 3, 4), (2, 1, 3, 2)]),
                ("int32", [(2, 3, 2)]),
            ):
                for shape in shapes:
                    x = seeded(op, dtype, shape).permutation(int(np.prod(shape))).reshape(shape).astype(
                        dtype
                    ) - np.dtype(dtype).type(3)
                    for axis in range(-len(shape), len(shape)):
                        keep = bool((axis + opset) % 2)
                        want = function(x, axis=axis, keepdims=keep).astype("int32")
                        inputs = {"x": In(x), "axis": np.int32(axis), "keep_dims": keep}
                        if opset >= 17 and axis % 3 == 1:
                            inputs["output_dtype"] = "uint16" if axis > 0 else "int32"
                            want = want.astype(inputs["output_dtype"])
                        suite.op(op, opset, f"{dtype}_rank{len(shape)}", inputs, want)
                    suite.op(
                        op,
                        opset,
                        f"{dtype}_default",
                        {"x": In(x, (None,) * len(shape))},
                        function(x, axis=-1).astype("int32"),
                    )
            ties = np.array([[1, 3, 3, 1], [0, 0, 0, 0]], "float32")
            suite.op(
                op,
                opset,
                "ties",
                {"x": In(ties)},
                function(ties, axis=-1).astype("int32"),
                reading="the first of equal elements",
            )
        x = np.array([1.0, 5.0, -2.0], "float32")
        suite.op(
            op,
            17,
            "dtype_in_capitals",
            {"x": In(x), "output_dtype": "UINT16"},
            function(x, axis=-1, keepdims=False).astype("uint16"),
            reading="output_dtype is compared without regard to case",
        )


def add(suite):
    reductions(suite)
    arg_reductions(suite)
