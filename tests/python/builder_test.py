"""Programs built in Python, operators and rewrite rules said in Python: held to NumPy and ONNX Runtime; coremltools loads what is saved."""

import os
import tempfile
import unittest

import numpy
import onnxruntime
import pomona
from onnx import TensorProto, helper, numpy_helper
from pomona import Rule, pattern

RANDOM = numpy.random.default_rng(3)


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(numpy.float32)


def model_of(nodes, inputs, outputs, constants=None, domains=()):
    def info(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "g", [info(*each) for each in inputs.items()], [info(*each) for each in outputs.items()],
                              [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), *(helper.make_opsetid(each, 1) for each in domains)],
                             ir_version=9)


class Building(unittest.TestCase):
    def test_a_network(self):
        weight, bias, scale = normal(8, 3, 3, 3), normal(8), normal(8, 1, 1)
        with pomona.program({"x": (1, 3, (8, 64), 16)}, target="iOS17") as p:
            h = p.conv(x=p["x"], weight=weight, bias=bias, pad_type="same", strides=[2, 2], name="stem")
            self.assertEqual(h.shape[:2], (1, 8))
            self.assertEqual(h.dtype, "fp32")
            h = p.relu(x=scale * h) / 2 - 1
            first, second = p.split(x=h, num_splits=2, axis=1)
            p.output("y", p.concat(values=[second, 1 - first], axis=1))
            p.output("mean", p.reduce_mean(x=h, axes=[2, 3], keep_dims=False))
        x = normal(1, 3, 10, 16)
        got = p.model.predict({"x": x})

        padded = numpy.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)))
        windows = numpy.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
        h = numpy.einsum("nchwij,ocij->nohw", windows, weight) + bias[:, None, None]
        h = numpy.maximum(scale * h, 0) / 2 - 1
        numpy.testing.assert_allclose(got["y"], numpy.concatenate([h[:, 4:], 1 - h[:, :4]], axis=1), rtol=1e-4, atol=1e-4)
        numpy.testing.assert_allclose(got["mean"], h.mean(axis=(2, 3)), rtol=1e-4, atol=1e-4)

    def test_operators(self):
        a, b = normal(2, 3), numpy.abs(normal(2, 3)) + 0.5
        cases = {"add": lambda x, y: x + y, "sub": lambda x, y: 3 - x, "mul": lambda x, y: x * y, "div": lambda x, y: x / y,
                 "pow": lambda x, y: y ** 2, "mod": lambda x, y: x % y, "floor": lambda x, y: x // y, "neg": lambda x, y: -x,
                 "abs": lambda x, y: abs(x), "array": lambda x, y: a * y}
        with pomona.program({"x": (2, 3), "y": (2, 3)}) as p:
            for name, work in cases.items():
                p.output(name, work(p["x"], p["y"]))
            p.output("less", p.cast(x=(p["x"] < p["y"]) & ~(p["x"] >= 0), dtype="fp32"))
            p.output("matmul", p["x"] @ p.transpose(x=p["y"], perm=[1, 0]))
        got = p.model.predict({"x": a, "y": b})
        for name, work in cases.items():
            numpy.testing.assert_allclose(got[name], work(a, b), rtol=1e-5, atol=1e-6, err_msg=name)
        numpy.testing.assert_array_equal(got["less"], (a < b) & ~(a >= 0))
        numpy.testing.assert_allclose(got["matmul"], a @ b.T, rtol=1e-5)

    def test_control_flow_and_states(self):
        with pomona.program({"n": ((1,), "int32")}) as p:
            _, total = p.while_loop(loop_vars=[p["n"], numpy.zeros(1, numpy.int32)],
                                    condition=lambda p, i, total: p.squeeze(x=i > 0, axes=[0]),
                                    body=lambda p, i, total: (i - 1, total + i))
            p.output("sum", p.cond(pred=p.squeeze(x=total > 10, axes=[0]), true=lambda p: total * 2, false=lambda p: total))
        for n in (3, 6):
            total = n * (n + 1) // 2
            self.assertEqual(p.model.predict({"n": [n]})["sum"], [2 * total if total > 10 else total])
        with pomona.program({"x": (2, 2)}, states={"kept": (2, 2)}) as p:
            now = p.read_state(input=p["kept"]) + p.cast(x=p["x"], dtype="fp16")
            p.write_state(input=p["kept"], data=now)
            p.output("y", p.cast(x=now, dtype="fp32"))
        state = p.model.make_state()
        for _ in range(3):
            y = p.model.predict({"x": numpy.ones((2, 2))}, state=state)["y"]
        numpy.testing.assert_array_equal(y, numpy.full((2, 2), 3))

    def test_more_initial_states_than_sequences(self):
        # As coremltools' PyTorch front end writes it for packed sequences; Core ML takes it.
        def lstm(rows):
            with pomona.program({"x": (5, 3, 4)}, target="iOS17") as p:
                state = numpy.zeros((rows, 6), numpy.float32)
                y, _, _ = p.lstm(x=p["x"], initial_h=state, initial_c=state, weight_ih=weight[:, :4], weight_hh=weight, output_sequence=True)
                p.output("y", y)
            return p.model.predict({"x": x})["y"]
        weight, x = normal(24, 6), normal(5, 3, 4)
        numpy.testing.assert_array_equal(lstm(10), lstm(3))
        with self.assertRaisesRegex(pomona.Error, "initial_h"):
            lstm(2)

    def test_saved_verified_compressed(self):
        import pomona.coremltools_backend as backend
        backend.install()
        self.addCleanup(backend.uninstall)
        import coremltools
        from coremltools.converters.mil.frontend.milproto import load as milproto
        weight = normal(64, 64)
        with pomona.program({"x": (1, 64)}, target="iOS17") as p:
            p.output("y", p.softmax(x=p.linear(x=p["x"], weight=weight, bias=numpy.zeros(64)), axis=-1))
        x = normal(1, 64)
        scores = x @ weight.T
        want = numpy.exp(scores - scores.max())
        want /= want.sum()
        with tempfile.TemporaryDirectory() as folder:
            p.model.save(f"{folder}/built.mlpackage")
            theirs = coremltools.models.MLModel(f"{folder}/built.mlpackage")
            spec = theirs.get_spec()
            read = milproto.load(spec, specification_version=spec.specificationVersion, file_weights_dir=theirs.weights_dir)
            self.assertIn("linear", [op.op_type for op in read.functions["main"].operations])
            numpy.testing.assert_allclose(theirs.predict({"x": x})["y"], want, rtol=1e-4, atol=1e-6)
        self.assertTrue(pomona.verify(p.model, reference=lambda given: {"y": p.model.predict(given)["y"]})["passed"])
        small = pomona.compress(p.model, scheme="int8", weight_threshold=100)
        self.assertTrue(small.report["weights"][0]["compressed"])
        numpy.testing.assert_allclose(small.predict({"x": x})["y"], want, atol=0.05)
        half = pomona.convert(p.model, precision="fp16")
        self.assertIn("fp16", half.show())

    def test_errors_name_op_and_parameter(self):
        def refused(work, text, *places):
            with self.assertRaises(pomona.Error) as caught, pomona.program({"x": (2, 2)}) as p:
                work(p)
            self.assertIn(text, caught.exception.message)
            said = " ".join(caught.exception.places)
            for place in places:
                self.assertIn(place, said)
            return caught.exception
        self.assertIn("relu", refused(lambda p: p.rellu(x=p["x"]), "no op 'rellu'").hint)
        refused(lambda p: p.relu(y=p["x"]), "op 'relu' has no input 'y'")
        refused(lambda p: p.relu(), "input 'x' is missing", "relu")
        refused(lambda p: p.softmax(x=p["x"], axis=1.5), "not an integer", "softmax", "input 'axis'")
        refused(lambda p: p.softmax(x=p["x"], axis=object()), "no text", "softmax", "input 'axis'")
        refused(lambda p: p.matmul(x=p["x"], y=numpy.ones((3, 3))), "do not fit", "matmul")
        refused(lambda p: p.concat(values=p["x"], axis=0), "list of values", "concat", "input 'values'")
        refused(lambda p: p["z"], "no input 'z'")
        refused(lambda p: None, "no output")
        with pomona.program({"x": (2,)}) as p:
            kept = p["x"] + 1
            p.output("y", kept)
        with self.assertRaisesRegex(pomona.Error, "complete"):
            kept + 1
        with self.assertRaises(ZeroDivisionError), pomona.program({"x": (2,)}) as p:
            p.cond(pred=True, true=lambda p: 1 / 0, false=lambda p: p.const(1))

    def test_help_is_the_op_table(self):
        with pomona.program({"x": (2,)}) as p:
            self.assertIn("conv", dir(p))
            self.assertIn("weight: input", p.conv.__doc__)
            p.output("y", p.relu(x=p["x"]))


