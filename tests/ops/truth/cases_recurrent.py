"""lstm, gru, rnn and scaled_dot_product_attention."""

import numpy as np

import second_opinion
from harness import In, class_versions, narrow, random_array, seeded, wide


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "tanh": np.tanh,
    "scaled_tanh": np.tanh,
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "sigmoid_hard": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
}
SEQUENCE, BATCH, FEATURES, HIDDEN = 4, 2, 3, 2


def lstm_pass(x, h, c, w, u, b, p, gates, cell, activation, clip):
    rows = []
    size = h.shape[1]
    for step in x:
        i, f, o, z = np.split(step @ w.T + h @ u.T + b, 4, axis=1)
        i, f = gates(i + p[:size] * c), gates(f + p[size : 2 * size] * c)
        c = f * c + i * cell(z)
        c = c if clip is None else np.clip(c, -clip, clip)
        h = gates(o + p[2 * size :] * c) * activation(c)
        rows.append(h)
    return np.stack(rows), h, c


def lstm_case(
    suite,
    opset,
    dtype,
    label,
    direction="forward",
    sequence=True,
    biased=True,
    peephole=False,
    clip=None,
    activations=("sigmoid", "tanh", "tanh"),
    dynamic=False,
    length=SEQUENCE,
):
    rng = seeded("lstm", label, dtype)
    sides = 2 if direction == "bidirectional" else 1
    x = random_array(rng, (length, BATCH, FEATURES), dtype, -1.5, 1.5)
    h, c = random_array(rng, (BATCH, sides * HIDDEN), dtype), random_array(rng, (BATCH, sides * HIDDEN), dtype)
    parameters = []
    for _ in range(sides):
        parameters.append(
            [
                random_array(rng, s, dtype, -1, 1)
                for s in ((4 * HIDDEN, FEATURES), (4 * HIDDEN, HIDDEN), (4 * HIDDEN,), (3 * HIDDEN,))
            ]
        )
    results = []
    for k, (w, u, b, p) in enumerate(parameters):
        backwards = direction == "reverse" or k == 1
        v = wide(x)[::-1] if backwards else wide(x)
        part = slice(k * HIDDEN, (k + 1) * HIDDEN)
        rows, last_h, last_c = lstm_pass(
            v,
            wide(h)[:, part],
            wide(c)[:, part],
            wide(w),
            wide(u),
            wide(b) if biased else 0,
            wide(p) if peephole else np.zeros(3 * HIDDEN),
            *[ACTIVATIONS[a.lower()] for a in activations],
            None if clip is None else float(clip),
        )
        results.append((rows[::-1] if k == 1 else rows, last_h, last_c))
    source = None
    if dtype == "float32" and clip is None and all(a in ("sigmoid", "tanh", "relu") for a in activations) and biased:
        source = confirm_lstm(suite, label, x, h, c, parameters, direction, peephole, activations, results)
    ys = [r[0] if sequence else r[1][None] for r in results]
    want = [narrow(np.concatenate(v, axis=-1), dtype) for v in (ys, [r[1] for r in results], [r[2] for r in results])]
    inputs = {"x": In(x, (None, BATCH, FEATURES) if dynamic else None), "initial_h": In(h), "initial_c": In(c)}
    names = [
        ("weight_ih", "weight_hh", "bias", "peephole"),
        ("weight_ih_back", "weight_hh_back", "bias_back", "peephole_back"),
    ]
    for group, (w, u, b, p) in zip(names, parameters):
        inputs.update(
            {group[0]: w, group[1]: u, **({group[2]: b} if biased else {}), **({group[3]: p} if peephole else {})}
        )
    if direction != "forward":
        inputs["direction"] = direction
    if sequence:
        inputs["output_sequence"] = True
    if activations != ("sigmoid", "tanh", "tanh"):
        inputs.update(zip(("recurrent_activation", "cell_activation", "activation"), activations))
    if clip is not None:
        inputs["clip"] = np.dtype(dtype).type(clip)
    reading = {
        "reverse": "outputs stay in processing order: row 0 belongs to the last input",
        "bidirectional": "the backward half is aligned with input time",
    }.get(direction, "")
    suite.op(
        "lstm",
        opset,
        f"{dtype}_{label}",
        inputs,
        want,
        accumulate=True,
        source=source,
        reading=reading or ("clip bounds the cell state" if clip else ""),
        rtol=2e-5,
    )


