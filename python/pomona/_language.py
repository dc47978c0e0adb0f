"""Language models: text to tokens and back, text written piece by piece, conversations."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Iterator, Sequence, Union

from . import _native
from ._errors import Error

Path = Union[str, "os.PathLike[str]"]


class Tokenizer:
    """Text to a model's token ids and back.

    source  a tokenizer.json, a SentencePiece .model, a tiktoken file, vocab.txt, a GGUF file, or a folder with one
    """

    def __init__(self, source: Path | Any):
        self._native = source if isinstance(source, _native.Tokenizer) else _native.open_tokenizer(os.fspath(source))

    def encode(self, text: str, *, special: bool = True, plain: bool = False) -> list[int]:
        """Ids. `special`: with what the tokenizer adds around a text; `plain`: special tokens written in the text are text."""
        return self._native.encode(text, special, plain)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        return self._native.decode([int(each) for each in ids], skip_special)

    def token(self, id: int) -> str:
        return self._native.token(int(id))

    def id(self, token: str) -> int | None:
        """The id of a token; None when there is no such token."""
        return self._native.id(token)

    def is_special(self, id: int) -> bool:
        return self._native.is_special(int(id))

    def __len__(self) -> int:
        return len(self._native)

    def __repr__(self) -> str:
        return f"Tokenizer({len(self)} tokens)"


class Generation:
    """A text being written: an iterator over its pieces. `text` and the others hold what there is so far."""

    def __init__(self, writer: _native.Writer, at_end: Callable[[str], None] | None = None):
        self._writer = writer
        self._at_end = at_end

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        piece = self._writer.next()
        if piece is None:
            if self._at_end:
                self._at_end(self.text)
                self._at_end = None
            raise StopIteration
        return piece

    def complete(self) -> str:
        """Writes the rest, and gives the whole text."""
        for _ in self:
            pass
        return self.text

    @property
    def text(self) -> str:
        return self._writer.text

    @property
    def tokens(self) -> list[int]:
        """Ids of what was written."""
        return self._writer.tokens

    @property
    def prompt_tokens(self) -> list[int]:
        return self._writer.prompt

    @property
    def finish(self) -> str | None:
        """Why it ended: "stop" or "length"; None while it goes on."""
        return self._writer.finish or None

    @property
    def timings(self) -> dict[str, float]:
        return {"prompt_seconds": self._writer.prompt_seconds, "decode_seconds": self._writer.decode_seconds}

    def __repr__(self) -> str:
        return f"Generation({len(self.tokens)} tokens, {self.finish or 'going on'})"


class Chat:
    """A conversation. Its oldest turns are forgotten when it grows too long for the model."""

    def __init__(self, model: LanguageModel, system: str | None = None, **sampling: Any):
        self._model = model
        self._sampling = _sampling_of(sampling)
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        self._kept = len(self.messages)

    def say(self, text: str) -> Generation:
        """The answer, piece by piece. It is part of the conversation when the iterator has come to its end."""
        messages = json.dumps(self.messages + [{"role": "user", "content": text}])
        ids, messages = self._model._native.conversation(messages, self._kept, self._sampling)
        said = json.loads(messages)

        def remember(answer: str) -> None:
            self.messages = said + [{"role": "assistant", "content": answer}]

        return Generation(_native.Writer(self._model._native, ids, self._sampling), remember)

    def reset(self) -> None:
        """Begins afresh."""
        del self.messages[self._kept:]

    def __repr__(self) -> str:
        return f"Chat({len(self.messages)} messages)"


class LanguageModel:
    """A language model in any form that is read (a converted package, GGUF, a checkpoint folder), loaded once.

    context  tokens the model keeps in mind; 0: its own, at most 4096
    """

    def __init__(self, source: Path, *, context: int = 0):
        self._native = _native.open_language(os.fspath(source), context)
        self._name = os.path.basename(os.fspath(source).rstrip("/"))

    @property
    def tokenizer(self) -> Tokenizer:
        native = self._native.tokenizer
        if native is None:
            raise Error("the model has no tokenizer")
        return Tokenizer(native)

    @property
    def context(self) -> int:
        return self._native.context

    @property
    def chat_template(self) -> str:
        return self._native.chat_template

    def generate(self, prompt: str | Sequence[int], *, system: str | None = None, raw: bool = False,
                 **sampling: Any) -> Generation:
        """Answers a prompt, or with `raw` continues it; token ids are always continued."""
        ids = (self._native.prompt(prompt, system or "", raw) if isinstance(prompt, str) else [int(each) for each in prompt])
        return Generation(_native.Writer(self._native, ids, _sampling_of(sampling)))

    def chat(self, system: str | None = None, **sampling: Any) -> Chat:
        return Chat(self, system, **sampling)

    def __repr__(self) -> str:
        return f"LanguageModel({self._name!r}, context {self.context})"


def _sampling_of(given: dict[str, Any]) -> dict[str, Any]:
    sampling = dict(given)
    if isinstance(sampling.get("stop"), str):
        sampling["stop"] = [sampling["stop"]]
    if isinstance(sampling.get("logit_bias"), dict):
        sampling["logit_bias"] = [f"{id}={bias}" for id, bias in sampling["logit_bias"].items()]
    return sampling


def generate(source: Path | LanguageModel, prompt: str | Sequence[int], *, system: str | None = None, raw: bool = False,
             context: int = 0, **sampling: Any) -> Generation:
    """Text from a language model, piece by piece: `for piece in pomona.generate("model.gguf", "Hello"): ...`

    raw       continue the prompt as it stands, without the chat template
    sampling  max_tokens=256, temperature=0, top_k=0, top_p=1, min_p=0, repetition_penalty=1, presence_penalty=0,
              frequency_penalty=0, seed=0, stop=["..."], logit_bias={id: bias}
    """
    model = source if isinstance(source, LanguageModel) else LanguageModel(source, context=context)
    return model.generate(prompt, system=system, raw=raw, **sampling)


def chat(source: Path | LanguageModel, system: str | None = None, *, context: int = 0, **sampling: Any) -> Chat:
    """A conversation: `for piece in pomona.chat("model.gguf").say("Hello"): ...`. `sampling` as generate() has it."""
    model = source if isinstance(source, LanguageModel) else LanguageModel(source, context=context)
    return model.chat(system, **sampling)
