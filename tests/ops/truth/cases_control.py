"""const, cond, while_loop, lists, states, classify, and small programs of several ops."""

import numpy as np

from coremltools.converters.mil.mil import mil_list
from harness import MIL, OPSETS, In, const_operation, mb, random_array, seeded

F32 = "float32"


def constants(suite):
    values = {
        "float32": np.array([[1.5, -2.0, np.inf]], "float32"),
        "float16": np.array([0.5, 6e-8, 65504], "float16"),
        "int32": np.array([-2147483648, 2147483647], "int32"),
        "bool": np.array([True, False]),
        "int8": np.array([-128, 127], "int8"),
        "uint8": np.array([0, 255], "uint8"),
        "int16": np.array([-32768, 32767], "int16"),
        "uint16": np.array([0, 65535], "uint16"),
        "uint32": np.array([7, 4294967295], "uint32"),
        "empty": np.zeros((0, 3), "float32"),
        "rank0": np.array(2.0, "float16"),
    }
    for label, value in values.items():
        program = MIL.Program(version=1)
        function = program.functions["main"]
        function.opset = OPSETS[17]
        block = function.block_specializations[OPSETS[17]]
        block.operations.append(const_operation("c", value))
        block.outputs.append("c")
        if suite.only in (None, "const"):
            suite.write("const", 17, label, program, {}, [value], rtol=0, source="numpy")
    suite.program(
        "const",
        15,
        "two",
        {},
        lambda v: [mb.const(val=np.float32(3)), mb.const(val=np.array([1, 2], "int32"))],
        [np.float32(3), np.array([1, 2], "int32")],
        rtol=0,
    )


def branches(suite):
    x = np.array([1.0, -2.0, 3.0], F32)
    for pred in (True, False):

        def simple(v):
            return [
                mb.cond(
                    pred=v["pred"], _true_fn=lambda: mb.add(x=v["x"], y=1.0), _false_fn=lambda: mb.mul(x=v["x"], y=-2.0)
                )
            ]

        p = np.array(pred)
        suite.program(
            "cond", 15, f"simple_{pred}".lower(), {"pred": In(p), "x": In(x)}, simple, [x + 1 if pred else x * -2]
        )

        def pair(v):
            return mb.cond(
                pred=v["pred"],
                _true_fn=lambda: (mb.identity(x=v["x"]), mb.add(x=v["n"], y=1)),
                _false_fn=lambda: (mb.relu(x=v["x"]), mb.sub(x=v["n"], y=1)),
            )

        n = np.array(4, "int32")
        suite.program(
            "cond",
            15,
            f"two_outputs_{pred}".lower(),
            {"pred": In(p), "x": In(x), "n": In(n)},
            pair,
            [x if pred else np.maximum(x, 0), n + (1 if pred else -1)],
        )

        for inner in (True, False):

            def nested(v):
                def true_side():
                    return mb.cond(
                        pred=v["inner"],
                        _true_fn=lambda: mb.add(x=v["x"], y=10.0),
                        _false_fn=lambda: mb.add(x=v["x"], y=20.0),
                    )

                return [mb.cond(pred=v["pred"], _true_fn=true_side, _false_fn=lambda: mb.add(x=v["x"], y=30.0))]

            suite.program(
                "cond",
                15,
                f"nested_{pred}_{inner}".lower(),
                {"pred": In(p), "inner": In(np.array(inner)), "x": In(x)},
                nested,
                [x + (30 if not pred else 10 if inner else 20)],
            )

        def by_value(v):
            big = mb.reduce_sum(x=v["x"], keep_dims=False)
            test = mb.greater(x=big, y=0.0)
            return [mb.cond(pred=test, _true_fn=lambda: mb.square(x=v["x"]), _false_fn=lambda: mb.abs(x=v["x"]))]

        y = x if pred else -x
        suite.program(
            "cond", 15, f"computed_{pred}".lower(), {"x": In(y)}, by_value, [y * y if y.sum() > 0 else np.abs(y)]
        )