def confirm_lstm(suite, label, x, h, c, parameters, direction, peephole, activations, results):
    def gates(a):  # i, f, o, z -> ONNX's i, o, f, c
        i, f, o, z = np.split(a, 4)
        return np.concatenate([i, o, f, z])

    names = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}
    w = np.stack([gates(p[0]) for p in parameters])
    u = np.stack([gates(p[1]) for p in parameters])
    b = np.stack([np.concatenate([gates(p[2]), np.zeros_like(p[2])]) for p in parameters])
    holes = (
        np.stack([np.concatenate([p[3][:HIDDEN], p[3][2 * HIDDEN :], p[3][HIDDEN : 2 * HIDDEN]]) for p in parameters])
        if peephole
        else None
    )
    first = [np.ascontiguousarray(v.reshape(BATCH, len(parameters), HIDDEN).transpose(1, 0, 2)) for v in (h, c)]
    got = second_opinion.run(
        "LSTM",
        [x, w, u, b, None, *first] + ([holes] if peephole else []),
        outputs=3,
        hidden_size=HIDDEN,
        direction=direction,
        activations=[names[a] for a in activations] * len(parameters),
    )
    if got is None:
        return None
    sequence = np.stack([r[0] if direction != "reverse" else r[0][::-1] for r in results], axis=1)
    second_opinion.confirm(suite, f"lstm {label} y", sequence, got[0])
    second_opinion.confirm(suite, f"lstm {label} h", np.stack([r[1] for r in results]), got[1])
    return second_opinion.confirm(suite, f"lstm {label} c", np.stack([r[2] for r in results]), got[2])


def lstm(suite):
    for opset in class_versions("lstm"):
        for dtype in ("float32",) if opset < 17 else ("float32", "float16"):
            for direction in ("forward", "reverse", "bidirectional"):
                for sequence in (True, False):
                    lstm_case(suite, opset, dtype, direction, direction, sequence)
                lstm_case(suite, opset, dtype, f"{direction}_peephole", direction, peephole=True)
            lstm_case(suite, opset, dtype, "no_bias", biased=False)
            lstm_case(suite, opset, dtype, "one_step", length=1)
            lstm_case(suite, opset, dtype, "dynamic", dynamic=True)
            lstm_case(suite, opset, dtype, "clipped", clip=0.25)
            lstm_case(suite, opset, dtype, "clipped_peephole", clip=0.5, peephole=True, direction="bidirectional")
            for names in (
                ("hard_sigmoid", "tanh", "tanh"),
                ("sigmoid", "relu", "tanh"),
                ("sigmoid", "tanh", "linear"),
                ("sigmoid", "scaled_tanh", "sigmoid"),
                ("SIGMOID", "Tanh", "RELU"),
                ("tanh", "linear", "hard_sigmoid"),
            ):
                lstm_case(suite, opset, dtype, "activations_" + "_".join(names).lower(), activations=names)


def gru_value(x, h, w, u, b, input_bias, gates, activation, reset_after):
    rows = []
    size = h.shape[1]
    for step in x:
        i_r, i_o, i_z = np.split(step @ w.T + input_bias, 3, axis=1)
        h_r, _, h_z = np.split(h @ u.T + b, 3, axis=1)
        r, z = gates(i_r + h_r), gates(i_z + h_z)
        inner = (
            r * (h @ u[size : 2 * size].T + b[size : 2 * size])
            if reset_after
            else (r * h) @ u[size : 2 * size].T + b[size : 2 * size]
        )
        h = (1 - z) * activation(i_o + inner) + z * h
        rows.append(h)
    return np.stack(rows), h


