"""A workspace of hostile text, with everything that the report has a part for that needs no long run."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

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
        for folder, schema, values in (("metrics", STEPS, rows), ("evaluations", SETS, sets)):
            with workspace.store.writing(f"{stage.folder}/{folder}/part-0.parquet") as path:
                pq.write_table(pa.Table.from_pylist(values, schema), path)
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


def shortened(text: str) -> str:
    """What the page holds of a text."""
    return text[:CHARACTERS]
