"""`serve` with eight clients at once for ten minutes: streams, whole answers, clients that leave and bodies that are broken.

Every answer that is read to its end is the one that a single client got before. The memory of the process does not grow after
the first minute. POMONA_STRESS_SECONDS sets another length."""
import http.client
import json
import os
import pathlib
import random
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "models"))
from serve_test import GGUF, Server

SECONDS = float(os.environ.get("POMONA_STRESS_SECONDS", "600"))
CLIENTS = 8
PROMPTS = ["Apples are", "The sea is", "Once upon a time", "In the city of", "def add(a, b):", "1, 2, 3,"]
BROKEN = ["{not json", "[]", "{}", "\x00\xff", '{"prompt": 5}', '{"prompt": "a", "max_tokens": -1}', "[" * 5000]


def body_of(prompt, stream):
    return json.dumps(dict(prompt=prompt, max_tokens=12, temperature=0, stream=stream))


class Stress(unittest.TestCase):
    def setUp(self):
        self.server = Server(GGUF, "--context", 256)
        self.expected = {prompt: self.server.post("/v1/completions", json.loads(body_of(prompt, False)))["choices"][0]["text"] for prompt in PROMPTS}
        self.problems, self.done = [], dict(whole=0, stream=0, left=0, broken=0, busy=0)

    def anonymous(self):
        status = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))

    def request(self, kind, draw):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        try:
            prompt = draw.choice(PROMPTS)
            body = draw.choice(BROKEN) if kind == "broken" else body_of(prompt, kind != "whole")
            connection.request("POST", "/v1/completions", body.encode("latin-1"))
            response = connection.getresponse()
            if kind == "broken":
                return None if response.status == 400 and "error" in json.loads(response.read()) else f"a broken body got {response.status}"
            if response.status == 503:
                self.done["busy"] += 1
                return None
            if response.status != 200:
                return f"{kind} got {response.status}"
            if kind == "left":
                response.read(draw.randrange(1, 200))
                return None
            text = response.read().decode()
            if kind == "whole":
                said = json.loads(text)["choices"][0]["text"]
            else:
                events = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
                if events.pop() != "[DONE]":
                    return "a stream without its end"
                said = "".join(json.loads(event)["choices"][0]["text"] for event in events)
            return None if said == self.expected[prompt] else f"{kind} of {prompt!r}: {said!r} instead of {self.expected[prompt]!r}"
        finally:
            connection.close()

    def client(self, number, end):
        draw = random.Random(number)
        while time.monotonic() < end and not self.problems:
            kind = draw.choices(["whole", "stream", "left", "broken"], [3, 4, 2, 1])[0]
            try:
                if problem := self.request(kind, draw):
                    self.problems.append(problem)
            except Exception as problem:
                self.problems.append(f"{kind}: {problem!r}")
            self.done[kind] += 1

    def test_clients_of_all_kinds(self):
        begin = time.monotonic()
        clients = [threading.Thread(target=self.client, args=(i, begin + SECONDS)) for i in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(min(60, SECONDS / 2))
        settled = self.anonymous()
        for client in clients:
            client.join()
        grown = self.anonymous()
        self.assertEqual(self.problems, [])
        print(f"{self.done}; RssAnon {settled} kB after the first minute, {grown} kB at the end")
        self.assertGreater(min(self.done[kind] for kind in ("whole", "stream", "left", "broken")), 0)
        self.assertLess(grown, 1.02 * settled)
        self.assertEqual(self.server.end(), 0)


if __name__ == "__main__":
    unittest.main()
