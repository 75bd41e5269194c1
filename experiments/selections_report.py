"""What experiments/selections.py says beside the table of the comparison: its panel, its selections, its sources."""

from __future__ import annotations

import json
from typing import Any

from pipeline.sql import query
from pipeline.trainer.compare_report import shown
from pipeline.workspace import Workspace

ARMS = ("preselect", "labelled", "repetition", "random")


def panel(workspace: Workspace) -> str:
    """What the panel measured, and how far its order differs from chance."""
    folder = next(f for f, record in workspace.stages("strengths/pool").items())
    report = json.loads(workspace.store.read_bytes(f"{folder}/report.json"))
    bits = ", ".join(f"{n} {-b:.3f}" for n, b in zip(report["models"], report["scores"]["bits"], strict=True))
    paper, noise = (report["estimators"][name]["permuted_orders"] for name in ("preselect", "noise"))
    return (
        f"Panel, bits per byte on explaining chapters: {bits}. Strength 1: {paper['high_share']:.1%} of the "
        f"{report['documents']} documents of the pool, rank {paper['high_rank']} among {paper['orders']} orders of the "
        f"models; by `noise`, from {noise['threshold']:.2f} on, rank {noise['high_rank']} among {noise['orders']}."
    )


def composition(workspace: Workspace) -> str:
    """What each selection is made of."""
    table = query(
        workspace,
        """SELECT selection, source, sum(tokens) AS tokens, count(*) AS documents
           FROM selection JOIN scored USING (corpus, id) WHERE kept GROUP BY ALL
           UNION ALL
           SELECT 'corpus', source, sum(tokens), count(*) FROM scored WHERE corpus = 'manuals' GROUP BY ALL""",
    ).to_pylist()
    columns = ("corpus", *ARMS)
    whole = {name: sum(row["tokens"] for row in table if row["selection"] == name) for name in columns}
    lines = ["| source, % of tokens | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    for source in sorted({row["source"] for row in table}):
        part = {row["selection"]: row["tokens"] for row in table if row["source"] == source}
        cells = " | ".join(f"{100 * part.get(name, 0) / whole[name]:.1f}" for name in columns)
        lines.append(f"| {source} | {cells} |")
    lines.append("| tokens in all | " + " | ".join(f"{whole[name]:,}" for name in columns) + " |")
    documents = {name: sum(row["documents"] for row in table if row["selection"] == name) for name in columns}
    lines.append("| documents | " + " | ".join(f"{documents[name]:,}" for name in columns) + " |")
    both = query(
        workspace,
        """SELECT a.selection AS selection, count(*) AS documents FROM selection a JOIN selection b USING (corpus, id)
           WHERE a.kept AND b.kept AND b.selection = 'random' GROUP BY ALL""",
    ).to_pylist()
    shared = {row["selection"]: row["documents"] for row in both}
    lines.append("| also in random | | " + " | ".join(f"{shared.get(name, 0):,}" for name in ARMS) + " |")
    return "\n".join(lines)


def by_source(results: list[dict[str, Any]], baseline: str) -> str:
    """Bits per byte of the held-out split per source: the baseline, and the differences from it within seeds."""
    mine = [row for row in results if row["metric"] == "bits_per_byte" and row["set"] == "held_out" and row["source"]]
    values = {(row["source"], row["selection"], row["seed"]): row["value"] for row in mine}
    others = [name for name in ARMS if name != baseline]
    lines = [f"| held-out source | {baseline} | " + " | ".join(f"{name} less {baseline}" for name in others) + " |"]
    lines.append("| --- " * (len(others) + 2) + "|")
    seeds = sorted({seed for _, _, seed in values})
    for source in sorted({source for source, _, _ in values}):
        own = [values[source, baseline, seed] for seed in seeds]
        apart = [shown([values[source, n, s] - values[source, baseline, s] for s in seeds], sign=True) for n in others]
        lines.append(f"| {source} | {shown(own)} | " + " | ".join(apart) + " |")
    return "\n".join(lines)