class Operators(unittest.TestCase):
    def test_a_lowering_in_python(self):
        # x * sigmoid(beta * x) + table[0], with a constant input that the function looks at, and an input that is left out.
        table = normal(2, 4)
        model = model_of([helper.make_node("Abs", ["x"], ["a"]),
                          helper.make_node("Swish", ["a", "", "table"], ["y", "z"], domain="my.ops", beta=1.5, note="hi", steps=[1, 2])],
                         {"x": ["n", 4]}, {"y": ["n", 4], "z": ["n", 4]}, {"table": table}, ["my.ops"])
        seen = []

        def swish(p, inputs, attributes):
            x, nothing, constant = inputs
            seen.append((nothing, constant.value, attributes, x.shape))
            y = x * p.sigmoid(x=x * attributes["beta"])
            return y + constant.value[0], y - constant

        converted = pomona.convert(model, precision="fp32", dynamic={"x": [(1, 8), 4]}, custom_ops={"my.ops::Swish": swish})
        self.assertTrue(converted.report["verification"]["passed"])
        nothing, constant, attributes, shape = seen[0]
        self.assertIsNone(nothing)
        numpy.testing.assert_array_equal(constant, table)
        self.assertEqual(attributes, {"beta": 1.5, "note": "hi", "steps": [1, 2]})
        self.assertEqual(shape[1], 4)
        x = normal(2, 4)
        a = numpy.abs(x)
        y = a / (1 + numpy.exp(-1.5 * a))
        got = converted.predict({"x": x})
        numpy.testing.assert_allclose(got["y"], y + table[0], rtol=1e-5, atol=1e-6)
        numpy.testing.assert_allclose(got["z"], y - table, rtol=1e-5, atol=1e-6)

    def test_an_operator_that_we_know_is_replaced(self):
        model = model_of([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")], {"x": [2, 4]}, {"y": [2, 4]}, None,
                         ["com.microsoft"])
        x = normal(2, 4)
        want = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
        converted = pomona.convert(model, precision="fp32", custom_ops={
            "com.microsoft::Gelu": lambda p, inputs, attributes: 0.5 * inputs[0] * (1 + p.erf(x=inputs[0] / 2 ** 0.5))})
        numpy.testing.assert_allclose(converted.predict({"x": x})["y"], want, rtol=1e-5, atol=1e-6)

    def test_what_a_lowering_raises_is_raised(self):
        model = model_of([helper.make_node("Mine", ["x"], ["y"], name="m", domain="my.ops")], {"x": [2]}, {"y": [2]}, None, ["my.ops"])

        def attempt(lower):
            return pomona.convert(model, custom_ops={"my.ops::Mine": lower})
        with self.assertRaises(ZeroDivisionError):
            attempt(lambda p, inputs, attributes: 1 / 0)
        with self.assertRaises(pomona.Error) as caught:
            attempt(lambda p, inputs, attributes: p.relu(y=inputs[0]))
        self.assertIn("'m'", " ".join(caught.exception.places))
        with self.assertRaisesRegex(pomona.Error, "gives no value"):
            attempt(lambda p, inputs, attributes: None)
        with self.assertRaisesRegex(pomona.Error, "not supported"):
            pomona.convert(model)

    def test_an_operator_as_text(self):
        model = model_of([helper.make_node("Twice", ["x"], ["y"], domain="my.ops")], {"x": [2]}, {"y": [2]}, None, ["my.ops"])
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "twice.mil")
            with open(path, "w") as file:
                file.write('program(1.0) { func main<ios15>(tensor<fp32, [2]> x) { tensor<fp32, [2]> y = add(x = x, y = x)'
                           '[name = string("y")]; } -> (y); }')
            converted = pomona.convert(model, precision="fp32", custom_ops={"my.ops::Twice": path})
        numpy.testing.assert_array_equal(converted.predict({"x": [1, 2]})["y"], [2, 4])


