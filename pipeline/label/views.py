"""What is known of judges in SQL: `judge_evidence`, a row per judge of the newest labels of each name.

Columns: corpus, label (the name of the labels, `strength` of `preselect_strengths`), judge, documents, prompts, tokens,
and the evidence of scorers.judge.evidence: reliability, position, mass, spread (nats), bias (nats, one per answer);
of two judges agreement (Spearman's) and disagree (documents without a label).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from pipeline.workspace import Corpus

VIEWS = ("judge_evidence",)
EVIDENCE = "evidence.json"
COLUMNS = {
    **dict.fromkeys(("corpus", "label", "judge"), "VARCHAR"),
    **dict.fromkeys(("documents", "prompts", "tokens"), "BIGINT"),
    **dict.fromkeys(("reliability", "position", "mass", "spread"), "DOUBLE"),
    "bias": "DOUBLE[]",
    "agreement": "DOUBLE",
    "disagree": "BIGINT",
}


def evidence_selects(corpora: Iterable[Corpus], text: Callable[[str], str]) -> list[str]:
    """SELECTs of a view, one per judge; the record is small, so its values stand in the SQL itself."""
    selects = []
    for corpus in corpora:
        store = corpus.workspace.store
        stages = corpus.workspace.stages(f"strengths/{corpus.name}")  # oldest first
        for name, folder in {record["name"]: folder for folder, record in stages.items()}.items():
            if EVIDENCE not in store.sizes(folder):
                continue
            whole = orjson.loads(store.read_bytes(f"{folder}/{EVIDENCE}"))
            for judge, one in whole["judges"].items():
                row = whole | one | {"corpus": corpus.name, "label": name, "judge": judge}
                shown = ", ".join(f"{_sql(row.get(key), text)}::{kind} AS {key}" for key, kind in COLUMNS.items())
                selects.append(f"SELECT {shown}")
    empty = ", ".join(f"NULL::{kind} AS {key}" for key, kind in COLUMNS.items())
    return selects or [f"SELECT {empty} LIMIT 0"]


def _sql(value: Any, text: Callable[[str], str]) -> str:
    """A value of the record as SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return f"[{', '.join(_sql(one, text) for one in value)}]"
    return text(value) if isinstance(value, str) else repr(value)
