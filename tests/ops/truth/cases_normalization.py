"""batch_norm, instance_norm, layer_norm, l2_norm, local_response_norm."""

import numpy as np

import second_opinion
from harness import In, class_versions, narrow, random_array, seeded, wide


def channel(values, rank):
    return wide(values).reshape((1, -1) + (1,) * (rank - 2))


def parameter_dtype(opset, dtype, k):
    """From iOS17 the parameters may have the other float type."""
    return {"float16": "float32", "float32": "float16"}[dtype] if opset >= 17 and k % 3 == 2 else dtype


def batch_norm(suite):
    shapes = [(2, 3, 4), (1, 2, 3, 2), (2, 3, 1, 2, 2), (0, 3, 2, 2), (2, 3, 2, 2)]
    for opset in class_versions("batch_norm"):
        for dtype in ("float16", "float32"):
            for k, shape in enumerate(shapes):
                rng = seeded("batch_norm", shape, dtype)
                p = parameter_dtype(opset, dtype, k)
                x = random_array(rng, shape, dtype)
                mean, variance = random_array(rng, shape[1:2], p), random_array(rng, shape[1:2], p, 0.2, 2)
                gamma, beta = random_array(rng, shape[1:2], p), random_array(rng, shape[1:2], p)
                for scaled in (True, False):
                    for epsilon in (None, 0.125):
                        inputs = {
                            "x": In(x, (None,) + shape[1:] if k == 4 else None),
                            "mean": mean,
                            "variance": variance,
                        }
                        e = float(np.dtype(p).type(1e-5 if epsilon is None else epsilon))
                        out = (wide(x) - channel(mean, x.ndim)) / np.sqrt(channel(variance, x.ndim) + e)
                        if scaled:
                            inputs.update(gamma=gamma, beta=beta)
                            out = out * channel(gamma, x.ndim) + channel(beta, x.ndim)
                        if epsilon is not None:
                            inputs["epsilon"] = np.dtype(p).type(epsilon)
                        suite.op(
                            "batch_norm",
                            opset,
                            f"{dtype}_rank{len(shape)}",
                            inputs,
                            narrow(out, dtype),
                            accumulate=True,
                        )
            x = random_array(seeded("batch_norm", "gamma only"), (1, 2, 3), dtype)
            t = np.dtype(dtype)
            one, gamma = np.ones(2, t), np.array([2, -3], t)
            suite.op(
                "batch_norm",
                opset,
                f"{dtype}_gamma_only",
                {"x": In(x), "mean": 0 * one, "variance": one, "gamma": gamma, "epsilon": t.type(0)},
                narrow(wide(x) * channel(gamma, 3), dtype),
            )


def instance_norm(suite):
    for opset in class_versions("instance_norm"):
        for dtype in ("float16", "float32"):
            for k, shape in enumerate([(2, 3, 4), (1, 2, 3, 4), (2, 2, 5), (2, 3, 3, 3)]):
                rng = seeded("instance_norm", shape, dtype)
                p = parameter_dtype(opset, dtype, k)
                x = random_array(rng, shape, dtype)
                axes = tuple(range(2, x.ndim))
                gamma, beta = random_array(rng, shape[1:2], p), random_array(rng, shape[1:2], p)
                for scaled in (True, False):
                    for epsilon in (None, 0.125):
                        inputs = {"x": In(x, (None, shape[1]) + shape[2:] if k == 3 else None)}
                        # without any fp16 parameter the builder makes the default epsilon as wide as x
                        e = 1e-5 if epsilon is None else float(np.dtype(p).type(epsilon))
                        v = wide(x)
                        out = (v - v.mean(axes, keepdims=True)) / np.sqrt(v.var(axes, keepdims=True) + e)
                        if scaled:
                            inputs.update(gamma=gamma, beta=beta)
                            out = out * channel(gamma, x.ndim) + channel(beta, x.ndim)
                        if epsilon is not None:
                            inputs["epsilon"] = np.dtype(p).type(epsilon)
                        suite.op(
                            "instance_norm",
                            opset,
                            f"{dtype}_rank{len(shape)}",
                            inputs,
                            narrow(out, dtype),
                            accumulate=True,
                        )


LAYER = [
    ((5,), None),
    ((2, 5), [1]),
    ((2, 5), [-1]),
    ((2, 3, 4), [2]),
    ((2, 3, 4), [1, 2]),
    ((2, 3, 4), None),
    ((2, 3, 4), [0, 2]),
    ((2, 3, 4), [-1, -2]),
    ((1, 2, 3, 4), [1, 2, 3]),
    ((1, 2, 3, 4), [1]),
    ((2, 1, 2, 2, 3), [3, 4]),
    ((0, 4), [1]),
]


