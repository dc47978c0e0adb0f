"""The one exception that Pomona raises for a model, a request or a machine that will not do."""

from __future__ import annotations

from typing import Any, Sequence


class Error(Exception):
    """What was found, and where.

    kind    "request" (the model or the request is wrong), "environment" (this machine cannot) or "bug" (ours)
    places  where it happened, innermost first: an op, a function, a file
    hint    what would do; may be empty
    """

    def __init__(self, message: str, kind: str = "request", places: Sequence[str] = (), hint: str = ""):
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.places = tuple(places)
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.message] + [f"  at {place}" for place in reversed(self.places)]
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> Any:
        return (type(self), (self.message, self.kind, self.places, self.hint))