def loops(suite):
    for limit in (0, 1, 5):

        def count(v):
            return mb.while_loop(
                _cond=lambda i, a: mb.less(x=i, y=v["limit"]),
                _body=lambda i, a: (mb.add(x=i, y=1), mb.mul(x=a, y=2.0)),
                loop_vars=(v["start"], v["x"]),
            )

        x = np.array([1.0, -0.5], F32)
        suite.program(
            "while_loop",
            15,
            f"doubles_{limit}",
            {"start": In(np.array(0, "int32")), "limit": In(np.array(limit, "int32")), "x": In(x)},
            count,
            [np.array(limit, "int32"), x * 2.0**limit],
            note="zero iterations return the loop variables unchanged" if limit == 0 else None,
        )

        def nested(v):
            def body(i, total):
                def inner(j, t):
                    return mb.add(x=j, y=1), mb.add(x=t, y=mb.cast(x=mb.mul(x=i, y=j), dtype="fp32"))

                _, after = mb.while_loop(
                    _cond=lambda j, t: mb.less(x=j, y=3), _body=inner, loop_vars=(np.int32(0), total)
                )
                return mb.add(x=i, y=1), after

            return [
                mb.while_loop(
                    _cond=lambda i, t: mb.less(x=i, y=v["limit"]), _body=body, loop_vars=(v["start"], v["x"])
                )[1]
            ]

        x = np.array(0.5, F32)
        suite.program(
            "while_loop",
            15,
            f"nested_{limit}",
            {"start": In(np.array(0, "int32")), "limit": In(np.array(limit, "int32")), "x": In(x)},
            nested,
            [x + np.float32(sum(i * j for i in range(limit) for j in range(3)))],
        )

        def branching(v):
            def body(i, a):
                even = mb.equal(x=mb.mod(x=i, y=2), y=0)
                return mb.add(x=i, y=1), mb.cond(
                    pred=even, _true_fn=lambda: mb.add(x=a, y=1.0), _false_fn=lambda: mb.mul(x=a, y=3.0)
                )

            return [
                mb.while_loop(
                    _cond=lambda i, a: mb.less(x=i, y=v["limit"]), _body=body, loop_vars=(v["start"], v["x"])
                )[1]
            ]

        value = np.float32(0.5)
        for i in range(limit):
            value = value + 1 if i % 2 == 0 else value * 3
        suite.program(
            "while_loop",
            15,
            f"with_cond_{limit}",
            {"start": In(np.array(0, "int32")), "limit": In(np.array(limit, "int32")), "x": In(np.array(0.5, F32))},
            branching,
            [np.float32(value)],
        )

    def swap(v):
        return mb.while_loop(
            _cond=lambda a, b, n: mb.greater(x=n, y=0),
            _body=lambda a, b, n: (mb.identity(x=b), mb.identity(x=a), mb.sub(x=n, y=1)),
            loop_vars=(v["a"], v["b"], v["n"]),
        )

    a, b = np.array([1.0], F32), np.array([2.0], F32)
    suite.program(
        "while_loop",
        15,
        "swaps",
        {"a": In(a), "b": In(b), "n": In(np.array(3, "int32"))},
        swap,
        [b, a, np.array(0, "int32")],
        note="loop variables change all at once",
    )


