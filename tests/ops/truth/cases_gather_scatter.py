"""gather, scatter and their along_axis and nd forms."""

import itertools

import numpy as np

from harness import In, class_versions, dtypes_of, narrow, random_array, seeded, wide

COMBINE = {
    "update": lambda old, new: new,
    "add": lambda old, new: old + new,
    "sub": lambda old, new: old - new,
    "mul": lambda old, new: old * new,
    "div": lambda old, new: old / new,
    "max": max,
    "min": min,
}


def gather_value(x, indices, axis, batch_dims=0):
    axis %= x.ndim
    if batch_dims == 0:
        return np.take(x, indices, axis=axis)
    return np.stack([gather_value(a, i, axis - 1, batch_dims - 1) for a, i in zip(x, indices)])


def gather_nd_value(x, indices, batch_dims=0):
    if batch_dims:
        return np.stack([gather_nd_value(a, i, batch_dims - 1) for a, i in zip(x, indices)])
    return x[tuple(np.moveaxis(indices, -1, 0))]


GATHER = [
    ((5,), (3,), 0, 0),
    ((4, 3), (2, 2), 0, 0),
    ((4, 3), (2,), 1, 0),
    ((4, 3), (), -1, 0),
    ((2, 3, 4), (3, 1), -2, 0),
    ((5,), (), 0, 0),
    ((4, 3), (0,), 0, 0),
    ((2, 1, 3, 2), (2,), 3, 0),
    ((2, 3), (2, 2), 1, 1),
    ((2, 3, 4), (2, 3), -1, 1),
    ((2, 3, 4), (2, 3, 2), 2, 2),
    ((2, 3, 4), (2,), 1, 1),
    ((2, 2, 3), (2, 2, 2), 2, 2),
]


def index_dtypes(op, opset, k, length):
    names = [n for n in dtypes_of(op, opset, "indices") if length <= 100]
    return (
        names
        if k == 0
        else (
            ["int32"] if len(names) == 1 else ["int32", names[k % len(names)]][: 1 + (names[k % len(names)] != "int32")]
        )
    )


def gather(suite):
    for opset in class_versions("gather"):
        for k, (shape, index_shape, axis, batch_dims) in enumerate(GATHER):
            if batch_dims and opset == 15:
                continue
            for j, index_dtype in enumerate(index_dtypes("gather", opset, k, shape[axis])):
                for dtype in dtypes_of("gather", opset, "x") if k == 1 and j == 0 else ["float32"]:
                    rng = seeded("gather", k, dtype)
                    x, n = random_array(rng, shape, dtype), shape[axis]
                    low = -n if opset < 17 and not index_dtype.startswith("u") else 0
                    indices = rng.integers(low, n, index_shape).astype(index_dtype)
                    inputs = {
                        "x": In(x, (None,) + shape[1:] if k == 2 else None),
                        "indices": In(indices),
                        "axis": np.int32(axis),
                    }
                    if batch_dims:
                        inputs["batch_dims"] = np.int32(batch_dims)
                    # folding is wrong for a negative axis with batch_dims
                    suite.op(
                        "gather",
                        opset,
                        f"{dtype}_{index_dtype}_{k}",
                        inputs,
                        gather_value(x, indices, axis, batch_dims),
                        rtol=0,
                        fold=len(index_shape) > 0 and index_shape != (0,) and not (batch_dims and axis < 0),
                    )
        x = np.arange(6, dtype="float32").reshape(3, 2)
        suite.op("gather", opset, "default_axis", {"x": In(x), "indices": np.array([2, 0], "int32")}, x[[2, 0]], rtol=0)
    x = np.arange(1, 13, dtype="float32").reshape(2, 2, 3)
    indices = np.array([[[1, 0], [0, 1]], [[1, 0], [0, 0]]], "int32")
    suite.op(
        "gather",
        16,
        "vector",
        {"x": In(x), "indices": In(indices), "axis": np.int32(2), "batch_dims": np.int32(2)},
        np.array([[[2, 1], [4, 5]], [[8, 7], [10, 10]]], "float32"),
        rtol=0,
        source="fact sheet vector",
    )
    for op, bad in (
        ("gather", np.array([0, 3], "int32")),
        ("gather", np.array([-1, 0], "int32")),
        ("gather_nd", np.array([[5]], "int32")),
        ("gather_nd", np.array([[-1]], "int32")),
    ):
        inputs = {"x": In(np.arange(3, dtype="float32")), "indices": In(bad), "validate_indices": True}
        suite.error(
            op,
            17,
            "bad_index",
            inputs,
            [((len(bad),), "float32")],
            reading="validate_indices=true makes a bad index a run-time error; negative is bad from iOS17",
        )
    suite.error(
        "gather_along_axis",
        17,
        "bad_index",
        {"x": In(np.arange(3, dtype="float32")), "indices": In(np.array([3], "int32")), "validate_indices": True},
        [((1,), "float32")],
    )
    suite.error(
        "gather",
        15,
        "axis_out_of_range",
        {"x": In(np.ones((2, 3), "float32")), "indices": np.array([0], "int32"), "axis": np.int32(2)},
        [((2, 1), "float32")],
    )


