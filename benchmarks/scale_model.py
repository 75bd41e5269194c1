"""From what `make scale` measured to what a corpus of 10 TB or 1 PB would take: docs/scale.md, filled from the result.

The model is linear: so much a megabyte, so much a task, so much a row. Whether it is, the measurements say: what 100
and 1,000 shards predict of 10,000 stands beside what 10,000 took.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.common import ROOT

PAGE = ROOT / "docs" / "scale.md"
CORES = 64
"""Cores of a machine of the model."""
DAY = 86_400
CORPORA = (("10 TB", 10e12, 128.0), ("1 PB", 1e15, 128.0), ("1 PB", 1e15, 1024.0))
"""name, bytes of text, megabytes of a shard"""
Parts = dict[str, Any]


def fill(parts: Parts) -> None:
    """Replace what stands between the marks of the page."""
    page = PAGE.read_text()
    for name, made in {
        "throughput": _throughput,
        "tasks": _tasks,
        "ledger": _ledger,
        "shards": _shards,
        "model": _model,
    }.items():
        text = f"<!-- scale {name} -->\n{made(parts)}\n<!-- /scale {name} -->"
        page = re.sub(rf"<!-- scale {name} -->\n.*?<!-- /scale {name} -->", lambda _, t=text: t, page, flags=re.DOTALL)
    PAGE.write_text(page)


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def _runs(parts: Parts, workers: int, separate: bool) -> list[dict[str, Any]]:
    return [run for run in parts["throughput"]["runs"] if (run["workers"], run["separate"]) == (workers, separate)]


def _rate(parts: Parts, workers: int, separate: bool) -> float:
    size = parts["throughput"]["megabytes"]
    return statistics.median(size / run["seconds"] for run in _runs(parts, workers, separate))


def _throughput(parts: Parts) -> str:
    if "throughput" not in parts:
        return "Not measured."
    one = parts["throughput"]
    rows = []
    for separate in (False, True):
        for workers in (1, 2):
            runs = _runs(parts, workers, separate)
            if not runs:
                continue
            rate = _rate(parts, workers, separate)
            speeds = sorted(one["megabytes"] / run["seconds"] for run in runs)
            inside = statistics.median(one["megabytes"] / run["task_seconds"] for run in runs)
            rows.append(
                [
                    "namespaces" if separate else "loopback",
                    str(workers),
                    f"{rate:.1f} ({speeds[0]:.1f} to {speeds[-1]:.1f})",
                    f"{rate / _rate(parts, 1, separate):.2f}",
                    f"{inside:.1f}",
                    f"{statistics.median(run['scheduler_seconds'] for run in runs) / one['shards'] * 1e3:.1f}",
                ]
            )
    head = [
        "network",
        "workers",
        "MB/s, median and range",
        "of one worker",
        "MB/s inside tasks",
        "scheduler, ms a task",
    ]
    about = f"{one['megabytes']:.0f} MB of text, {one['documents']:,} documents, {one['shards']} shards; {_when(one)}"
    return f"{_table(head, rows)}\n\n{about}"


def _tasks(parts: Parts) -> str:
    if "tasks" not in parts:
        return "Not measured."
    one, many = parts["tasks"], parts["tasks"]["at_once"]
    rows = []
    for label, run, memory in (
        ("a window at a time, as Tamis does", one, one["scheduler_mb"][-1]),
        ("all at once, results not fetched", many, many["scheduler_mb"]),
    ):
        count = run.get("tasks", one["tasks"])
        cost = f"{run['scheduler_seconds'] / count * 1e3:.2f}"
        rows.append([label, f"{count:,}", f"{run['seconds']:,.0f}", cost, f"{memory:.0f}"])
    head = ["empty tasks", "how many", "seconds", "scheduler's processor, ms a task", "scheduler, MB"]
    idle, after = one["scheduler_mb_idle"], one["scheduler_mb"]
    memory = f"The scheduler has {idle:.0f} MB before the first task, {after[0]:.0f} after 10,000"
    if len(after) > 1:
        memory += f", {after[-1]:.0f} after {10_000 * len(after):,}"
    return f"{_table(head, rows)}\n\n{memory}; the client {one['client_mb']:.0f} at most. {_when(one)}"


def _ledger(parts: Parts) -> str:
    if "ledger" not in parts:
        return "Not measured."
    one = parts["ledger"]
    rows = [
        [f"{row['count']:,}", f"{row['read_loose']:.2f}", f"{row['compact']:.2f}", f"{row['read']:.2f}"]
        for row in one["rows"]
    ]
    head = ["attempts", "read, a file each: s", "gathered: s", "read, one file: s"]
    return (
        f"{_table(head, rows)}\n\nWriting one, synced to the disk: {one['write_seconds'] * 1e3:.1f} ms. "
        f"Memory at the end: {one['peak_mb']:.0f} MB. {_when(one)}"
    )


MEASURES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "status_seconds": ("`tamis status`, s", lambda v: f"{v:.2f}"),
    "sql_seconds": ("counts and means over `scored`, s", lambda v: f"{v:.1f}"),
    "sql_mb": ("memory of that, MB", lambda v: f"{v:,.0f}"),
    "select_main_seconds": ("selection, main process and scheduler, s", lambda v: f"{v:.1f}"),
    "select_worker_seconds": ("selection, both workers, s", lambda v: f"{v:,.0f}"),
    "select_seconds": ("selection, by the clock, s", lambda v: f"{v:,.0f}"),
    "select_mb": ("memory of the main process and scheduler, MB", lambda v: f"{v:,.0f}"),
    "worker_mb": ("memory of the largest worker, MB", lambda v: f"{v:,.0f}"),
}


def _shards(parts: Parts) -> str:
    there = [parts[name] for name in ("workspace-100", "workspace-1000", "workspace-10000") if name in parts]
    if not there:
        return "Not measured."
    head = ["", *(f"{one['shards']:,} shards" for one in there)]
    rows = [["rows of scores", *(f"{one['rows']:,}" for one in there)]]
    rows.append(["disk, MB", *(f"{one['bytes'] / 1e6:,.0f}" for one in there)])
    whole = len(there) == 3
    if whole:
        head += ["predicted by the others", "measured / predicted"]
        rows = [[*row, "", ""] for row in rows]
    for key, (label, shown) in MEASURES.items():
        row = [label, *(shown(one[key]) if key in one else "out of memory" for one in there)]
        if whole:
            a, b, c = there
            slope = (b[key] - a[key]) / (b["shards"] - a["shards"])
            predicted = a[key] + slope * (c["shards"] - a["shards"])
            ended = key in c and not (key == "sql_mb" and "sql_error" in c)
            row += [shown(predicted), f"{c[key] / predicted:.2f}" if ended else ""]
        rows.append(row)
    return f"{_table(head, rows)}\n\n{_when(there[-1])}"


def _model(parts: Parts) -> str:
    selected = [one for name, one in parts.items() if name.startswith("workspace") and "select_mb" in one]
    selected.sort(key=lambda one: one["shards"])
    if not {"throughput", "tasks", "ledger"} <= parts.keys() or len(selected) < 2:
        return "Not computed: a part is missing."
    text, chores = parts["throughput"], parts["tasks"]
    rate = statistics.median(text["megabytes"] / run["task_seconds"] for run in _runs(parts, 1, False))
    task = chores["scheduler_seconds"] / chores["tasks"]
    rows_of_ledger = parts["ledger"]["rows"]
    gather = (rows_of_ledger[-1]["compact"] - rows_of_ledger[-2]["compact"]) / (
        rows_of_ledger[-1]["count"] - rows_of_ledger[-2]["count"]
    )
    per_row, first = _slope(selected, "select_worker_seconds", "rows")
    per_shard, _ = _slope(selected, "select_main_seconds", "shards")
    answered = [one for one in selected if "sql_seconds" in one]
    asked, _ = _slope(answered, "sql_seconds", "rows")
    held, _ = _slope(answered, "sql_mb", "rows")
    per_document = text["megabytes"] * 1e6 / text["documents"]
    columns = []
    for _, size, shard_mb in CORPORA:
        megabytes, shards, documents = size / 1e6, size / 1e6 / shard_mb, size / per_document
        cores = megabytes / rate / DAY
        columns.append(
            {
                "shards": f"{shards:,.0f}",
                "documents": f"{documents:.1e}",
                "scoring by two scorers, core hours": f"{megabytes / rate / 3600:,.0f}",
                "cores that do it in a day": f"{cores:,.0f}",
                f"machines of {CORES} cores": f"{-(-cores // CORES):,.0f}",
                "disk for documents, TB": f"{size * text['documents_mb'] / text['megabytes'] / 1e12:,.1f}",
                "disk for both scores, TB": f"{size * text['scores_mb'] / text['megabytes'] / 1e12:,.2f}",
                "scheduler's processor for a pass, hours": f"{shards * task / 3600:,.2f}",
                "cores that one scheduler can feed": f"{shard_mb / rate / task:,.0f}",
                "ledger gathered, minutes a stage": f"{shards * gather / 60:,.1f}",
                "selection, core hours of workers": f"{documents * per_row / 3600:,.0f}",
                "those on the cores above, hours": f"{documents * per_row / 3600 / cores:,.1f}",
                "selection, main process and scheduler, hours": f"{shards * per_shard / 3600:,.1f}",
                "counts over `scored`, core hours of one machine": f"{documents * asked / 3600:,.0f}",
                "counts over `scored`, memory of one machine, TB": f"{documents * held / 1e6:,.1f}",
            }
        )
    head = ["", *(f"{name}, shards of {shard:.0f} MB" for name, _, shard in CORPORA)]
    rows = [[key, *(column[key] for column in columns)] for key in columns[0]]
    basis = (
        f"From {rate:.1f} MB a second and core (inside tasks, one worker on loopback), {task * 1e3:.2f} ms of the "
        f"scheduler a task, {gather * 1e3:.2f} ms a row of the ledger, {per_document:,.0f} bytes a document. Between "
        f"{selected[0]['shards']:,} and {selected[-1]['shards']:,} shards a selection took {first:.1f} core seconds of "
        f"workers to begin with and {per_row * 1e6:.1f} for each million rows, the main process with its scheduler "
        f"{per_shard * 1e3:.1f} ms a shard, and counts over `scored`, up to {answered[-1]['shards']:,} shards, "
        f"{asked * 1e6:.2f} core seconds and {held * 1e6:.0f} MB for each million rows."
    )
    return f"{_table(head, rows)}\n\n{basis}"


def _slope(measured: list[dict[str, Any]], key: str, by: str) -> tuple[float, float]:
    """What one more of `by` costs, between the smallest and the largest; and what is left of the smallest at none."""
    small, large = measured[0], measured[-1]
    slope = (large[key] - small[key]) / (large[by] - small[by])
    return slope, small[key] - slope * small[by]


def _when(one: dict[str, Any]) -> str:
    return f"{one['begun']['time']}, commit {one['commit']}, load before {one['begun']['load'][0]:g}."
