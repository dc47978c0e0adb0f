"""The module pomona: arrays in and out as the model's source had them, conversion, errors, interrupts, memory."""

import contextlib
import io
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import pomona

MODELS = pathlib.Path(os.environ["POMONA_MODELS"])


def mlp(width=16, classes=4):
    """x [batch, width] -> Gemm, Relu, Gemm; ids [batch] int64 -> Gather of a table, added."""
    random = numpy.random.default_rng(3)
    weights = {"w": random.standard_normal((width, classes)).astype(numpy.float32),
               "b": random.standard_normal(classes).astype(numpy.float32),
               "table": random.standard_normal((10, width)).astype(numpy.float32)}
    nodes = [helper.make_node("Gather", ["table", "ids"], ["row"]), helper.make_node("Add", ["x", "row"], ["sum"]),
             helper.make_node("Relu", ["sum"], ["positive"]), helper.make_node("Gemm", ["positive", "w", "b"], ["scores"]),
             helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0)]
    graph = helper.make_graph(
        nodes, "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width]),
         helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", classes]),
         helper.make_tensor_value_info("best", TensorProto.INT64, ["batch"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def inputs(batch=3, width=16):
    random = numpy.random.default_rng(5)
    return {"x": random.standard_normal((batch, width)).astype(numpy.float32),
            "ids": random.integers(0, 10, batch).astype(numpy.int64)}


def expected(model, given):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, given)))


class Loading(unittest.TestCase):
    def test_from_bytes(self):
        model = pomona.load(mlp().SerializeToString())
        self.assertEqual(model.format, "ONNX")
        self.assertEqual(list(model.inputs), ["x", "ids"])
        self.assertEqual(model.inputs["x"].shape, ("batch", 16))
        self.assertIn("input  x", repr(model))
        self.assertIn("<table>", model._repr_html_())
        self.assertIn("gather", model.show())

    def test_predicts_as_onnxruntime_does(self):
        source, given = mlp(), inputs()
        got, want = pomona.load(source.SerializeToString()).predict(given), expected(source, given)
        numpy.testing.assert_allclose(got["scores"], want["scores"], rtol=1e-5, atol=1e-5)
        numpy.testing.assert_array_equal(got["best"], want["best"])

    def test_results_are_the_callers_own(self):
        model = pomona.load(mlp().SerializeToString())
        given = inputs()
        first = model.predict(given)["scores"]
        kept = first.copy()
        first[:] = 0
        numpy.testing.assert_array_equal(model.predict(given)["scores"], kept)

    def test_arrays_of_any_layout_and_type(self):
        model, given = pomona.load(mlp().SerializeToString()), inputs()
        want = model.predict(given)["scores"]
        for x in (numpy.asfortranarray(given["x"]), given["x"][::-1][::-1], given["x"].astype(numpy.float64),
                  given["x"].tolist(), given["x"].astype(">f4")):
            got = model.predict({"x": x, "ids": given["ids"].astype(numpy.int32)})["scores"]
            numpy.testing.assert_allclose(got, want, rtol=1e-6)


class Converting(unittest.TestCase):
    def test_proto_to_package(self):
        source, given = mlp(), inputs()
        stages = []
        model = pomona.convert(source, precision="fp32", dynamic={"x": [(1, 8), 16], "ids": [(1, 8)]},
                               progress=lambda stage, share: stages.append(stage))
        self.assertIn("write", stages)
        self.assertTrue(model.report["verification"]["passed"])
        got, want = model.predict(given), expected(source, given)
        numpy.testing.assert_allclose(got["scores"], want["scores"], rtol=1e-4, atol=1e-5)
        self.assertEqual(got["best"].dtype, numpy.int64)
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/saved.mlpackage")
            again = pomona.load(f"{folder}/saved.mlpackage").predict(given)
            numpy.testing.assert_array_equal(again["scores"], got["scores"])

    def test_compressed(self):
        source = mlp(width=64, classes=64)
        model = pomona.convert(source, precision="fp32")
        small = pomona.compress(model, scheme="int8", weight_threshold=100)
        self.assertTrue(any(line["compressed"] for line in small.report["weights"]))
        found = pomona.verify(small, reference=model, inputs=inputs(1, 64))
        self.assertTrue(found["passed"], found)

    def test_verified_by_a_callable(self):
        source = mlp()
        model = pomona.convert(source, precision="fp32")
        self.assertTrue(pomona.verify(model, reference=lambda given: expected(source, given))["passed"])
        wrong = pomona.verify(model, reference=lambda given: {"scores": -expected(source, given)["scores"]})
        self.assertFalse(wrong["passed"])

    def test_a_callback_that_raises_stops_it(self):
        def refuse(stage, share):
            raise ZeroDivisionError(stage)
        with self.assertRaises(ZeroDivisionError):
            pomona.convert(mlp(), progress=refuse)


