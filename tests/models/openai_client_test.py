"""`serve` by the official client of the protocol it speaks, and its chat page in a browser without a window."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import numpy
import openai

from serve_test import GGUF, MINILM, Server

POMONA = os.environ["POMONA_BINARY"]
BROWSER = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(GGUF, "--context", 512)
        cls.client = openai.OpenAI(base_url=f"http://127.0.0.1:{cls.server.port}/v1", api_key="none", max_retries=0)
        cls.model = cls.client.models.list().data[0].id

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        if (status := cls.server.end()) != 0:
            raise AssertionError(f"the server ended with {status}")

    def ask(self, **more):
        return self.client.chat.completions.create(
            model=self.model, messages=[dict(role="user", content="What is an apple?")], max_tokens=16, temperature=0, **more)

    def test_chat_whole_and_streamed(self):
        whole = self.ask()
        self.assertEqual(whole.choices[0].message.role, "assistant")
        self.assertEqual(whole.usage.completion_tokens, 16)
        pieces = list(self.ask(stream=True, stream_options=dict(include_usage=True)))
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(pieces[-1].usage.completion_tokens, 16)

    def test_a_stream_that_is_left_frees_its_place(self):
        stream = self.ask(stream=True)
        next(iter(stream))
        stream.close()
        self.assertTrue(self.ask().choices[0].message.content)

    def test_completion(self):
        answer = self.client.completions.create(model=self.model, prompt="Apples are", max_tokens=8, temperature=0)
        self.assertTrue(answer.choices[0].text)
        self.assertEqual(answer.choices[0].finish_reason, "length")

    def test_several_choices_and_prompts(self):
        more = dict(model=self.model, messages=[dict(role="user", content="A word?")], max_tokens=8, temperature=1, top_p=0.8, seed=7)
        first, again = (self.client.chat.completions.create(n=3, **more) for _ in range(2))
        texts = [choice.message.content for choice in first.choices]
        self.assertEqual([choice.index for choice in first.choices], [0, 1, 2])
        self.assertEqual(texts, [choice.message.content for choice in again.choices])
        self.assertGreater(len(set(texts)), 1)
        self.assertEqual(texts[0], self.client.chat.completions.create(**more).choices[0].message.content)
        self.assertEqual(first.usage.total_tokens, first.usage.prompt_tokens + first.usage.completion_tokens)
        streamed = ["", "", ""]
        for piece in self.client.chat.completions.create(n=3, stream=True, **more):
            streamed[piece.choices[0].index] += piece.choices[0].delta.content or ""
        self.assertEqual(streamed, texts)
        prompts = ["Apples are", "The sky is"]
        both = self.client.completions.create(model=self.model, prompt=prompts, max_tokens=6, temperature=0).choices
        for prompt, choice in zip(prompts, both):
            alone = self.client.completions.create(model=self.model, prompt=prompt, max_tokens=6, temperature=0)
            self.assertEqual(choice.text, alone.choices[0].text)

    def test_chances_are_those_of_the_logits(self):
        text, ids = "Apples are", [int(i) for i in self.ids_of("Apples are")]
        given = self.client.completions.create(model=self.model, prompt=ids, max_tokens=4, temperature=0, logprobs=3).choices[0]
        written = [int(i) for i in self.ids_of(text + given.text)][len(ids):]
        self.assertEqual(len(written), 4)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([POMONA, "logits", str(GGUF), "--tokens", ",".join(map(str, ids + written)), "-o", folder + "/l.npz"], check=True,
                           capture_output=True)
            logits = numpy.load(folder + "/l.npz")["logits"].astype(float)[len(ids) - 1 : -1]
        chances = logits - logits.max(-1, keepdims=True)
        chances -= numpy.log(numpy.exp(chances).sum(-1, keepdims=True))
        for i, (own, most) in enumerate(zip(given.logprobs.token_logprobs, given.logprobs.top_logprobs)):
            self.assertAlmostEqual(own, chances[i].max(), delta=0.02)
            numpy.testing.assert_allclose(sorted(most.values()), numpy.sort(chances[i])[-3:], atol=0.05)
        pieces = list(self.ask(stream=True, logprobs=True, top_logprobs=2))
        noted = [entry for piece in pieces if piece.choices[0].logprobs for entry in piece.choices[0].logprobs.content]
        whole = self.ask(logprobs=True, top_logprobs=2).choices[0].logprobs.content
        self.assertEqual([entry.token for entry in noted], [entry.token for entry in whole])
        self.assertTrue(all(entry.logprob == entry.top_logprobs[0].logprob and len(entry.top_logprobs) == 2 for entry in whole))

    def ids_of(self, text):
        done = subprocess.run([POMONA, "tokenize", str(GGUF), "--text", text, "--json"], check=True, capture_output=True, text=True)
        return json.loads(done.stdout)["ids"]

    def test_one_model(self):
        self.assertEqual(self.client.models.retrieve(self.model).id, self.model)
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("another")

    def test_errors_are_the_clients_own(self):
        with self.assertRaises(openai.BadRequestError) as raised:
            self.ask(response_format=dict(type="json_object"))
        self.assertIn("response_format", str(raised.exception))
        with self.assertRaises(openai.BadRequestError):
            self.client.embeddings.create(model=self.model, input="text")

    def test_embeddings(self):
        server = Server(MINILM)
        try:
            with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none") as client:
                found = client.embeddings.create(model="any", input=["a cat", "a kitten", "the stock market"]).data
                cat, kitten, market = (each.embedding for each in found)
                alike = lambda a, b: sum(x * y for x, y in zip(a, b))
                self.assertGreater(alike(cat, kitten), alike(cat, market))
        finally:
            server.end()

    @unittest.skipUnless(BROWSER, "there is no browser")
    def test_chat_page(self):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, Page(f"http://127.0.0.1:{self.server.port}/", folder) as page:
            page.evaluate("get('text').value = 'What is an apple?'; get('form').requestSubmit()")
            said = page.evaluate("""new Promise(done => {
                const look = () => get('send').disabled || !get('speed').textContent ? setTimeout(look, 50) : done(get('log').innerText);
                setTimeout(look, 200); })""")
            self.assertIn("What is an apple?", said)
            self.assertGreater(len(said.replace("What is an apple?", "").split()), 5, said)
            self.assertEqual(page.problems, [])


class Page:
    """A page of a browser that is spoken to by pipes: no port, no driver."""

    def __init__(self, address, folder):
        to_browser, self.to = os.pipe()
        self.come, from_browser = os.pipe()
        # The browser reads its third file and writes its fourth.
        command = f"exec {BROWSER} --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir={folder}/profile " \
                  f"--remote-debugging-pipe about:blank 3<&{to_browser} 4>&{from_browser}"
        self.process = subprocess.Popen(["bash", "-c", command], pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser), os.close(from_browser)
        self.count, self.rest, self.session, self.problems, self.loaded = 0, b"", None, [], False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Page"):
            self.call(domain + ".enable")
        self.loaded = False
        self.call("Page.navigate", url=address)
        while not self.loaded:
            self.receive()

    def receive(self):
        while b"\0" not in self.rest:
            more = os.read(self.come, 1 << 16)
            assert more, "the browser is gone"
            self.rest += more
        text, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(text)
        self.loaded = self.loaded or message.get("method") == "Page.loadEventFired"
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(message["params"]["exceptionDetails"]["text"])
        return message

    def call(self, method, **parameters):
        self.count += 1
        message = dict(id=self.count, method=method, params=parameters)
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, script):
        return self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)["result"].get("value")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()
        os.close(self.to), os.close(self.come)


if __name__ == "__main__":
    unittest.main()