class Rules(unittest.TestCase):
    def model(self):
        # relu(x) * 2 + w, and another relu whose result has two users.
        nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Mul", ["two", "r"], ["m"]),
                 helper.make_node("Add", ["m", "w"], ["y"]), helper.make_node("Relu", ["y"], ["s"]),
                 helper.make_node("Mul", ["s", "two"], ["t"]), helper.make_node("Add", ["s", "t"], ["z"])]
        return model_of(nodes, {"x": [2, 4]}, {"y": [2, 4], "z": [2, 4]}, {"two": numpy.float32(2), "w": normal(4)})

    def convert(self, rule, **options):
        return pomona.convert(self.model(), precision="fp32", rules=[rule], **options)

    def test_found_and_replaced(self):
        x, w = pattern.any("x"), pattern.constant("w")
        seen = []

        def replace(p, m):
            seen.append((m["x"].shape, m["w"].value.shape))
            half = p.relu(x=m["x"])
            return half + half + m["w"]
        rule = Rule("twice", pattern.add(x=pattern.mul(x=pattern.relu(x=x), y=2), y=w), replace)
        model, given = self.model(), {"x": normal(2, 4)}
        converted = pomona.convert(model, precision="fp32", rules=[rule])
        self.assertEqual(converted.report["rules"], {"twice": 1})
        self.assertEqual(seen[0], ((2, 4), (4,)))
        self.assertTrue(converted.report["verification"]["passed"])
        want = onnxruntime.InferenceSession(model.SerializeToString()).run(["y", "z"], given)
        got = converted.predict(given)
        for name, array in zip(("y", "z"), want):
            numpy.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6)

    def test_other_users_and_conditions(self):
        x = pattern.any("x")
        # The second product's relu has another user.
        plain = pattern.mul(x=pattern.relu(x=x), y=pattern.number(2))
        shared = pattern.mul(x=pattern.relu(x=x).shared(), y=pattern.number(2))
        replace = lambda p, m: p.relu(x=m["x"]) + p.relu(x=m["x"])  # noqa: E731
        self.assertEqual(self.convert(Rule("r", plain, replace)).report["rules"], {"r": 1})
        self.assertEqual(self.convert(Rule("r", shared, replace)).report["rules"], {"r": 2})
        for condition, times in ((lambda m: m["x"].shape == (2, 4), 2), (lambda m: False, 0), (lambda m: "not today", 0)):
            self.assertEqual(self.convert(Rule("r", shared, replace, condition)).report["rules"], {"r": times})
        self.assertEqual(self.convert(Rule("r", shared, lambda p, m: None)).report["rules"], {"r": 0})
        self.assertEqual(self.convert(Rule("r", pattern.softmax(x=x), replace)).report["rules"], {"r": 0})

    def test_a_wrong_rule_is_found_out(self):
        with self.assertRaisesRegex(pomona.Error, "does not compute what its source does"):
            self.convert(Rule("wrong", pattern.relu(x=pattern.any("x")), lambda p, m: p.sigmoid(x=m["x"])))

    def test_mistakes(self):
        x = pattern.any("x")
        with self.assertRaises(ZeroDivisionError):
            self.convert(Rule("r", pattern.relu(x=x), lambda p, m: 1 / 0))
        with self.assertRaises(KeyError):
            self.convert(Rule("r", pattern.relu(x=x), lambda p, m: None, lambda m: m["y"]))
        with self.assertRaisesRegex(pomona.Error, "uses the value that it replaces"):
            self.convert(Rule("r", pattern.relu(x=x).named("r"), lambda p, m: m["r"] + 0))
        with self.assertRaisesRegex(pomona.Error, "no op 'rellu'"):
            pattern.rellu(x=x)
        with self.assertRaisesRegex(pomona.Error, "no input 'z'"):
            pattern.relu(x=x, z=1)
        with self.assertRaisesRegex(pomona.Error, "'y' of op 'mul' is missing"):
            pattern.mul(x=x)
        with self.assertRaisesRegex(pomona.Error, "is no op"):
            self.convert(Rule("r", x, lambda p, m: m["x"]))


if __name__ == "__main__":
    unittest.main()
