"""Where every row of an export comes from: settings, hashes, thresholds and counts of each step, and no secrets.

`lineage.json` lies in the export. It has neither times nor names of people or machines, so the same export has the same
lineage; what an address holds besides the place (user, password, query) is taken out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.catalog import Scores, shown_stages
from pipeline.export.plan import Plan
from pipeline.ledger import Row
from pipeline.redact import scrubbed
from pipeline.stage import version

FILE = "lineage.json"


def lineage(plan: Plan, rows: Mapping[str, list[Row]], complete: bool) -> dict[str, Any]:
    """The record of an export. rows: {split: ledger rows of its output shards}."""
    corpora = {one.corpus.name: one.corpus for one in plan.inputs}
    scores: dict[str, dict[str, Any]] = {}
    for one in plan.inputs:
        ranked_by = plan.selection[1]["fields"]["scores"].get(one.corpus.name, {}) if plan.selection else {}
        used = {stage.folder: stage for stage in shown_stages(one.corpus, ranked_by.values()).values()}
        wanted = [*ranked_by.values(), *(stage.folder for stage in one.stages.values())]
        stages = used | {stage.folder: stage for stage in one.stages.values()}
        scores[one.corpus.name] = {
            stages[folder].alias: _score(stages[folder]) for folder in dict.fromkeys(wanted) if folder in stages
        }
    record = {
        "complete": complete,
        "export": {
            "name": plan.stage.name,
            "hash": plan.stage.hash,
            "settings": plan.settings.model_dump(mode="json", exclude={"out"}),
            "columns": {field.name: str(field.type) for field in plan.schema},
        },
        "selection": _selection(plan),
        "scores": scores,
        "corpora": {
            name: {
                "hash": corpus.hash,
                "fields": corpus.record["fields"],
                "shards": len(corpus.shards),
                "rows": _totals(list(corpus.done.values())),
            }
            for name, corpus in corpora.items()
        },
        "splits": {split: _totals(of_split) for split, of_split in rows.items()},
        "versions": {"tamis": version(), "pyarrow": pa.__version__},
    }
    return scrubbed(record)


def _score(stage: Scores) -> dict[str, Any]:
    return {"hash": stage.record["hash"], "fields": stage.record["fields"]}


def _selection(plan: Plan) -> dict[str, Any] | None:
    if plan.selection is None:
        return None
    _, record = plan.selection
    return {
        "name": record["name"],
        "hash": record["hash"],
        "fields": record["fields"],
        "result": record["info"]["result"],
    }


def _totals(rows: list[Row]) -> dict[str, Any]:
    sources: dict[str, int] = {}
    reasons: dict[str, int] = {}
    for row in rows:
        for item in row.sources:
            sources[item["source"] or ""] = sources.get(item["source"] or "", 0) + item["rows_out"]
        for item in row.reasons:
            reasons[item["reason"]] = reasons.get(item["reason"], 0) + item["rows"]
    return {
        "documents": sum(row.rows_out for row in rows),
        "text_bytes": sum(row.bytes_in for row in rows),
        "rejected": sum(row.rejected for row in rows),
        "reasons": dict(sorted(reasons.items())),
        "sources": dict(sorted(sources.items())),
        "shards": len(rows),
    }