def gru_case(
    suite,
    opset,
    dtype,
    label,
    direction="forward",
    sequence=True,
    biased=True,
    activations=("sigmoid", "tanh"),
    reset_after=None,
    input_biased=False,
):
    rng = seeded("gru", label, dtype)
    x, h = random_array(rng, (SEQUENCE, BATCH, FEATURES), dtype, -1.5, 1.5), random_array(rng, (BATCH, HIDDEN), dtype)
    w, u, b, ib = [
        random_array(rng, s, dtype, -1, 1)
        for s in ((3 * HIDDEN, FEATURES), (3 * HIDDEN, HIDDEN), (3 * HIDDEN,), (3 * HIDDEN,))
    ]
    v = wide(x)[::-1] if direction == "reverse" else wide(x)
    bias = wide(b) if biased else np.zeros(3 * HIDDEN)
    rows, last = gru_value(
        v,
        wide(h),
        wide(w),
        wide(u),
        bias,
        wide(ib) if input_biased else np.zeros(3 * HIDDEN),
        *[ACTIVATIONS[a] for a in activations],
        bool(reset_after),
    )
    source = None
    if dtype == "float32" and activations == ("sigmoid", "tanh"):

        def order(a):  # r, o, z -> ONNX's z, r, h
            r, o, z = np.split(a, 3)
            return np.concatenate([z, r, o])

        both = np.concatenate([order(ib if input_biased else 0 * ib), order(bias.astype("float32"))])
        got = second_opinion.run(
            "GRU",
            [
                np.ascontiguousarray(v.astype("float32")),
                order(w)[None],
                order(u)[None],
                both[None].astype("float32"),
                None,
                h[None],
            ],
            outputs=2,
            hidden_size=HIDDEN,
            linear_before_reset=int(bool(reset_after)),
        )
        if got:
            second_opinion.confirm(suite, f"gru {label} y", rows[:, None], got[0])
            source = second_opinion.confirm(suite, f"gru {label} h", last[None], got[1])
    inputs = {
        "x": In(x),
        "initial_h": In(h),
        "weight_ih": w,
        "weight_hh": u,
        "direction": direction,
        "output_sequence": sequence,
    }
    if biased:
        inputs["bias"] = b
    if activations != ("sigmoid", "tanh"):
        inputs.update(recurrent_activation=activations[0], activation=activations[1])
    if reset_after is not None:
        inputs["reset_after"] = reset_after
    if input_biased:
        inputs["input_bias"] = ib
    reading = (
        "reset_after: input_bias_o outside the product with r, bias_o inside"
        if reset_after
        else "the reset gate multiplies h before the product with W_ho"
    )
    suite.op(
        "gru",
        opset,
        f"{dtype}_{label}",
        inputs,
        [narrow(rows if sequence else last[None], dtype), narrow(last, dtype)],
        accumulate=True,
        source=source,
        reading=reading,
        rtol=2e-5,
    )


