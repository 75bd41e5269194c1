"""A judge's model before it is opened: where it is, what identifies it, and how it is spoken to.

voice = voice_of(judge, settings)
voice.identity        # for the hash of its answers
voice.asker           # prompts as token ids, letters as tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.label.settings import Judge, JudgeSettings
from scorers.judge.prompts import GRADE_OPENERS, LETTER_OPENERS, LETTERS, Asker
from scorers.lm.engines import engine_facts
from scorers.lm.engines.text import read_codec

PLACEHOLDER = "\ue000content\ue000"
"""Stands for the question while a chat template is rendered; no tokenizer's or template's own text."""


@dataclass(frozen=True)
class Voice:
    """identity: what decides the answers besides the prompts. context: tokens of a prompt at most, None: not known."""

    identity: dict[str, Any]
    asker: Asker
    context: int | None


def voice_of(judge: Judge, settings: JudgeSettings) -> Voice:
    """Fetch what is on the hub, hash it, and prove the letters. Raises UserError; opens no model."""
    from tokenizers import Tokenizer

    folder = _folder(judge)
    codec = read_codec(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    frame = _frame(folder) if judge.chat else None
    symbols: Sequence[str] = LETTERS[: settings.slots]
    openers: Sequence[tuple[str, str]] = LETTER_OPENERS
    if settings.way == "pointwise":
        symbols, openers = [str(n) for n in range(settings.grades)], GRADE_OPENERS
    try:
        asker = Asker.of(tokenizer, frame or ("", "\n\n"), symbols, None if frame else codec.first, openers)
    except ValueError as error:
        raise UserError(f"judge {judge.name!r}: {error}") from None
    context = judge.context or codec.context
    return Voice(_identity(judge, folder) | {"frame": None if frame is None else list(frame)}, asker, context)


def _folder(judge: Judge) -> Path:
    """The folder that holds the judge's tokenizer, and its weights unless a server has them."""
    from scorers.lm.files import check_folder, model_folder

    name = judge.tokenizer or judge.model
    if judge.engine == "server" and not Path(name).expanduser().is_dir():
        raise UserError(
            f"judge {judge.name!r}: set `tokenizer` to a folder with the tokenizer.json of {judge.model}; letters are "
            "asked for as tokens"
        )
    folder = model_folder(name, judge.revision, judge.trust_remote_code)
    if judge.engine != "server":
        check_folder(folder, judge.trust_remote_code)
    return folder


def _identity(judge: Judge, folder: Path) -> dict[str, Any]:
    """What decides the answers: the engine, and the model or, of a server's, the tokenizer."""
    from pipeline import models
    from pipeline.preselect.panel import identity

    if judge.engine == "server":
        return engine_facts(judge) | {"tokenizer": models.content_hash(folder / "tokenizer.json")}
    return engine_facts(judge) | {"weights": identity(folder, judge.trust_remote_code)}


def _frame(folder: Path) -> tuple[str, str] | None:
    """What the chat template puts before and after a user's message; None without a template."""
    from pipeline.trainer.encode import chat_template, special_tokens, tokenizer_config
    from pipeline.trainer.template import compiled

    file = folder / "tokenizer.json"
    config = tokenizer_config(str(folder), file)
    source = chat_template(config, file)
    if source is None:
        return None
    specials = tuple(sorted(special_tokens(config).items()))
    text = compiled(source, specials).text([{"role": "user", "content": PLACEHOLDER}], answer=True)
    before, found, after = text.partition(PLACEHOLDER)
    if not found or PLACEHOLDER in after:
        raise UserError(f"{folder}: its chat template does not show a user's message once; set `chat: false`")
    return before, after
