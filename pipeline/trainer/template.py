"""Chat templates: a conversation as the text that a model was taught, and which of its characters are to be learnt.

    text, spans = compiled(source, specials).render(messages, [False, True])

A template is a Jinja program that comes with a tokenizer. It runs in Jinja's sandbox with what transformers gives it
(trim_blocks, lstrip_blocks, loop controls, tojson, raise_exception), except the date: the same input gives the same
text. Where a message begins is found by rendering the messages before it, so these renderings must be beginnings of
the whole.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipeline.errors import UserError

Message = dict[str, str]
Span = tuple[int, int]


class NoBeginning(ValueError):
    """The rendering of the first messages is not a beginning of the whole."""


class _Generation(Extension):
    """`{% generation %}` marks what a model says; here the text in it is kept as it is."""

    tags = {"generation"}  # noqa: RUF012  (as Jinja declares it)

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@dataclass(frozen=True)
class Template:
    """A compiled template, and the special tokens that it may name."""

    template: Any
    specials: dict[str, str]

    def text(self, messages: list[Message], answer: bool = False) -> str:
        """The rendering. answer: with what comes in front of the next answer. Raises ValueError."""
        try:
            return self.template.render(messages=messages, add_generation_prompt=answer, tools=None, **self.specials)
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            raise ValueError(f"the chat template says: {' '.join(str(error).split())[:200]}") from None

    def render(self, messages: list[Message], learnt: list[bool]) -> tuple[str, list[Span]]:
        """(text, characters to be learnt). Of a learnt message: its content and what ends its turn.

        Raises ValueError if the template refuses the conversation or its renderings are not beginnings of each other.
        """
        whole = self.text(messages)
        spans = []
        for i, message in enumerate(messages):
            if learnt[i]:
                until = self.text(messages[: i + 1])
                _check_beginning(until, whole, i + 1)
                spans.append((self._start(messages[:i], message, until), len(until.rstrip())))
        return whole, spans

    def _start(self, before: list[Message], message: Message, until: str) -> int:
        """Where the content of the last message begins."""
        asked = self.text(before, answer=True) if before else ""
        if message["role"] == "assistant" and before and until.startswith(asked):
            return len(asked)
        earlier = self.text(before) if before else ""
        _check_beginning(earlier, until, len(before))
        at = until.find(message["content"].strip(), len(earlier))
        if at < 0:
            raise ValueError(f"the chat template changes the content of message {len(before) + 1}")
        return at

    def check(self, name: str) -> None:
        """Raises UserError if the template can never tell where messages begin."""
        roles = ("user", "assistant", "user", "assistant")
        messages = [{"role": role, "content": f"words {i}"} for i, role in enumerate(roles)]
        try:
            self.render(messages, [role == "assistant" for role in roles])
        except NoBeginning as error:
            raise UserError(f"tokenizer {name}: {error}; use another template, or export the tokens") from None
        except ValueError:
            return  # it wants other conversations than this one; each says so for itself


def _check_beginning(first: str, whole: str, count: int) -> None:
    if not whole.startswith(first):
        raise NoBeginning(f"the chat template renders the first {count} messages otherwise than with those after them")


@functools.lru_cache(maxsize=8)
def compiled(source: str, specials: tuple[tuple[str, str], ...]) -> Template:
    """A template from its source. Raises UserError if it is not Jinja."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    try:
        return Template(environment.from_string(source), dict(specials))
    except TemplateError as error:
        raise UserError(f"chat template: line {getattr(error, 'lineno', '?')}: {error}") from None


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)


def _raise(message: str) -> None:
    raise TemplateError(message)