def layer_norm(suite):
    for opset in class_versions("layer_norm"):
        for dtype in ("float16", "float32"):
            for k, (shape, axes) in enumerate(LAYER):
                rng = seeded("layer_norm", shape, axes, dtype)
                p = parameter_dtype(opset, dtype, k)
                x = random_array(rng, shape, dtype)
                used = sorted(a % len(shape) for a in (axes or range(len(shape))))
                normalised = tuple(shape[a] for a in used)
                layout = [shape[a] if a in used else 1 for a in range(len(shape))]
                gamma, beta = random_array(rng, normalised, p), random_array(rng, normalised, p)
                for scaled in (True, False):
                    epsilon = 0.25 if (k + scaled) % 2 else None
                    inputs = {"x": In(x, (None,) + shape[1:] if len(shape) == 3 and axes == [2] else None)}
                    if axes is not None:
                        inputs["axes"] = np.array(axes, "int32")
                    v = wide(x)
                    e = 1e-5 if epsilon is None else epsilon
                    out = (v - v.mean(tuple(used), keepdims=True)) / np.sqrt(v.var(tuple(used), keepdims=True) + e)
                    if scaled:
                        inputs.update(gamma=gamma, beta=beta)
                        out = out * wide(gamma).reshape(layout) + wide(beta).reshape(layout)
                    if epsilon is not None:
                        inputs["epsilon"] = np.dtype(p).type(epsilon)
                    source = None
                    if dtype == p == "float32" and scaled and axes in ([2], [1, 2]) and x.ndim == 3:
                        got = second_opinion.run("LayerNormalization", [x, gamma, beta], axis=used[0], epsilon=e)
                        source = second_opinion.confirm(suite, f"layer_norm {shape} {axes}", out, got and got[0])
                    write = suite.raw if axes is None else suite.op  # the builder fails on absent axes
                    write(
                        "layer_norm",
                        opset,
                        f"{dtype}_rank{len(shape)}",
                        inputs,
                        narrow(out, dtype),
                        accumulate=True,
                        source=source,
                        rtol=2e-5,
                    )


def l2_norm(suite):
    for opset in class_versions("l2_norm"):
        for dtype in ("float16", "float32"):
            for k, shape in enumerate([(2, 3, 2), (2, 1, 3, 2), (2, 2, 1, 2, 2), (1, 1, 5), (0, 2, 3, 1)]):
                x = random_array(seeded("l2_norm", shape, dtype), shape, dtype)
                for epsilon in (None, 0.5):
                    v = wide(x)
                    out = v / np.sqrt(
                        (v * v).sum(axis=(-3, -2, -1), keepdims=True) + (1e-6 if epsilon is None else epsilon)
                    )
                    inputs = {"x": In(x, (None,) + shape[1:] if k == 1 else None)}
                    if epsilon is not None:
                        inputs["epsilon"] = np.dtype(parameter_dtype(opset, dtype, k)).type(epsilon)
                    suite.op(
                        "l2_norm",
                        opset,
                        f"{dtype}_rank{len(shape)}",
                        inputs,
                        narrow(out, dtype),
                        accumulate=True,
                        reading="the sum runs over the last three dims; leading dims are batch",
                    )
        zeros = np.zeros((1, 2, 2), "float32")
        suite.op("l2_norm", opset, "zeros", {"x": In(zeros)}, zeros)


def local_response(x, size, alpha, beta, k):
    v = wide(x)
    axis = v.ndim - 3
    before, after = size // 2, (size - 1) // 2
    padded = np.pad(v * v, [(before, after) if a == axis else (0, 0) for a in range(v.ndim)])
    total = sum(np.take(padded, np.arange(s, s + v.shape[axis]), axis=axis) for s in range(size))
    return v / (k + alpha / size * total) ** beta


def local_response_norm(suite):
    for opset in class_versions("local_response_norm"):
        for dtype in ("float16", "float32"):
            for j, (shape, size) in enumerate(
                [
                    ((1, 5, 2, 2), 3),
                    ((2, 4, 1, 3), 2),
                    ((1, 6, 2, 1), 5),
                    ((1, 3, 2, 2), 1),
                    ((4, 2, 2), 3),
                    ((1, 2, 3, 2, 2), 3),
                ]
            ):
                x = random_array(seeded("lrn", shape, dtype), shape, dtype, -3, 3)
                for given in ({}, {"alpha": 0.5, "beta": 0.5, "k": 2.0}, {"alpha": 1.0, "k": 0.5}):
                    t = np.dtype(parameter_dtype(opset, dtype, j)).type
                    full = {"alpha": 1e-4, "beta": 0.75, "k": 1.0, **given}
                    out = local_response(x, size, **full)
                    source = None
                    if dtype == "float32" and x.ndim == 4 and size % 2:
                        got = second_opinion.run(
                            "LRN", [x], size=size, alpha=full["alpha"], beta=full["beta"], bias=full["k"]
                        )
                        source = second_opinion.confirm(suite, f"lrn {shape} {size}", out, got and got[0])
                    suite.op(
                        "local_response_norm",
                        opset,
                        f"{dtype}_rank{len(shape)}",
                        {"x": In(x), "size": np.int32(size), **{n: t(v) for n, v in given.items()}},
                        narrow(out, dtype),
                        accumulate=True,
                        source=source,
                        reading="channel axis is -3; an even window reaches one further before than after",
                    )
        x = np.array([[[1, -7], [5, -6], [-3, -5]]], "float32")
        want = np.array([[[0.999975, -6.991437], [4.996877, -5.994606], [-2.999325, -4.996877]]], "float32")
        suite.op(
            "local_response_norm",
            opset,
            "vector",
            {"x": In(x), "size": np.int32(3)},
            want,
            source="fact sheet vector",
            rtol=1e-5,
            reading="channel axis is -3",
        )


def add(suite):
    batch_norm(suite)
    instance_norm(suite)
    layer_norm(suite)
    l2_norm(suite)
    local_response_norm(suite)
