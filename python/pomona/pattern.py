"""Rewrite rules in Python: where a pattern is found, a replacement takes its place.

    from pomona import Rule, pattern

    x = pattern.any("x")
    swish = Rule("swish", pattern.mul(x=x, y=pattern.sigmoid(x=x)), lambda p, m: p.silu(x=m["x"]))
    pomona.convert("model.onnx", rules=[swish])

Every MIL op is a function here: its inputs take patterns or numbers, its parameters what they must be. The same name stands for the
same value everywhere; operands of commutative ops match in either order; an optional input that is not mentioned must not be there.
A value inside of a match must have no other users, unless its pattern is shared(). Rules see the program as it was read, before
Pomona's own rules, and the conversion is verified against it all the same.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Union

from . import _native

Pattern = _native.Pattern
Match = Mapping[str, Any]

__all__ = ["Pattern", "Rule", "any", "constant", "either", "number"]


def any(name: str = "") -> Pattern:
    """Any value."""
    return _native.pattern_any(name)


def constant(name: str = "") -> Pattern:
    """Any constant; in a match its `value` is the array."""
    return _native.pattern_constant(name)


def number(value: float | None = None, name: str = "") -> Pattern:
    """A constant whose elements all are this number (to 5 digits, 3 in fp16), or all are equal."""
    return _native.pattern_number(value, name)


def either(*alternatives: Pattern) -> Pattern:
    """The first that matches."""
    return _native.pattern_either(list(alternatives))


def __getattr__(op: str) -> Callable[..., Pattern]:
    if op.startswith("_"):
        raise AttributeError(op)

    def pattern(**fields: Any) -> Pattern:
        return _native.pattern_op(op, fields)
    return pattern


class Rule:
    """What convert(rules=[...]) applies wherever its pattern is found, until it is found no more.

    replace    f(p, m) -> the value that takes the place of the pattern's: `p` has the ops, as in pomona.program; `m` the named values,
               with shape, dtype and, of constants, value. None: it does not apply here after all
    condition  f(m) -> True where the rule applies; else False, or a text that says why not
    """

    def __init__(self, name: str, pattern: Pattern, replace: Callable[[Any, Match], Any],
                 condition: Callable[[Match], Union[bool, str]] | None = None):
        self.name = name
        self.pattern = pattern
        self.replace = replace
        self.condition = (lambda match: _reason(condition(match))) if condition else None

    def _native(self) -> tuple[Any, ...]:
        return (self.name, self.pattern, self.replace, self.condition)

    def __repr__(self) -> str:
        return f"Rule({self.name!r})"


def _reason(answer: bool | str) -> bool | str:
    return "its condition does not hold" if answer == "" else answer
