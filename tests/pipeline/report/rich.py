"""The hostile workspace with what came later: near-duplicates, labels, weights, a price, a count against another
corpus, membership with its power, and a token selection that models really made (tests/pipeline/report/chats.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.label.label import EVIDENCE
from pipeline.membership import results as membership
from pipeline.near.table import schema_for
from pipeline.preselect.sample import sample_stage
from pipeline.preselect.settings import SampleSettings
from pipeline.repeats import report as repeats
from pipeline.repeats.counts import REPORT, REPORT_SHARD
from pipeline.repeats.settings import SpanSettings
from pipeline.stage import Stage
from pipeline.workspace import Workspace
from scorers.judge.evidence import Evidence
from tests.pipeline.report.chats import add_chats
from tests.pipeline.report.workspaces import HOSTILE, SCRIPT, SOURCES, hostile
from tests.workspaces import add_scores, record

COPIES = (1, 2, 4, 8)


def rich(url: str, tokenizer: Path) -> Workspace:
    """Everything that the page has a part for. tokenizer: a folder for that of the token selection."""
    workspace = hostile(url)
    _near(workspace)
    _labels(workspace)
    _counts(workspace)
    _membership(workspace)
    add_chats(workspace, tokenizer)
    return workspace


def _near(workspace: Workspace) -> None:
    """The documents of the second shard are near-duplicates of those of the first, but for two."""
    ids, corpus = list(HOSTILE), workspace.corpus("web")
    tables = []
    for shard in range(2):
        rows = []
        for i, name in enumerate(ids):
            row: dict[str, Any] = dict.fromkeys(schema_for("near").names)
            row |= {"id": f"{name} again" if shard else name, "near_size": 1, "near_kept": True}
            if i < len(ids) - 2:
                row |= {"near_cluster": name, "near_cluster_corpus": "web", "near_size": 2, "near_kept": shard == 0}
            if not row["near_kept"]:
                alike = {"near_containment": 0.8 + i / 50, "near_jaccard": 0.7 + i / 50}
                row |= {"near_of": name, "near_of_corpus": "web"} | alike
            rows.append(row)
        tables.append(pa.Table.from_pylist(rows, pa.schema([("id", pa.string()), *schema_for("near")])))
    add_scores(workspace, Stage("ingest", "web", "corpora", corpus.record["fields"]), "near", tables)


def _labels(workspace: Workspace) -> None:
    """A sample of the first shard, and what a judge says of it."""
    corpus = workspace.corpus("web")
    sample = sample_stage(corpus, SampleSettings())
    sample.save(workspace.store)
    rows = [
        {"id": name, "text": text, "source": SOURCES[i % 4], "domain": f"{i % 3}.example", "weight": 2.0}
        for i, (name, text) in enumerate(HOSTILE.items())
    ]
    _put(workspace, sample.folder, "part-0", pa.Table.from_pylist(rows))
    stage = Stage("strength", "judge", "strengths/web", {"sample": sample.hash})
    stage.save(workspace.store)
    judged = [
        {key: row[key] for key in ("id", "source", "domain", "weight")}
        | {"chars": 9, "tokens": 10 + i, "prompts": 4, "reason": None, "judge": i - 4.5, "se": 0.1}
        for i, row in enumerate(rows)
    ]
    judged[0] |= {"reason": "judges_disagree", "judge": None}
    table = pa.Table.from_pylist(judged).cast(
        pa.schema(
            [(name, pa.string()) for name in ("id", "source", "domain")]
            + [("weight", pa.float64()), ("chars", pa.int64()), ("tokens", pa.int64()), ("prompts", pa.int32())]
            + [("reason", pa.string()), ("judge", pa.float64()), ("se", pa.float64())]
        )
    )
    _put(workspace, stage.folder, "part-0", table)
    found = Evidence(40, 0.7, float("nan"), 0.1, (0.2, -0.2), 0.5, 0.7)
    whole = {"documents": len(rows), "tokens": 9000, "judges": {SCRIPT: found.record() | {"tokens": 9000}}}
    workspace.store.write_bytes(f"{stage.folder}/{EVIDENCE}", orjson.dumps(whole))


def _counts(workspace: Workspace) -> None:
    """A count of a corpus as a price needs it, and one against another corpus."""
    for name, against in (("priced", {}), ("leak", {"quiz": "0123"})):
        settings = SpanSettings(against=list(against))
        fields = {"against": against, "tokenizer": None, "settings": settings.hashed()}
        stage = Stage("repeats", name, "repeats", fields)
        stage.save(workspace.store)
        schema = repeats.sources_schema(settings)
        total = {"documents": 9, "short": 1, "words": 5000, "chars": 9999}
        rows = [dict.fromkeys(schema.names, 7) | total | {"corpus": "web", "source": one} for one in SOURCES]
        classes = [
            {"corpus": "web", "source": SOURCES[0], "multiplicity": m, "words": 100 * m, "chars": 400}
            for m in (2, 3, 20)
        ]
        _write(workspace, f"{stage.folder}/sources.parquet", pa.Table.from_pylist(rows, schema))
        _write(workspace, f"{stage.folder}/classes.parquet", pa.Table.from_pylist(classes, repeats.CLASSES))
        workspace.store.write_bytes(f"{stage.folder}/{REPORT}", b"{}")
        record(workspace, stage.folder, REPORT_SHARD)


def _membership(workspace: Workspace) -> None:
    """A test of forty identifiers in four numbers of copies, some of them found."""
    fields = {"registry": "r", "model": "m"}
    stage = Stage("membership", "owned", "memberships", fields | {"second": True}, info=fields)
    stage.save(workspace.store)
    draw = np.random.default_rng(0)
    rows = []
    for i in range(40):
        copies = COPIES[i % len(COPIES)]
        p = float(np.clip(draw.beta(1, copies), 0.001, 1))
        rows.append(
            dict.fromkeys(membership.SCHEMA.names)
            | {"level": "identifier", "id": f"ghost-{i}", "owner": "o", "test": "rank", "statistic": "mean_nll"}
            | {"null": "generator", "primary": True, "p": p, "p_adjusted": min(1.0, 40 * p), "found": p < 0.00125}
            | {"copies": copies, "identifiers": 1, "draws": 999, "level_needed": 0.00125, "power": copies / 10}
        )
    _write(workspace, f"{stage.folder}/results.parquet", pa.Table.from_pylist(rows, membership.SCHEMA))


def _put(workspace: Workspace, folder: str, shard: str, table: pa.Table) -> None:
    _write(workspace, f"{folder}/{shard}.parquet", table)
    record(workspace, folder, shard, rows_in=table.num_rows, rows_out=table.num_rows)


def _write(workspace: Workspace, name: str, table: pa.Table) -> None:
    with workspace.store.writing(name) as path:
        pq.write_table(table, path)
