"""What experiments/methods.py says beside the table of the comparison: flatness, accuracy, DITTO's curves, heads."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.common import RESULTS, TRIALS
from pipeline.repeats.model import ModelSettings, measure
from pipeline.trainer import metrics
from pipeline.trainer.checkpoint import checkpoints
from pipeline.trainer.compare_report import shown
from pipeline.workspace import Workspace
from scorers.lm.model import open_model

ASKED = ModelSettings(documents=40, copies=12, longest=18, prefix=32, continuation=64, context=256)
"""Of the tiny models, whose context is 256."""
COPIES = (0, 1, 2, 4, 8)
MEASURES = (("greedy", "rep_2"), ("greedy", "rep_4"), ("greedy", "rep_w"), ("nucleus", "rep_2"), ("forced", "rep/128"))


def last_checkpoint(workspace: Workspace, name: str) -> Path:
    """The folder of a finished run's model."""
    run = _run(workspace, name)
    return Path(workspace.store.path(checkpoints(workspace.store, run)[-1].folder))


def _run(workspace: Workspace, name: str) -> str:
    return [folder for folder, record in workspace.stages("runs").items() if record["name"] == name][-1]


def probes(workspace: Workspace, name: str) -> dict[str, float]:
    """What the methods of a run measured last."""
    rows = metrics.read(workspace.store, _run(workspace, name), metrics.METRICS).to_pylist()
    return next((dict(row["probes"]) for row in reversed(rows) if row["probes"]), {})


def asked(out: Path, label: str, folder: Path, settings: ModelSettings = ASKED) -> dict[str, Any]:
    """The measures of a model on the held-out documents: kept beside the workspace, so that a rerun reads them."""
    kept = out / f"measures-{label}.json"
    if not kept.exists():
        table = pq.read_table(out / "held-out.parquet", columns=["id", "text"]).slice(0, settings.documents)
        with open_model(str(folder)) as model:
            found = measure(model, [(r["id"], r["text"]) for r in table.to_pylist()], settings, lambda text: None)
        rows = {f"{row['what']} {row['measure']}": row["value"] for row in found.measures.to_pylist()}
        made = {"curves": found.curves.to_pylist(), "measures": rows}
        kept.with_suffix(".part").write_text(json.dumps(made), encoding="utf-8")
        kept.with_suffix(".part").replace(kept)
        print(f"measured {label}", file=sys.stderr, flush=True)
    return json.loads(kept.read_text(encoding="utf-8"))