def lists(suite):
    rows = [random_array(seeded("list", k), (2, 3), F32) for k in range(4)]
    inputs = {f"r{k}": In(r) for k, r in enumerate(rows)}

    def filled(v, length=4, dynamic=False, dtype="fp32"):
        ls = mb.make_list(init_length=length, dynamic_length=dynamic, elem_shape=(2, 3), dtype=dtype)
        for k in range(4):
            ls = mb.list_write(ls=ls, index=np.int32(k), value=v[f"r{k}"])
        return ls

    for dynamic in (False, True):
        label = "dynamic" if dynamic else "fixed"
        length = 1 if dynamic else 4
        grown = "a dynamic list grows to the written index + 1" if dynamic else ""
        suite.program(
            "list_read",
            15,
            label,
            inputs,
            lambda v: [mb.list_read(ls=filled(v, length, dynamic), index=np.int32(2))],
            [rows[2]],
            rtol=0,
            reading=grown,
        )
        suite.program(
            "list_length",
            15,
            label,
            inputs,
            lambda v: [mb.list_length(ls=filled(v, length, dynamic))],
            [np.array(4, "int32")],
            reading=grown,
        )
        suite.program(
            "list_gather",
            15,
            label,
            inputs,
            lambda v: [mb.list_gather(ls=filled(v, length, dynamic), indices=np.array([3, 0, 0], "int32"))],
            [np.stack([rows[3], rows[0], rows[0]])],
            rtol=0,
        )
        suite.program(
            "list_gather",
            15,
            f"{label}_indices_from_input",
            {**inputs, "indices": In(np.array([1, 2], "int32"))},
            lambda v: [mb.list_gather(ls=filled(v, length, dynamic), indices=v["indices"])],
            [np.stack([rows[1], rows[2]])],
            rtol=0,
        )

        def scattered(v):
            ls = mb.make_list(init_length=3, dynamic_length=dynamic, elem_shape=(2, 3))
            ls = mb.list_scatter(
                ls=ls, indices=np.array([2, 0, 1], "int32"), value=mb.stack(values=(v["r0"], v["r1"], v["r2"]), axis=0)
            )
            return [mb.list_gather(ls=ls, indices=np.array([0, 1, 2], "int32")), mb.list_length(ls=ls)]

        suite.program(
            "list_scatter",
            15,
            label,
            inputs,
            scattered,
            [np.stack([rows[1], rows[2], rows[0]]), np.array(3, "int32")],
            rtol=0,
        )

    def value_semantics(v):
        before = filled(v)
        after = mb.list_write(ls=before, index=np.int32(1), value=v["r3"])
        return [mb.list_read(ls=before, index=np.int32(1)), mb.list_read(ls=after, index=np.int32(1))]

    suite.program(
        "list_write",
        15,
        "old_list_unchanged",
        inputs,
        value_semantics,
        [rows[1], rows[3]],
        rtol=0,
        reading="list_write returns a new list, the old one keeps its elements",
    )
    suite.program(
        "list_write",
        15,
        "index_from_input",
        {**inputs, "at": In(np.array(1, "int32"))},
        lambda v: [
            mb.list_gather(
                ls=mb.list_write(ls=filled(v), index=v["at"], value=v["r3"]), indices=np.array([0, 1], "int32")
            )
        ],
        [np.stack([rows[0], rows[3]])],
        rtol=0,
    )
    suite.program(
        "identity",
        15,
        "list",
        inputs,
        lambda v: [mb.list_read(ls=mb.identity(x=filled(v)), index=np.int32(3))],
        [rows[3]],
        rtol=0,
    )
    for dtype, name in (("float16", "fp16"), ("int32", "int32"), ("bool", "bool")):
        value = random_array(seeded("list", dtype), (2,), dtype)
        suite.program(
            "make_list",
            15,
            dtype,
            {"x": In(value)},
            lambda v: [
                mb.list_read(
                    ls=mb.list_write(
                        ls=mb.make_list(init_length=2, dynamic_length=False, elem_shape=(2,), dtype=name),
                        index=np.int32(1),
                        value=v["x"],
                    ),
                    index=np.int32(1),
                )
            ],
            [value],
            rtol=0,
        )
    suite.program(
        "make_list",
        15,
        "defaults",
        {"x": In(rows[0])},
        lambda v: [mb.list_length(ls=mb.make_list(elem_shape=(2, 3)))],
        [np.array(1, "int32")],
        note="init_length 1, dynamic, fp32",
    )
    suite.program(
        "make_list",
        15,
        "scalar_elements",
        {"x": In(np.array(2.5, F32))},
        lambda v: [
            mb.list_gather(
                ls=mb.list_scatter(
                    ls=mb.make_list(init_length=2, dynamic_length=False, elem_shape=()),
                    indices=np.array([0, 1], "int32"),
                    value=mb.stack(values=(v["x"], mb.add(x=v["x"], y=1.0)), axis=0),
                ),
                indices=np.array([1, 0], "int32"),
            )
        ],
        [np.array([3.5, 2.5], F32)],
        rtol=0,
    )

    def running_sums(v):
        ls = mb.make_list(init_length=4, dynamic_length=False, elem_shape=(2,))

        def body(i, total, out):
            total = mb.add(x=total, y=mb.gather(x=v["x"], indices=i, axis=0))
            return mb.add(x=i, y=1), total, mb.list_write(ls=out, index=i, value=total)

        result = mb.while_loop(
            _cond=lambda i, t, o: mb.less(x=i, y=4), _body=body, loop_vars=(v["start"], v["zero"], ls)
        )
        return [mb.list_gather(ls=result[2], indices=np.arange(4, dtype="int32"))]

    x = random_array(seeded("running"), (4, 2), F32)
    suite.program(
        "while_loop",
        15,
        "list_carried",
        {"x": In(x), "start": In(np.array(0, "int32")), "zero": In(np.zeros(2, F32))},
        running_sums,
        [np.cumsum(x, 0, dtype=F32)],
    )