def gru_and_rnn(suite):
    for opset in class_versions("gru"):
        for dtype in ("float32",) if opset < 17 else ("float32", "float16"):
            for direction in ("forward", "reverse"):
                for sequence in (True, False):
                    gru_case(suite, opset, dtype, direction, direction, sequence)
            gru_case(suite, opset, dtype, "no_bias", biased=False)
            for names in (("sigmoid", "relu"), ("tanh", "linear"), ("sigmoid", "scaled_tanh")):
                gru_case(suite, opset, dtype, "activations_" + "_".join(names), activations=names)
            if opset >= 18:
                for reset_after in (True, False):
                    for input_biased in (True, False):
                        gru_case(
                            suite,
                            opset,
                            dtype,
                            f"reset_after_{reset_after}".lower(),
                            reset_after=reset_after,
                            input_biased=input_biased,
                        )
                gru_case(
                    suite,
                    opset,
                    dtype,
                    "reset_after_reverse",
                    direction="reverse",
                    reset_after=True,
                    input_biased=True,
                    sequence=False,
                )
    for opset in class_versions("rnn"):
        for dtype in ("float32",) if opset < 17 else ("float32", "float16"):
            for activation in ("tanh", "relu", "sigmoid", "linear", "scaled_tanh", "sigmoid_hard", None):
                for direction in ("forward", "reverse"):
                    rng = seeded("rnn", activation, direction, dtype)
                    x, h = random_array(rng, (SEQUENCE, BATCH, FEATURES), dtype), random_array(
                        rng, (BATCH, HIDDEN), dtype
                    )
                    w, u, b = [
                        random_array(rng, s, dtype, -1, 1) for s in ((HIDDEN, FEATURES), (HIDDEN, HIDDEN), (HIDDEN,))
                    ]
                    state, rows = wide(h), []
                    for step in wide(x)[::-1] if direction == "reverse" else wide(x):
                        state = ACTIVATIONS[activation or "tanh"](
                            step @ wide(w).T + state @ wide(u).T + (wide(b) if activation else 0)
                        )
                        rows.append(state)
                    sequence = direction == "forward" or activation == "tanh"
                    inputs = {
                        "x": In(x),
                        "initial_h": In(h),
                        "weight_ih": w,
                        "weight_hh": u,
                        "direction": direction,
                        "output_sequence": sequence,
                    }
                    if activation:
                        inputs.update(bias=b, activation=activation)
                    suite.op(
                        "rnn",
                        opset,
                        f"{dtype}_{direction}_{activation or 'default'}",
                        inputs,
                        [narrow(np.stack(rows) if sequence else state[None], dtype), narrow(state, dtype)],
                        accumulate=True,
                        rtol=2e-5,
                        reading="outputs stay in processing order" if direction == "reverse" else "",
                    )


def attention(suite):
    shapes = [
        ((2, 3, 4), (2, 5, 4), (2, 5, 4)),
        ((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 2)),
        ((1, 1, 4), (1, 3, 4), (1, 3, 6)),
        ((2, 1, 2, 2, 4), (2, 1, 2, 3, 4), (2, 1, 2, 3, 4)),
    ]
    for dtype in ("float16", "float32"):
        for k, (qs, ks, vs) in enumerate(shapes):
            rng = seeded("sdpa", k, dtype)
            q, key, v = [random_array(rng, s, dtype) for s in (qs, ks, vs)]
            scores_shape = qs[:-1] + (ks[-2],)
            masks = {
                "none": None,
                "bool": rng.integers(0, 2, scores_shape).astype(bool) | np.eye(*scores_shape[-2:], dtype=bool),
                "float": random_array(rng, scores_shape[-2:], dtype),
                "row": np.arange(ks[-2])[None] > 0 if ks[-2] > 1 else None,
            }
            for name, mask in masks.items():
                logits = wide(q) @ np.swapaxes(wide(key), -1, -2) / np.sqrt(qs[-1])
                if mask is not None:
                    logits = np.where(mask, logits, -np.inf) if mask.dtype == bool else logits + wide(mask)
                e = np.exp(logits - logits.max(-1, keepdims=True))
                want = narrow(e / e.sum(-1, keepdims=True) @ wide(v), dtype)
                inputs = {
                    "query": In(q, (None,) * len(qs) if k == 0 and mask is None else None),
                    "key": In(key),
                    "value": In(v),
                }
                if mask is not None:
                    inputs["attn_mask"] = In(mask)
                if k == 0 and mask is None:
                    inputs["query"] = In(q)
                suite.op("scaled_dot_product_attention", 18, f"{dtype}_mask_{name}", inputs, want, accumulate=True)


def add(suite):
    lstm(suite)
    gru_and_rnn(suite)
    attention(suite)
