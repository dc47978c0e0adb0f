"""Random ops: the values are free, so a case gives shape, dtype and the distribution to expect."""

import numpy as np

from harness import In, mb


def one(suite, op, label, inputs, arguments, shape, dtype, **moments):
    """moments: low, high (inclusive unless high_open), mean, std, integral; None = not checked."""

    def build(v):
        return [getattr(mb, op)(**{**v, **arguments})]

    count = int(np.prod(shape))
    expectation = {
        "shape": list(shape),
        "dtype": dtype,
        "count": count,
        **{k: v for k, v in moments.items() if v is not None},
    }
    suite.program(
        op, 15, label, inputs, build, [None], source="numpy", extra={"check": "distribution", "expect": [expectation]}
    )


def add(suite):
    shape = np.array([40, 50], "int32")
    for dtype in ("float16", "float32"):
        t = np.dtype(dtype).type
        for given in (True, False):
            if not given and dtype == "float16":
                continue
            p = 0.25 if given else 0.5
            options = {"prob": t(p), "seed": np.int32(7)} if given else {}
            label = dtype if given else "default"
            one(
                suite,
                "random_bernoulli",
                label,
                {},
                {"shape": shape, **options},
                (40, 50),
                dtype,
                low=0,
                high=1,
                mean=p,
                std=float(np.sqrt(p * (1 - p))),
                integral=True,
            )
            mean, deviation = (3.0, 0.5) if given else (0.0, 1.0)
            options = {"mean": t(mean), "stddev": t(deviation), "seed": np.int32(7)} if given else {}
            one(
                suite,
                "random_normal",
                label,
                {},
                {"shape": shape, **options},
                (40, 50),
                dtype,
                mean=mean,
                std=deviation,
            )
            low, high = (-2.0, 6.0) if given else (0.0, 1.0)
            options = {"low": t(low), "high": t(high), "seed": np.int32(7)} if given else {}
            one(
                suite,
                "random_uniform",
                label,
                {},
                {"shape": shape, **options},
                (40, 50),
                dtype,
                low=low,
                high=high,
                mean=(low + high) / 2,
                std=(high - low) / 12**0.5,
                high_open=dtype == "float32",
            )
        probabilities = np.array([[0.5, 0.25, 0.25]], dtype)
        moments = dict(low=0, high=2, mean=0.75, std=float(np.sqrt(1.25 - 0.75**2)), integral=True)
        one(
            suite,
            "random_categorical",
            f"{dtype}_probs",
            {"x": In(probabilities)},
            {"mode": "probs", "size": np.int32(2000), "seed": np.int32(3)},
            (1, 2000),
            dtype,
            **moments,
        )
        one(
            suite,
            "random_categorical",
            f"{dtype}_logits",
            {"x": In(np.log(probabilities))},
            {"size": np.int32(2000)},
            (1, 2000),
            dtype,
            **moments,
        )
    certain = np.array([[0, 0, 1, 0], [1, 0, 0, 0]], "float32")
    one(
        suite,
        "random_categorical",
        "default_size",
        {"x": In(certain)},
        {"mode": "probs"},
        (2, 1),
        "float32",
        low=0,
        high=2,
        integral=True,
    )
    for op in ("random_bernoulli", "random_normal", "random_uniform"):
        one(suite, op, "shape_from_input", {"shape": In(np.array([3, 2], "int32"))}, {}, (3, 2), "float32")
        one(suite, op, "empty", {}, {"shape": np.array([0, 2], "int32")}, (0, 2), "float32")
    suite.program(
        "random_bernoulli",
        15,
        "always",
        {},
        lambda v: [mb.random_bernoulli(shape=np.array([3], "int32"), prob=1.0)],
        [np.ones(3, "float32")],
    )
    suite.program(
        "random_bernoulli",
        15,
        "never",
        {},
        lambda v: [mb.random_bernoulli(shape=np.array([3], "int32"), prob=0.0)],
        [np.zeros(3, "float32")],
    )
    suite.program(
        "random_normal",
        15,
        "no_spread",
        {},
        lambda v: [mb.random_normal(shape=np.array([3], "int32"), mean=2.5, stddev=0.0)],
        [np.full(3, 2.5, "float32")],
    )
