"""linear, matmul, einsum."""

import numpy as np

import second_opinion
from cases_elementwise import apply
from harness import In, class_versions, narrow, random_array, seeded, wide


def values(rng, shape, dtype):
    return rng.integers(-5, 6, shape).astype("int32") if dtype == "int32" else random_array(rng, shape, dtype)


def linear(suite):
    for opset in class_versions("linear"):
        for dtype in ("float16", "float32", "int32"):
            for shape in ((4,), (1,), (2, 4), (0, 4), (2, 3, 4), (1, 1, 5), (3, 0)):
                for biased in (True, False):
                    rng = seeded("linear", dtype, shape, biased)
                    x, w = values(rng, shape, dtype), values(rng, (3, shape[-1]), dtype)
                    b = values(rng, (3,), dtype)
                    inputs = {
                        "x": In(x, (None,) * (len(shape) - 1) + shape[-1:] if len(shape) == 3 else None),
                        "weight": w,
                    }
                    if biased:
                        inputs["bias"] = b
                    want = narrow(wide(x) @ wide(w).T + (wide(b) if biased else 0), dtype)
                    if shape == (3, 0):
                        suite.raw("linear", opset, f"{dtype}_no_features", {**inputs, "x": In(x)}, want)
                        continue
                    suite.op("linear", opset, f"{dtype}_rank{len(shape)}", inputs, want, accumulate=True)
        wide_x = np.array([[1.0, 2.0, 3.0]], "float32")
        suite.error(
            "linear",
            opset,
            "features_differ",
            {"x": In(wide_x), "weight": np.ones((2, 4), "float32")},
            [((1, 2), "float32")],
        )
    rng = seeded("linear", "mixed")
    for x_type, w_type in (("float32", "float16"), ("float16", "float32")):
        x, w, b = random_array(rng, (2, 4), x_type), random_array(rng, (3, 4), w_type), random_array(rng, (3,), w_type)
        suite.op(
            "linear",
            17,
            f"{x_type}_with_{w_type}_weight",
            {"x": In(x), "weight": w, "bias": b},
            narrow(wide(x) @ wide(w).T + wide(b), x_type),
            accumulate=True,
            reading="result has the dtype of x",
        )


MATMUL_SHAPES = [
    ((2, 3), (3, 4)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((3,), (3,)),
    ((2, 2, 3), (2, 3, 4)),
    ((2, 2, 3), (3, 4)),
    ((2, 1, 2, 3), (1, 3, 3, 2)),
    ((1, 2, 1, 2, 3), (2, 1, 3, 1)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((4, 3), (2, 3, 1)),
    ((3,), (2, 3, 4)),
    ((2, 2, 3), (3,)),
]


def matmul(suite):
    for opset in class_versions("matmul"):
        for dtype in ("float16", "float32", "int32"):
            for k, (left, right) in enumerate(MATMUL_SHAPES):
                rng = seeded("matmul", dtype, k)
                x, y = values(rng, left, dtype), values(rng, right, dtype)
                want = narrow(np.matmul(wide(x), wide(y)), dtype)
                flips = [(False, False)] + (
                    [(True, False), (False, True), (True, True)]
                    if min(x.ndim, y.ndim) > 1 and (dtype == "float32" or k == 4)
                    else []
                )
                for flip_x, flip_y in flips:
                    a = np.ascontiguousarray(np.swapaxes(x, -1, -2)) if flip_x else x
                    b = np.ascontiguousarray(np.swapaxes(y, -1, -2)) if flip_y else y
                    inputs = {
                        "x": In(a),
                        "y": b if k % 3 == 2 else In(b, (None,) + b.shape[1:] if b.ndim == 3 else None),
                    }
                    if flip_x or flip_y:
                        inputs.update(transpose_x=flip_x, transpose_y=flip_y)
                    fixed = all(
                        isinstance(i, bool) or not isinstance(i, In) or None not in i.dims for i in inputs.values()
                    )
                    if 0 in left + right or not fixed or min(x.ndim, y.ndim) == 1:
                        static = {n: In(i.value) if isinstance(i, In) else i for n, i in inputs.items()}
                        suite.raw("matmul", opset, f"{dtype}_{k}", static, want, accumulate=True)
                    else:
                        suite.op("matmul", opset, f"{dtype}_{k}", inputs, want, accumulate=True)
        suite.error(
            "matmul",
            opset,
            "inner_sizes_differ",
            {"x": In(np.ones((2, 3), "float32")), "y": In(np.ones((2, 3), "float32"))},
            [((2, 3), "float32")],
        )
        suite.error(
            "matmul",
            opset,
            "transpose_of_rank1",
            {"x": In(np.ones((3,), "float32")), "y": In(np.ones((3, 2), "float32")), "transpose_x": True},
            [((2,), "float32")],
        )
    rng = seeded("matmul", "mixed")
    x, w = random_array(rng, (2, 3), "float32"), random_array(rng, (3, 4), "float16")
    suite.op(
        "matmul",
        17,
        "half_constant",
        {"x": In(x), "y": w},
        narrow(wide(x) @ wide(w), "float32"),
        accumulate=True,
        reading="mixed dtypes: the result has the dtype of the operand that is not const",
    )
    suite.op(
        "matmul",
        17,
        "float_constant_left",
        {"x": w.T.astype("float32"), "y": In(x.T.astype("float16"))},
        narrow(wide(w.T.astype("float32")) @ wide(x.T.astype("float16")), "float16"),
        accumulate=True,
        fold=False,
    )
    x = np.array([[1.0, np.inf], [np.nan, 2.0]], "float32")
    y = np.array([[1.0, 2.0], [1.0, -1.0]], "float32")
    suite.op("matmul", 15, "infinite", {"x": In(x), "y": In(y)}, apply(np.matmul, x, y))


def einsum(suite):
    equations = [
        ("nchw,nwhu->nchu", (2, 3, 2, 4), (2, 4, 2, 5)),
        ("abcd,adce->abce", (1, 2, 3, 2), (1, 2, 3, 2)),
        ("chw,whr->chr", (2, 3, 4), (4, 3, 2)),
        ("ijk,kjm->ijm", (3, 1, 2), (2, 1, 3)),
        ("nchw,nwhu->nchu", (0, 3, 2, 4), (0, 4, 2, 5)),
        ("nchw,nwhu->nchu", (1, 3, 2, 4), (2, 4, 1, 5)),
    ]
    for equation, left, right in equations:
        for dtype in ("float16", "float32", "int32"):
            rng = seeded("einsum", equation, left, dtype)
            x, y = values(rng, left, dtype), values(rng, right, dtype)
            want = narrow(np.einsum(equation, wide(x), wide(y)), dtype)
            source = None
            if dtype == "float32":
                got = (
                    second_opinion.run("Einsum", [x, y], equation=equation) if x.size and left[0] == right[0] else None
                )
                source = second_opinion.confirm(suite, f"einsum {equation}", want, got[0] if got else None)
            inputs = {"values": [In(x), In(y)], "equation": equation}
            if left[0] != right[0] and len(left) == 4 or dtype == "int32":
                suite.raw("einsum", 15, f"{dtype}_rank{len(left)}", inputs, want, accumulate=True, source=source)
            else:
                suite.op(
                    "einsum", 15, f"{dtype}_rank{len(left)}", inputs, want, accumulate=True, source=source, fold=False
                )


def add(suite):
    linear(suite)
    matmul(suite)
    einsum(suite)