def ditto_table(found: dict[str, list[dict[str, Any]]]) -> str:
    """{model: measures of each seed} as two tables."""
    head = [f"TP {n}" for n in COPIES] + [f"WR {COPIES[-1]}", f"IP {COPIES[-1]}"]
    lines = ["| model | " + " | ".join(head) + " |", "| --- " * (len(head) + 1) + "|"]
    for name, own in found.items():
        cells = [shown([one["curves"][n]["tp"] for one in own]) for n in COPIES]
        cells += [shown([one["curves"][COPIES[-1]][key] for one in own]) for key in ("wr", "ip")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    head = [" ".join(pair) for pair in MEASURES]
    lines += ["", "| model | " + " | ".join(head) + " |", "| --- " * (len(head) + 1) + "|"]
    for name, own in found.items():
        cells = [shown([one["measures"][key] for one in own]) for key in head]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bits(workspace: Workspace, name: str) -> float:
    """Held-out bits per byte at the end of a run."""
    rows = metrics.read(workspace.store, _run(workspace, name), metrics.EVALUATIONS).to_pylist()
    return next(row["bits_per_byte"] for row in reversed(rows) if row["source"] is None)


def costs() -> str:
    """Time and memory of each method, as benchmarks/methods.py measured them."""
    file = next((f for f in (RESULTS / "methods.json", TRIALS / "methods.json") if f.exists()), None)
    if file is None:
        return "Costs: not measured yet (`python -m benchmarks.run methods`)."
    result = json.loads(file.read_text(encoding="utf-8"))
    values = {row["what"]: row for row in result["lines"]}
    lines = [
        "| method | time of a step, AdamW 1 | trained weights, MB | state of the optimizer, MB |",
        "| --- " * 4 + "|",
    ]
    names = [what.partition(":")[0] for what in values if what.endswith("trained weights")]
    for name in names:
        time = values.get(f"{name}: seconds of a step, by AdamW's")
        spent = "1" if time is None else f"{time['value']:.2f} ({time['low']:.2f} to {time['high']:.2f})"
        sizes = (values[f"{name}: {what}"]["value"] for what in ("trained weights", "state of the optimizer"))
        lines.append(f"| {name} | {spent} | " + " | ".join(f"{size:.1f}" for size in sizes) + " |")
    probe = next(row for what, row in values.items() if what.startswith("flatness"))
    lines.append(f"| flatness, a micro-batch | {probe['value']:.2f} ({probe['low']:.2f} to {probe['high']:.2f}) | | |")
    origin = f"{result['begun']['time'][:10]}, commit {result['commit']}, {result['machine']['cpu']}"
    return "\n".join(lines) + f"\n\n{result['about'].strip()} {origin}; load before: {result['begun']['load'][0]}."


def report(workspace: Workspace, out: Path, seeds: Sequence[int], ask: bool) -> str:
    """All that stands below the comparison's table. ask: also what the models have to be asked for anew."""
    flat = [probes(workspace, f"methods.adamw.{seed}") for seed in seeds]
    traces = ", ".join(f"{one['fisher_trace/held_out']:.0f} ± {one['fisher_trace_se/held_out']:.0f}" for one in flat)
    right = [probes(workspace, f"methods.znorm.{seed}")["accuracy/held_out"] for seed in seeds]
    held = {name: [bits(workspace, f"after-{seed}.{name}.{seed}") for seed in seeds] for name in ("plain", "ditto")}
    less = [b - a for a, b in zip(held["plain"], held["ditto"], strict=True)]
    keys = ("accepted/held_out", "acceptance_1/held_out", "acceptance_2/held_out")
    heads = [probes(workspace, f"after-{seed}.heads.{seed}") for seed in seeds]
    accepted = ", ".join(" / ".join(f"{one[key]:.3f}" for key in keys) for one in heads)
    parts = [
        costs(),
        f"Fisher trace per token at the end of the AdamW runs, by seed, with its standard error: {traces}.",
        f"`znorm` has no bits per byte; share of held-out tokens whose first choice is right: {shown(right)}.",
        f"After a quarter as many tokens more, held-out bits per byte: plain {shown(held['plain'])}, ditto less plain "
        f"{shown(less, sign=True)}.",
        "Heads for further tokens on the frozen AdamW model, on held-out text, by seed: tokens per pass / share of "
        f"first drafts kept / of first two: {accepted}.",
    ]
    return "\n\n".join(parts + (asking(workspace, out, seeds) if ask else []))


def asking(workspace: Workspace, out: Path, seeds: Sequence[int]) -> list[str]:
    """Accuracy of AdamW beside znorm, and DITTO's measures before and after, asked of the models."""
    accuracy: dict[str, list[float]] = {"adamw": [], "znorm": []}
    for name, own in accuracy.items():
        for seed in seeds:
            found = asked(out, f"{name}-{seed}", last_checkpoint(workspace, f"methods.{name}.{seed}"))
            own.append(found["measures"]["forced accuracy"])
    apart = [b - a for a, b in zip(*accuracy.values(), strict=True)]
    arms: dict[str, list[dict[str, Any]]] = {"before": [], "plain": [], "ditto": []}
    for seed in seeds:
        arms["before"].append(asked(out, f"adamw-{seed}", last_checkpoint(workspace, f"methods.adamw.{seed}")))
        for name in ("plain", "ditto"):
            arms[name].append(asked(out, f"{name}-{seed}", last_checkpoint(workspace, f"after-{seed}.{name}.{seed}")))
    return [
        f"Accuracy under teacher forcing: AdamW with cross-entropy {shown(accuracy['adamw'])}, znorm "
        f"{shown(accuracy['znorm'])}, difference {shown(apart, sign=True)}.",
        f"DITTO on the tiny models, means over seeds.\n\n{ditto_table(arms)}",
    ]
