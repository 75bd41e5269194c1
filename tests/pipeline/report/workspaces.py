"""A workspace of hostile text, with everything that the report has a part for that needs no long run."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.membership import results as membership
from pipeline.membership import values
from pipeline.repeats import report as repeats
from pipeline.repeats.counts import REPORT, REPORT_SHARD
from pipeline.report.parts.documents import CHARACTERS
from pipeline.stage import Stage
from pipeline.training_views import RESULTS, SETS, STEPS
from pipeline.workspace import Workspace
from tests.workspaces import REJECTS, WEB, add_corpus, add_scores, add_selection, lengths, record

SCRIPT = "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'> & <!-- &lt;b&gt;"
HOSTILE = {
    "script": SCRIPT,
    "control": "a\x00b\x1b[31mred\x07 bell\x7f\x9b31m and \ufeff a mark",
    "sideways": "left \u202eright\u202c \u2066isolate\u2069 and \u200fmark",
    "separators": "one\u2028two\u2029three\nfour\r\nfive",
    "line": "long" * 300_000,
    "wide": "🦊 العربية 中文 é e\u0301",
    "<b id='x'>": "an id of markup",
    'quote\'s "id"': "SELECT * FROM scored; -- {{data}} ${x} `y`",
    "i" * 5000: "an id of five thousand letters",
    "empty": " ",
}
SOURCES = ["<i>o'source</i>", 'b"</script>', "constructor", "\u202eecruos"]


def hostile(url: str) -> Workspace:
    """Two shards, the second without `preselect` scores, for it failed; a selection, rejects, training, comparisons."""
    workspace = Workspace(url)
    ids = list(HOSTILE)
    tables = []
    for shard in range(2):
        names = [f"{name}{'' if shard == 0 else ' again'}" for name in ids]
        sources = [SOURCES[(i + shard) % len(SOURCES)] for i in range(len(names))]
        tables.append(pa.table([names, list(HOSTILE.values()), sources, names], schema=WEB))
    lost = pa.table(
        [
            [None, "x"],
            SOURCES[:2],
            ["a.jsonl"] * 2,
            [3, 9],
            ["broken_json", "</script>"],
            ["\x1b[2J", None],
            [SCRIPT, "\u202e"],
        ],
        schema=REJECTS,
    )
    corpus = add_corpus(workspace, "web", tables, {0: lost})
    scores = pa.table(
        {
            "id": tables[0].column("id"),
            "preselect_score": pa.array([*(i / 10 for i in range(len(ids) - 1)), float("nan")], pa.float32()),
        }
    )
    add_scores(workspace, corpus, "preselect", [scores, f"died: {SCRIPT}"])
    add_scores(workspace, corpus, "lengths", [lengths(table) for table in tables])
    kept = [
        pa.table(
            {
                "id": table.column("id"),
                "kept": pa.array([i % 3 == 0 for i in range(len(ids))]),
                "reason": pa.array([[None, "over_budget", "<where>"][i % 3] for i in range(len(ids))]),
                "reasons": pa.array([[]] * len(ids), pa.list_(pa.string())),
                "rank_score": pa.array([i / 10 for i in range(len(ids))], pa.float64()),
            }
        )
        for table in tables
    ]
    add_selection(workspace, "best", {"web": kept})
    _training(workspace)
    _membership(workspace)
    _repeats(workspace)
    _tokens(workspace)
    return workspace


def _training(workspace: Workspace) -> None:
    rows, sets = [], []
    for i in range(1, 301):
        rows.append(dict.fromkeys(STEPS.names) | {"step": i, "tokens": 100 * i, "nll": 9 - i / 50, "probes": []})
        if i % 100 == 0:
            for source in (None, "wiki"):
                row = {"step": i, "tokens": 100 * i, "set": "held_out", "source": source, "bits_per_byte": 3 - i / 300}
                sets.append(dict.fromkeys(SETS.names) | row)
    for name in ("a-0", "b-0"):
        stage = Stage("run", name, "runs", {"name": name})
        stage.save(workspace.store)
        record(workspace, stage.folder, "run", rows_in=1, rows_out=1)
        for folder, schema, found_rows in (("metrics", STEPS, rows), ("evaluations", SETS, sets)):
            with workspace.store.writing(f"{stage.folder}/{folder}/part-0.parquet") as path:
                pq.write_table(pa.Table.from_pylist(found_rows, schema), path)
    stage = Stage("compare", "which", "comparisons", {"baseline": "random"})
    stage.save(workspace.store)
    found = [
        dict.fromkeys(RESULTS.names)
        | {"selection": name, "seed": seed, "set": "held_out", "metric": "bits_per_byte", "value": base + seed / 50}
        | {"tokens": 1000, "epochs": 0.5}
        for name, base in (("best", 1.5), ("random", 1.6))
        for seed in range(3)
    ]
    with workspace.store.writing(f"{stage.folder}/results.parquet") as path:
        pq.write_table(pa.Table.from_pylist(found, RESULTS), path)


def _membership(workspace: Workspace) -> None:
    fields = {"registry": "r", "model": "m"}
    stage = Stage("membership", "seen", "memberships", fields, info=fields)
    stage.save(workspace.store)
    made = {"owner": "<i>o</i>", "test": "rank", "statistic": "mean_nll", "null": "generator", "primary": True}
    rows = [
        dict.fromkeys(membership.SCHEMA.names)
        | made
        | {"level": level, "id": id, "p": p, "p_adjusted": p, "found": p < 0.01, "draws": 999, "exceedances": 2}
        | {"auc": 0.9, "auc_low": 0.8, "auc_high": 0.95, "identifiers": 1, "effect": 3.14159}
        for level, id, p in (("identifier", "ghost-1", 0.003), ("identifier", SCRIPT, 0.4), ("registry", None, 0.01))
    ]
    _table(workspace, f"{stage.folder}/results.parquet", membership.SCHEMA, rows)
    draws = [
        dict.fromkeys(values.DRAWS.names)
        | {"kind": kind, "draw": i, "mean_nll": 4 + (i % 7) / 3 - 2 * (kind == "target")}
        for i, kind in enumerate(["target"] + ["null"] * 50)
    ]
    _table(workspace, f"{stage.folder}/ghost-1.parquet", values.DRAWS, draws)
    record(workspace, stage.folder, "ghost-1", rows_in=51, rows_out=51)


def _repeats(workspace: Workspace) -> None:
    stage = Stage("repeats", "spans", "repeats", {"length": 13})
    stage.save(workspace.store)
    spectrum = [
        {"measure": "occurrences", "multiplicity": m, "distinct": 1000 // m**2, "spans": 1} for m in (1, 2, 5, 20)
    ]
    classes = [{"corpus": "web", "source": SOURCES[0], "multiplicity": m, "words": 9, "chars": 40} for m in (1, 2, 200)]
    place = {"corpus": "web", "id": "script", "source": SOURCES[0], "begin": 0, "end": 9}
    span = {"ranking": "longest", "rank": 1, "words": 13, "occurrences": 2, "documents": 2, "text": SCRIPT}
    spans = [dict.fromkeys(repeats.SPANS.names) | span | {"places": [place]}]
    tables = (
        ("spectrum", repeats.SPECTRUM, spectrum),
        ("classes", repeats.CLASSES, classes),
        ("shared", repeats.SHARED, []),
    )
    for name, schema, rows in (*tables, ("spans", repeats.SPANS, spans)):
        _table(workspace, f"{stage.folder}/{name}.parquet", schema, rows)
    workspace.store.write_bytes(f"{stage.folder}/{REPORT}", b"{}")
    record(workspace, stage.folder, REPORT_SHARD)


def _tokens(workspace: Workspace) -> None:
    corpus = workspace.corpus("web")
    stage = Stage(
        "token-selection", "sstoken", "token-selections/web", {"corpus": corpus.hash}, {"table": "tokens/web/t-0"}
    )
    stage.save(workspace.store)
    row = {
        "id": "script",
        "reason": None,
        "selected": [0, 1, 0],
        "control": [0, 0, 1],
        "score": [float("nan"), 0.5, 0.1],
    }
    rows = [row | {"n_tokens": 2, "n_selected": 1}, dict.fromkeys(row) | {"id": "empty", "reason": "held_out"}]
    kinds = {name: pa.list_(pa.int8()) for name in ("selected", "control")} | {"score": pa.list_(pa.float32())}
    names = {"id": pa.string(), "reason": pa.string(), **kinds, "n_tokens": pa.int32(), "n_selected": pa.int32()}
    schema = pa.schema(list(names.items()))
    shard = corpus.shards[0]
    _table(workspace, f"{stage.folder}/{shard}.parquet", schema, rows)
    record(workspace, stage.folder, shard, rows_in=2, rows_out=2)


def _table(workspace: Workspace, name: str, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
    with workspace.store.writing(name) as path:
        pq.write_table(pa.Table.from_pylist(rows, schema), path)


def shortened(text: str) -> str:
    """What the page holds of a text."""
    return text[:CHARACTERS]
