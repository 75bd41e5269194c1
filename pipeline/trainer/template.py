"""Chat templates: a conversation as the text that a model was taught, and which of its characters are to be learnt.

    text, spans = compiled(source, specials).render(messages, [False, True])

A template is a Jinja program that comes with a tokenizer. It runs in Jinja's sandbox with what transformers gives it
(trim_blocks, lstrip_blocks, loop controls, tojson, raise_exception), except the date: the same input gives the same
text. Where messages stand in the rendering: pipeline.trainer.parts.
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
from pipeline.trainer.parts import Message, NoBeginning, Span, message_parts


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
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"the chat template says: {' '.join(str(error).split())[:200]}") from None

    def parts(self, messages: list[Message]) -> tuple[str, list[Span | None]]:
        """(text, where each message stands in it, None where it was left out); see pipeline.trainer.parts."""
        return message_parts(self.text, messages)

    def render(self, messages: list[Message], learnt: list[bool]) -> tuple[str, list[Span]]:
        """(text, characters to be learnt). Of a learnt message: its content and what ends its turn.

        Raises ValueError if the template refuses the conversation, or it cannot be told where a learnt message stands.
        """
        whole, parts = self.parts(messages)
        spans = []
        for i, part in enumerate(parts):
            if learnt[i]:
                if part is None:
                    raise NoBeginning(
                        f"the chat template renders the first {i + 1} messages otherwise than with those after them"
                    )
                spans.append(part)
        return whole, sorted(spans)

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
    except RecursionError:
        raise UserError("chat template: nested too deeply") from None


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)


def _raise(message: str) -> None:
    raise TemplateError(message)