def gather_others(suite):
    along = [
        ((4,), (2,), 0),
        ((3, 4), (3, 2), 1),
        ((3, 4), (5, 4), 0),
        ((2, 3, 2), (2, 3, 4), -1),
        ((2, 3), (0, 3), 0),
        ((2, 2, 3), (2, 1, 3), -2),
    ]
    for opset in class_versions("gather_along_axis"):
        for k, (shape, index_shape, axis) in enumerate(along):
            for j, index_dtype in enumerate(index_dtypes("gather_along_axis", opset, k, shape[axis])):
                for dtype in dtypes_of("gather_along_axis", opset, "x") if k == 1 and j == 0 else ["float32"]:
                    rng = seeded("along", k, dtype)
                    x, n = random_array(rng, shape, dtype), shape[axis]
                    indices = rng.integers(
                        -n if opset < 17 and not index_dtype.startswith("u") else 0, n, index_shape
                    ).astype(index_dtype)
                    suite.op(
                        "gather_along_axis",
                        opset,
                        f"{dtype}_{index_dtype}_{k}",
                        {"x": In(x), "indices": In(indices), "axis": np.int32(axis)},
                        np.take_along_axis(x, indices.astype("int64"), axis),
                        rtol=0,
                    )
    nd = [
        ((5,), (3, 1), 0),
        ((3, 4), (2, 2), 0),
        ((3, 4), (2, 1), 0),
        ((2, 3, 4), (2, 2, 2), 0),
        ((2, 3, 4), (1, 3), 0),
        ((3, 4), (0, 2), 0),
        ((2, 3, 4), (2, 2, 1), 1),
        ((2, 3, 4), (2, 3, 1), 2),
        ((2, 3, 2), (2, 2), 1),
    ]
    for opset in class_versions("gather_nd"):
        for k, (shape, index_shape, batch_dims) in enumerate(nd):
            if batch_dims and opset == 15:
                continue
            for j, index_dtype in enumerate(index_dtypes("gather_nd", opset, k, 10)):
                for dtype in dtypes_of("gather_nd", opset, "x") if k == 1 and j == 0 else ["float32"]:
                    rng = seeded("gather_nd", k, dtype)
                    x = random_array(rng, shape, dtype)
                    limits = np.array(shape[batch_dims : batch_dims + index_shape[-1]])
                    indices = (rng.integers(0, 1000, index_shape) % limits).astype(index_dtype)
                    if opset < 17 and index_dtype == "int32" and k in (1, 3):
                        indices = np.where(rng.integers(0, 2, index_shape) == 0, indices, indices - limits).astype(
                            "int32"
                        )
                    inputs = {"x": In(x), "indices": In(indices)}
                    if batch_dims:
                        inputs["batch_dims"] = np.int32(batch_dims)
                    suite.op(
                        "gather_nd",
                        opset,
                        f"{dtype}_{index_dtype}_{k}",
                        inputs,
                        gather_nd_value(x, indices.astype("int64"), batch_dims),
                        rtol=0,
                        fold=False,
                    )


def scatter_at(data, places, updates, mode):
    """places: list of (index into data, index into updates) pairs of single elements."""
    out = wide(data).copy()
    new = wide(updates)
    for where, source in places:
        out[where] = COMBINE[mode](out[where], new[source])
    return narrow(out, data.dtype)


def modes_for(dtype, k):
    names = [m for m in COMBINE if not (m == "div" and dtype == "int32")]
    return names + [None] if k < 2 else [names[k % len(names)]]


def write_scatter(suite, op, opset, label, data, indices, updates, mode, extra, places):
    if mode in ("update", "div"):  # the order of repeated places would matter
        if len({p[0] for p in places}) != len(places):
            return
    inputs = {"data": In(data), "indices": In(indices), "updates": In(updates), **extra}
    if mode:
        inputs["mode"] = mode
    want = scatter_at(data, places, updates, mode or "add")
    suite.op(
        op,
        opset,
        f"{label}_{mode or 'default'}",
        inputs,
        want,
        fold=False,
        accumulate=True,
        reading="" if mode else "the default mode is add",
    )


