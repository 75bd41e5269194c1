"""Training data: packing, planning, padding and the loader, on one core.

A parquet file of text is packed with the demo's tokenizer by one worker (rate within the task, as the ledger has it);
its tokens are planned as one epoch at several contexts (share of padding: no interval, the plan is exact); and steps
are put together in process, as a loader worker does it. What a training step takes in the same time is measured by the
benchmark of the trainer: the loader is no bottleneck as long as its rate is the larger one.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common import DATA, DOCUMENTS, ROOT, line, measured_cores, needed, pinned

TOKENIZER = ROOT / "configs" / "demo" / "data" / "tokenizer.json"
CONTEXTS = (512, 1024, 2048, 8192)
ROWS_PER_STEP = 32
STEPS = 40


def measure(megabytes: float, repeats: int) -> dict[str, Any]:
    """Everything `repeats` times, on one core."""
    needed(DOCUMENTS, "bench-data")
    folder = DATA / f"loader-{os.getpid()}"
    request = {"folder": str(folder), "megabytes": megabytes, "repeats": repeats}
    try:
        found = pinned("benchmarks.loader", measured_cores(1), request)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = [line("packing, one worker", "MB/s", found["packing"])]
    for context in map(str, CONTEXTS):
        lines += [
            line(f"padding, context {context}", "%", [100 * found["padding"][context]]),
            line(f"planning an epoch, context {context}", "documents/s", found["planning"][context]),
            line(f"batches, context {context}", "tokens/s", found["batches"][context]),
        ]
    about = (
        f"{found['megabytes']:.0f} MB of text, {found['documents']} documents, {found['tokens']} tokens of the demo's "
        f"tokenizer; steps of {ROWS_PER_STEP} rows; {repeats} times.\n"
    )
    return {"megabytes": found["megabytes"], "lines": lines, "about": about, "documents": found["documents"]}


def _measured(request: dict[str, Any]) -> dict[str, Any]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from pipeline.execute import Compute, Pool
    from pipeline.trainer.data import DataSettings
    from pipeline.trainer.pack import pack
    from pipeline.trainer.plan import plan_epoch
    from pipeline.workspace import Workspace

    folder = Path(request["folder"])
    folder.mkdir(parents=True)
    table = pq.read_table(DOCUMENTS)
    ends = pc.cumulative_sum(pc.binary_length(table.column("text"))).to_numpy()
    table = table.slice(0, int((ends <= request["megabytes"] * 1e6).sum()))
    pq.write_table(table, folder / "in.parquet")
    vocabulary = 1 + max(json.loads(TOKENIZER.read_text())["model"]["vocab"].values())
    data = DataSettings(paths=[str(folder / "in.parquet")], tokenizer=str(TOKENIZER), bos=vocabulary)
    packing = []
    for number in range(request["repeats"]):
        workspace = Workspace(str(folder / str(number)))
        with Pool(Compute(workers=1), workspace) as pool:
            packed = pack(workspace, "documents", data, pool)
        [stage] = workspace.stages("packs")
        packing += [row.bytes_in / 1e6 / row.seconds for row in workspace.rows(stage).values()]
    lengths = packed.lengths
    found: dict[str, Any] = {"packing": packing, "padding": {}, "planning": {}, "batches": {}}
    for context in CONTEXTS:
        plan_epoch(lengths[:1000], None, context, 0, 0)
        seconds = []
        for epoch in range(request["repeats"]):
            begun = time.perf_counter()
            plan = plan_epoch(lengths, None, context, 0, epoch)
            seconds.append(time.perf_counter() - begun)
        found["padding"][str(context)] = plan.padding
        found["planning"][str(context)] = [len(lengths) / one for one in seconds]
        found["batches"][str(context)] = [_collated(packed, context, n) for n in range(request["repeats"])]
    size = int(packed.bytes.sum())
    return found | {"megabytes": size / 1e6, "documents": len(packed), "tokens": int(lengths.sum())}


def _collated(packed: Any, context: int, seed: int) -> float:
    """Inputs a second."""
    from pipeline.trainer.batches import batches
    from pipeline.trainer.plan import Rows

    rows = Rows(packed.lengths, context, seed)
    rows.epoch(0)
    begun = time.perf_counter()
    inputs = sum(
        int((b.segments >= 0).sum()) for step in batches(packed, rows, range(STEPS), ROWS_PER_STEP, 8) for b in step
    )
    return inputs / (time.perf_counter() - begun)


if __name__ == "__main__":
    print(json.dumps(_measured(json.loads(sys.argv[1]))))
