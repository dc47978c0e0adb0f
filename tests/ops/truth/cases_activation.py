"""Activation functions, in float64 and rounded to the result type."""

import numpy as np

from cases_elementwise import apply, erf
from harness import In, class_versions, random_array, seeded, wide

EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 5.5, 6.0, 6.5, -3.25, 20.0, -20.0, np.nan, np.inf, -np.inf]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return np.where(np.isneginf(x), np.nan, x / (1 + np.exp(-x)))


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


PLAIN = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.minimum(np.maximum(x, 0), 6),
    "sigmoid": sigmoid,
    "silu": silu,
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
}
ALPHA = {
    "elu": lambda x, a: np.where(x > 0, x, a * np.expm1(x)),
    "leaky_relu": lambda x, a: np.where(x >= 0, x, a * x),
    "thresholded_relu": lambda x, a: np.where(x >= a, x, 0),
}
ALPHA_BETA = {
    "clamped_relu": lambda x, a, b: np.where(x >= 0, np.minimum(b, x), np.minimum(b, a * x)),
    "linear_activation": lambda x, a, b: a * x + b,
    "scaled_tanh": lambda x, a, b: a * np.tanh(b * x),
    "sigmoid_hard": lambda x, a, b: np.minimum(np.maximum(a * x + b, 0), 1),
}
SHAPES = [((), None), ((0, 3), None), ((2, 5), (None, 5)), ((1, 2, 3, 1, 2), None), ((1, 2, 3), (None, None, None))]


def one_input(suite):
    for op, function in PLAIN.items():
        for dtype in ("float16", "float32"):
            edges = np.array(EDGES[:-2] if op in ("silu", "softsign") else EDGES, dtype)
            if op in ("relu", "relu6"):
                edges = edges[~np.isnan(edges)]
            suite.op(op, 15, f"{dtype}_edges", {"x": In(edges)}, apply(function, edges))
            for shape, dims in SHAPES if dtype == "float32" else SHAPES[1:3]:
                x = random_array(seeded(op, dtype, shape), shape, dtype, -4, 8)
                suite.op(op, 15, f"{dtype}_rank{len(shape)}", {"x": In(x, dims)}, apply(function, x))
    big = np.array([-100.0, -90.0, 90.0, 100.0, 1000.0, -1000.0], "float32")
    for op in ("sigmoid", "softplus", "silu"):
        suite.op(op, 15, "large", {"x": In(big)}, apply(PLAIN[op], big))


def scalar_parameters(suite):
    finite = [e for e in EDGES if np.isfinite(e)]
    for op, function in ALPHA.items():
        for opset in class_versions(op):
            for dtype in ("float16", "float32"):
                for alpha in (0.5, 0.125, 1.5, 0.0, -0.25):
                    if op == "thresholded_relu" and alpha < 0:
                        continue
                    t = np.dtype("float32" if opset >= 17 and alpha == 1.5 else dtype).type
                    x = np.array(finite, dtype)
                    suite.op(op, opset, dtype, {"x": In(x), "alpha": t(alpha)}, apply(lambda v: function(v, alpha), x))
                for shape, dims in SHAPES if dtype == "float32" and opset == 15 else SHAPES[1:3]:
                    x = random_array(seeded(op, dtype, shape), shape, dtype, -3, 3)
                    suite.op(
                        op,
                        opset,
                        f"{dtype}_rank{len(shape)}",
                        {"x": In(x, dims), "alpha": np.dtype(dtype).type(0.25)},
                        apply(lambda v: function(v, 0.25), x),
                    )
    for op, function in ALPHA_BETA.items():
        for opset in class_versions(op):
            for dtype in ("float16", "float32"):
                for alpha, beta in ((0.25, 2.0), (2.0, 0.5), (1.0, 0.0), (0.1875, 0.5)):
                    t = np.dtype("float32" if opset >= 17 and alpha == 2.0 else dtype).type
                    x = np.array(finite, dtype)
                    suite.op(
                        op,
                        opset,
                        dtype,
                        {"x": In(x), "alpha": t(alpha), "beta": t(beta)},
                        apply(lambda v: function(v, alpha, beta), x),
                    )
                for shape, dims in SHAPES if dtype == "float32" and opset == 15 else SHAPES[1:3]:
                    x = random_array(seeded(op, dtype, shape), shape, dtype, -3, 3)
                    t = np.dtype(dtype).type
                    suite.op(
                        op,
                        opset,
                        f"{dtype}_rank{len(shape)}",
                        {"x": In(x, dims), "alpha": t(0.25), "beta": t(0.75)},
                        apply(lambda v: function(v, 0.25, 0.75), x),
                    )