def scatter(suite):
    for opset in class_versions("scatter"):
        for k, (shape, count, axis) in enumerate(
            [((5,), 3, 0), ((4, 3), 2, 0), ((3, 4), 3, 1), ((2, 3, 4), 2, -2), ((4, 2), 0, 0), ((3, 2), 4, 0)]
        ):
            for dtype in dtypes_of("scatter", opset, "data"):
                rng = seeded("scatter", k, dtype)
                a, n = axis % len(shape), shape[axis]
                indices = (rng.permutation(n)[:count] if count <= n else rng.integers(0, n, count)).astype("int32")
                if opset == 15 and count:
                    indices[0] -= n
                data = random_array(rng, shape, dtype)
                updates = random_array(rng, shape[:a] + (count,) + shape[a + 1 :], dtype, 0.5, 2)
                places = [
                    (p[:a] + (int(indices[p[a]]) % n,) + p[a + 1 :], p)
                    for p in itertools.product(*map(range, updates.shape))
                ]
                for mode in modes_for(dtype, k):
                    write_scatter(
                        suite,
                        "scatter",
                        opset,
                        f"{dtype}_{k}",
                        data,
                        indices,
                        updates,
                        mode,
                        {"axis": np.int32(axis)},
                        places,
                    )
    for opset in class_versions("scatter_along_axis"):
        for k, (shape, count, axis) in enumerate(
            [((5,), 3, 0), ((4, 3), 2, 0), ((3, 4), 2, 1), ((2, 3, 4), 2, -2), ((4, 2), 0, 0), ((2, 3), 5, 1)]
        ):
            for dtype in dtypes_of("scatter_along_axis", opset, "data"):
                rng = seeded("scatter_along", k, dtype)
                a, n = axis % len(shape), shape[axis]
                index_shape = shape[:a] + (count,) + shape[a + 1 :]
                order = np.argsort(rng.random(shape), axis=a).astype("int32")
                indices = (
                    np.take(order, range(count), axis=a)
                    if count <= n
                    else rng.integers(0, n, index_shape).astype("int32")
                )
                data, updates = random_array(rng, shape, dtype), random_array(rng, index_shape, dtype, 0.5, 2)
                places = [
                    (p[:a] + (int(indices[p]) % n,) + p[a + 1 :], p)
                    for p in itertools.product(*map(range, index_shape))
                ]
                for mode in modes_for(dtype, k):
                    write_scatter(
                        suite,
                        "scatter_along_axis",
                        opset,
                        f"{dtype}_{k}",
                        data,
                        indices,
                        updates,
                        mode,
                        {"axis": np.int32(axis)},
                        places,
                    )
    for opset in class_versions("scatter_nd"):
        for k, (shape, index_shape) in enumerate(
            [
                ((5,), (3, 1)),
                ((3, 4), (3, 2)),
                ((4, 3), (2, 1)),
                ((2, 3, 4), (2, 2, 2)),
                ((2, 3), (0, 2)),
                ((3, 2), (5, 1)),
            ]
        ):
            for dtype in dtypes_of("scatter_nd", opset, "data"):
                rng = seeded("scatter_nd", k, dtype)
                depth = index_shape[-1]
                number = int(np.prod(index_shape[:-1]))
                cells = int(np.prod(shape[:depth]))
                flat = rng.permutation(cells)[:number] if number <= cells else rng.integers(0, cells, number)
                indices = np.stack(np.unravel_index(flat, shape[:depth]), -1).reshape(index_shape).astype("int32")
                data, updates = random_array(rng, shape, dtype), random_array(
                    rng, index_shape[:-1] + shape[depth:], dtype, 0.5, 2
                )
                lead = len(index_shape) - 1
                places = [
                    (tuple(int(v) for v in indices[p[:lead]]) + p[lead:], p)
                    for p in itertools.product(*map(range, updates.shape))
                ]
                for mode in modes_for(dtype, k):
                    write_scatter(suite, "scatter_nd", opset, f"{dtype}_{k}", data, indices, updates, mode, {}, places)
    data, updates = In(np.zeros(3, "float32")), In(np.ones(1, "float32"))
    for op, bad in (("scatter", [3]), ("scatter", [-1]), ("scatter_along_axis", [3]), ("scatter_nd", [[3]])):
        suite.error(
            op,
            17,
            "bad_index",
            {"data": data, "indices": In(np.array(bad, "int32")), "updates": updates, "validate_indices": True},
            [((3,), "float32")],
            reading="validate_indices=true makes a bad index a run-time error; negative is bad from iOS17",
        )
    suite.error(
        "scatter",
        15,
        "unknown_mode",
        {"data": data, "indices": In(np.array([0], "int32")), "updates": updates, "mode": "average"},
        [((3,), "float32")],
    )


def add(suite):
    gather(suite)
    gather_others(suite)
    scatter(suite)
