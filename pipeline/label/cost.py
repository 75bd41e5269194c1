"""What labels will cost: prompts, tokens, hours; known before the first prompt.

expected = cost(documents=100_000, settings=settings, overhead=180)
shown(expected, rate)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from pipeline.errors import UserError
from pipeline.label.settings import JudgeSettings
from pipeline.shards import read_narrow
from pipeline.workspace import Workspace

MARKS = 4
"""Tokens that a letter in its line and the blank line take."""


@dataclass(frozen=True)
class Cost:
    """prompts and tokens of all judges together, refinement included."""

    prompts: int
    tokens: int


def cost(documents: int, settings: JudgeSettings, overhead: int, excerpt: float | None = None) -> Cost:
    """documents: of the sample. overhead: tokens of a prompt without its texts. excerpt: mean tokens of an excerpt,
    the setting's limit where it is not known."""
    asked = prompts(documents, settings)
    if settings.refine is not None:
        asked += refine_prompts(documents, settings)
    asked *= len(settings.judges)
    length = settings.excerpt if excerpt is None else excerpt
    return Cost(asked, round(asked * (overhead + settings.slots * (length + MARKS))))


def prompts(documents: int, settings: JudgeSettings) -> int:
    """Prompts of the first rounds of one judge."""
    return settings.rounds * -(-documents // settings.own)


def refine_prompts(documents: int, settings: JudgeSettings) -> int:
    """Prompts of a refinement of one judge."""
    assert settings.refine is not None
    return settings.refine.rounds * -(-near_count(documents, settings) // settings.own)


def near_count(documents: int, settings: JudgeSettings) -> int:
    """Documents that a refinement asks about again."""
    assert settings.refine is not None
    return max(int(settings.refine.share * documents), min(documents, settings.slots))


def check(expected: Cost, documents: int, settings: JudgeSettings) -> None:
    """Raises UserError where the tokens would go over the bound."""
    if settings.max_tokens is None or expected.tokens <= settings.max_tokens:
        return
    fitting = documents * settings.max_tokens // expected.tokens
    raise UserError(
        f"labels would read {expected.tokens:,} tokens ({expected.prompts:,} prompts); max_tokens is "
        f"{settings.max_tokens:,}: about {fitting:,} documents fit; take a smaller sample, fewer rounds or shorter "
        "excerpts, or raise max_tokens"
    )


def measured_rate(workspace: Workspace, identity: dict[str, Any]) -> float | None:
    """Tokens per second at which a judge has answered in this workspace so far; None if it never did."""
    tokens = seconds = 0.0
    for corpus in workspace.store.folders("answers"):
        for folder, record in workspace.stages(f"answers/{corpus}").items():
            if record["fields"]["judge"] != identity:
                continue
            for shard, row in workspace.rows(folder).items():
                if row.done:
                    column = read_narrow(workspace.store, f"{folder}/{shard}.parquet", ["tokens"]).column("tokens")
                    tokens += pc.sum(column).as_py() or 0
                    seconds += row.seconds or 0
    return tokens / seconds if seconds > 0 else None


def shown(expected: Cost, rate: float | None) -> str:
    """One line for people."""
    line = f"{expected.prompts:,} prompts, {expected.tokens:,} tokens"
    if rate is None:
        return f"{line}; no rate measured yet: the first batch will tell, or set tokens_per_second"
    hours = expected.tokens / rate / 3600
    time = f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.1f} minutes"
    return f"{line}, {time} at {rate:,.0f} tokens/s"