def states(suite):
    cache = np.array([[1, 2, 3], [4, 5, 6]], "float16")
    x = np.array([[10, 20, 30], [40, 50, 60]], "float16")
    suite.program(
        "read_state",
        18,
        "read",
        {"x": In(x)},
        lambda v: [mb.add(x=mb.read_state(input=v["s"]), y=v["x"])],
        [cache + x],
        states={"s": cache},
        states_after={"s": cache},
    )

    def update(v):
        value = mb.add(x=mb.read_state(input=v["s"]), y=v["x"])
        return [mb.mul(x=mb.coreml_update_state(state=v["s"], value=value), y=np.float16(2))]

    suite.program(
        "write_state",
        18,
        "update",
        {"x": In(x)},
        update,
        [(cache + x) * np.float16(2)],
        states={"s": cache},
        states_after={"s": cache + x},
    )

    def unused(v):
        mb.coreml_update_state(state=v["s"], value=v["x"])
        return [mb.identity(x=v["x"])]

    suite.program(
        "write_state",
        18,
        "result_unused",
        {"x": In(x)},
        unused,
        [x],
        states={"s": cache},
        states_after={"s": x},
        note="a write_state without reader is no dead code",
    )

    def order(v):
        before = mb.read_state(input=v["s"])
        mb.coreml_update_state(state=v["s"], value=v["x"])
        after = mb.read_state(input=v["s"])
        return [mb.identity(x=before), mb.identity(x=after)]

    suite.program(
        "read_state",
        18,
        "before_and_after",
        {"x": In(x)},
        order,
        [cache, x],
        states={"s": cache},
        states_after={"s": x},
        note="reads see the writes before them in file order",
    )

    def two(v):
        a, b = mb.read_state(input=v["s"]), mb.read_state(input=v["t"])
        mb.coreml_update_state(state=v["s"], value=b)
        mb.coreml_update_state(state=v["t"], value=a)
        return [mb.add(x=a, y=v["x"])]

    suite.program(
        "write_state",
        18,
        "two_swapped",
        {"x": In(x)},
        two,
        [cache + x],
        states={"s": cache, "t": x},
        states_after={"s": x, "t": cache},
    )

    def window(v):
        old = mb.read_state(input=v["s"])
        new = mb.slice_update(x=old, update=v["row"], begin=np.array([1, 0], "int32"), end=np.array([2, 3], "int32"))
        return [mb.identity(x=mb.coreml_update_state(state=v["s"], value=new))]

    row = np.array([[7, 8, 9]], "float16")
    suite.program(
        "write_state",
        18,
        "slice_updated",
        {"row": In(row)},
        window,
        [np.stack([cache[0], row[0]])],
        states={"s": cache},
        states_after={"s": np.stack([cache[0], row[0]])},
    )


def classify(suite):
    p = np.array([[0.1, 0.7, 0.2]], F32)
    names = ["cat", "dog", "bird"]
    for probabilities in (p, p[0], np.array([0.5, 0.25, 0.25], F32)):
        best = int(np.argmax(probabilities))
        flat = [float(v) for v in probabilities.ravel()]
        suite.program(
            "classify",
            15,
            "strings",
            {"p": In(probabilities)},
            lambda v: list(mb.classify(probabilities=v["p"], classes=mb.const(val=mil_list(names)))),
            [{"string": names[best]}, {"dictionary": [[n, q] for n, q in zip(names, flat)]}],
        )
        numbers = [np.int64(5), np.int64(-7), np.int64(1 << 40)]
        suite.program(
            "classify",
            15,
            "integers",
            {"p": In(probabilities)},
            lambda v: list(mb.classify(probabilities=v["p"], classes=mb.const(val=mil_list(numbers)))),
            [{"int64": int(numbers[best])}, {"dictionary": [[int(n), q] for n, q in zip(numbers, flat)]}],
        )

    def after_softmax(v):
        return list(mb.classify(probabilities=mb.softmax(x=v["x"]), classes=mb.const(val=mil_list(names))))

    x = np.array([0.0, 1.0, 3.0], F32)
    e = np.exp(x.astype("float64"))
    suite.program(
        "classify",
        15,
        "after_softmax",
        {"x": In(x)},
        after_softmax,
        [{"string": "bird"}, {"dictionary": [[n, float(q)] for n, q in zip(names, e / e.sum())]}],
        rtol=1e-5,
        atol=1e-7,
    )


def chains(suite):
    """Several ops in a row, as a check of the machinery between them."""
    x = random_array(seeded("chain"), (2, 3, 4), F32)

    def block(v):
        y = mb.transpose(x=v["x"], perm=[0, 2, 1])
        y = mb.reshape(x=y, shape=[2, 12])
        a, b = mb.split(x=y, num_splits=2, axis=1)
        return [mb.concat(values=(b, a), axis=1), mb.reduce_max(x=y, axes=[1], keep_dims=True)]

    y = x.transpose(0, 2, 1).reshape(2, 12)
    suite.program(
        "reshape",
        15,
        "chain",
        {"x": In(x)},
        block,
        [np.concatenate([y[:, 6:], y[:, :6]], 1), y.max(1, keepdims=True)],
        rtol=0,
    )

    def shape_math(v):
        rows = mb.gather(x=mb.shape(x=v["x"]), indices=np.int32(0), axis=0)
        return [
            mb.reshape(
                x=v["x"], shape=mb.concat(values=(mb.expand_dims(x=rows, axes=[0]), np.array([-1], "int32")), axis=0)
            )
        ]

    suite.program(
        "reshape", 15, "shape_arithmetic", {"x": In(x, (None, None, 4))}, shape_math, [x.reshape(2, 12)], rtol=0
    )


def add(suite):
    constants(suite)
    branches(suite)
    loops(suite)
    lists(suite)
    states(suite)
    classify(suite)
    chains(suite)