class Errors(unittest.TestCase):
    def test_kind_places_hint(self):
        with self.assertRaises(pomona.Error) as caught:
            pomona.load("/nowhere/at/all.onnx")
        self.assertEqual(caught.exception.kind, "request")
        model = pomona.load(mlp().SerializeToString())
        with self.assertRaises(pomona.Error) as caught:
            model.predict({"x": numpy.zeros((2, 15), numpy.float32), "ids": [1, 2]})
        self.assertIn("input 'x'", caught.exception.places)
        with self.assertRaisesRegex(pomona.Error, "no option 'bogus'"):
            pomona.convert(mlp(), bogus=1)
        with self.assertRaisesRegex(pomona.Error, "no model that can be converted"):
            pomona.convert(object())

    def test_damaged_models_raise(self):
        whole = mlp().SerializeToString()
        random = numpy.random.default_rng(9)
        for cut in range(0, len(whole), 37):
            damaged = bytearray(whole)
            damaged[cut] ^= int(random.integers(1, 256))
            for contents in (whole[:cut], bytes(damaged)):
                try:
                    pomona.load(contents).predict(inputs())
                except pomona.Error:
                    pass


class Threads(unittest.TestCase):
    def test_one_model_from_many_threads(self):
        model, given = pomona.load(mlp().SerializeToString()), inputs()
        want = model.predict(given)["scores"]
        wrong = []

        def work():
            for _ in range(200):
                if not numpy.array_equal(model.predict(given)["scores"], want):
                    wrong.append(1)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_others_run_while_a_model_does(self):
        with pomona.program({"x": (512, 512)}) as p:
            _, product = p.while_loop(loop_vars=[numpy.zeros(1, numpy.int32), p["x"]], condition=lambda p, i, x: p.squeeze(x=i < 40, axes=[0]),
                                      body=lambda p, i, x: (i + 1, p.tanh(x=x @ x)))
            p.output("y", product)
        ticks, done = [], threading.Event()

        def tick():
            while not done.wait(0.001):
                ticks.append(time.perf_counter())
        thread = threading.Thread(target=tick)
        thread.start()
        began = time.perf_counter()
        p.model.predict({"x": numpy.ones((512, 512), numpy.float32)})
        ended = time.perf_counter()
        done.set()
        thread.join()
        self.assertGreater(sum(began < each < ended for each in ticks), 3)

    def test_progress_as_a_bar(self):
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            pomona.convert(mlp(), precision="fp32", progress=True)
        self.assertIn("100%", said.getvalue())

    def test_interrupt_stops_a_run(self):
        # Minutes of work, were it not stopped: a loop of products.
        script = (
            "import numpy, pomona\n"
            "from onnx import TensorProto as T, helper as h\n"
            "body = h.make_graph([h.make_node('MatMul', ['s', 's'], ['p']), h.make_node('Tanh', ['p'], ['o']),\n"
            "                     h.make_node('Identity', ['c'], ['d'])], 'body',\n"
            "    [h.make_tensor_value_info('i', T.INT64, []), h.make_tensor_value_info('c', T.BOOL, []),\n"
            "     h.make_tensor_value_info('s', T.FLOAT, [64, 64])],\n"
            "    [h.make_tensor_value_info('d', T.BOOL, []), h.make_tensor_value_info('o', T.FLOAT, [64, 64])])\n"
            "g = h.make_graph([h.make_node('Loop', ['n', '', 'x'], ['y'], body=body)], 'g',\n"
            "    [h.make_tensor_value_info('n', T.INT64, []), h.make_tensor_value_info('x', T.FLOAT, [64, 64])],\n"
            "    [h.make_tensor_value_info('y', T.FLOAT, [64, 64])])\n"
            "m = pomona.load(h.make_model(g, opset_imports=[h.make_opsetid('', 17)], ir_version=9).SerializeToString())\n"
            "print('running', flush=True)\n"
            "try:\n"
            "    m.predict({'n': numpy.int64(10**9), 'x': numpy.ones((64, 64), numpy.float32)})\n"
            "except KeyboardInterrupt:\n"
            "    print('stopped', flush=True)\n")
        child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        self.assertEqual(child.stdout.readline().strip(), "running")
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        began = time.monotonic()
        output, _ = child.communicate(timeout=60)
        self.assertEqual(output.strip(), "stopped")
        self.assertLess(time.monotonic() - began, 5)


def anonymous_memory():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))


class Cost(unittest.TestCase):
    def test_a_call_costs_microseconds(self):
        node = helper.make_node("Add", ["x", "y"], ["z"])
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xyz"]
        graph = helper.make_graph([node], "add", values[:2], values[2:])
        model = pomona.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                                              ir_version=9).SerializeToString())
        given = dict.fromkeys("xy", numpy.ones((1, 4), numpy.float32))
        rounds = []
        for _ in range(50):
            began = time.perf_counter()
            for _ in range(100):
                model.predict(given)
            rounds.append((time.perf_counter() - began) / 100)
        # The C++ call included. The least of the rounds: the machine may be doing other things.
        self.assertLess(min(rounds), 20e-6)

    def test_memory_does_not_grow(self):
        if not os.path.exists("/proc/self/status"):
            self.skipTest("RssAnon is Linux's")
        contents, given = mlp().SerializeToString(), inputs()
        model = pomona.load(contents)

        def run(times):
            for i in range(times):
                model.predict(given)
                if i % 20 == 0:
                    pomona.load(contents).predict(given)
        run(500)
        before = anonymous_memory()
        run(3000)
        self.assertLess(anonymous_memory(), before * 1.02)


if __name__ == "__main__":
    unittest.main()