def per_channel(values, rank):
    return wide(values).reshape((1, -1) + (1,) * (rank - 2))


def channel_parameters(suite):
    for opset in class_versions("prelu"):
        for dtype in ("float16", "float32"):
            for shape, alpha in (
                ((2, 3, 2, 2), [0.25, -0.5, 2.0]),
                ((1, 4, 1, 3), [0.0, 1.0, 0.125, 3.0]),
                ((2, 2, 3), [0.25, 0.25]),
                ((1, 3, 2, 1, 2), [0.5, 0.5, 0.5]),
                ((0, 3, 2, 2), [0.25, -0.5, 2.0]),
            ):
                x = random_array(seeded("prelu", shape), shape, dtype)
                a = np.array(alpha, "float32" if opset >= 17 and len(shape) == 3 else dtype)
                want = apply(lambda v: np.where(v > 0, v, per_channel(a, v.ndim) * v), x)
                dims = (None,) + shape[1:] if shape[0] == 2 else None
                suite.op("prelu", opset, f"{dtype}_rank{len(shape)}", {"x": In(x, dims), "alpha": a}, want)
    x = np.ones((1, 2, 3), "float32")
    suite.error(
        "prelu",
        15,
        "rank3_unequal_alphas",
        {"x": In(x), "alpha": np.array([0.5, 0.25], "float32")},
        [((1, 2, 3), "float32")],
        reading="rank 3 and 5 need equal alphas",
    )
    for opset in class_versions("softplus_parametric"):
        for dtype in ("float16", "float32"):
            for shape in ((2, 3, 2), (1, 2, 2, 2), (2, 3, 1, 2, 1)):
                rng = seeded("softplus_parametric", shape)
                x = random_array(rng, shape, dtype, -3, 3)
                a, b = random_array(rng, (shape[1],), dtype, 0.5, 2), random_array(rng, (shape[1],), dtype, -2, 2)
                want = apply(lambda v: per_channel(a, v.ndim) * softplus(per_channel(b, v.ndim) * v), x)
                suite.op(
                    "softplus_parametric", opset, f"{dtype}_rank{len(shape)}", {"x": In(x), "alpha": a, "beta": b}, want
                )


GELU = {
    "EXACT": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "TANH_APPROXIMATION": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "SIGMOID_APPROXIMATION": lambda x: x * sigmoid(1.702 * x),
}


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def gelu_softmax(suite):
    for dtype in ("float16", "float32"):
        for shape, dims in (SHAPES if dtype == "float32" else []) + [((24,), None)]:
            x = random_array(seeded("gelu", shape), shape, dtype, -4, 4)
            for mode, function in GELU.items():
                suite.op(
                    "gelu",
                    15,
                    f"{dtype}_{mode.lower()}",
                    {"x": In(x, dims), "mode": mode},
                    apply(function, x),
                    atol=1e-6,
                )
            suite.op("gelu", 15, f"{dtype}_default", {"x": In(x, dims)}, apply(GELU["EXACT"], x), atol=1e-6)
        for shape in ((5,), (2, 3), (2, 1, 4), (1, 2, 3, 2), (2, 1, 2, 1, 3)):
            x = random_array(seeded("softmax", shape), shape, dtype, -5, 5)
            for axis in range(-len(shape), len(shape)):
                dims = (None,) + shape[1:] if axis % 2 else None
                suite.op(
                    "softmax",
                    15,
                    f"{dtype}_rank{len(shape)}",
                    {"x": In(x, dims), "axis": np.int32(axis)},
                    apply(lambda v: softmax(v, axis), x),
                )
            suite.op("softmax", 15, f"{dtype}_default", {"x": In(x)}, apply(lambda v: softmax(v, -1), x))
    big = np.array([[1000.0, 1001.0, 999.0], [-1000.0, -1000.0, -2000.0], [0.0, -np.inf, 1.0]], "float32")
    suite.op(
        "softmax",
        15,
        "large",
        {"x": In(big)},
        apply(lambda v: softmax(v, -1), big),
        reading="the maximum is subtracted first",
    )
    empty = np.zeros((0, 4), "float32")
    suite.op("softmax", 15, "empty", {"x": In(empty)}, empty, fold=False)
    suite.error(
        "softmax",
        15,
        "axis_out_of_range",
        {"x": In(np.ones((2, 3), "float32")), "axis": np.int32(2)},
        [((2, 3), "float32")],
    )
    suite.error(
        "gelu", 15, "unknown_mode", {"x": In(np.ones((2, 3), "float32")), "mode": "FAST"}, [((2, 3), "float32")]
    )


def add(suite):
    one_input(suite)
    scalar_parameters(suite)
    channel_parameters(suite)
    gelu_softmax(suite)
