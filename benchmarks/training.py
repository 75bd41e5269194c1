"""Training steps of Tamis beside a bare PyTorch loop with the same model, batches and optimizer: make bench-lm.

Both run in one process on one core with one thread, in float32, step by step in turns: Tamis' step (putting the batch
together, weights, the loss in pieces, clipping, AdamW) and a loop that has the batches in memory as tensors and does
`cross_entropy(model(input_ids).logits)`, backward, clipping and AdamW. The loop is taken twice: with positions that
restart, so that transformers keeps the documents of a row apart as Tamis does, and without, the fastest way there is.
The text is packed by Tamis; both see the same rows.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import DATA, DOCUMENTS, NotReady, line, measured_cores, needed, pinned
from benchmarks.loader import TOKENIZER

MODELS: dict[str, dict[str, Any]] = {
    "4M": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 8},
    "1M": {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3, "num_attention_heads": 4},
}
CONTEXT = 512
ROWS, MICRO = 8, 4
STEPS = 4
"""steps of each side per repeat"""


def measure(megabytes: float, repeats: int) -> dict[str, Any]:
    """Ratios of both loops, step by step."""
    needed(DOCUMENTS, "bench-data")
    try:
        import torch
        import transformers
    except ImportError:
        raise NotReady("it needs torch and transformers; `make bench-lm` runs it where they are") from None
    folder = DATA / f"training-{os.getpid()}"
    request = {"folder": str(folder), "megabytes": min(megabytes, 10), "steps": repeats * STEPS}
    try:
        found = pinned("benchmarks.training", measured_cores(1), request)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = []
    for name, seconds in found["seconds"].items():
        for other, what in (("apart", "a loop that keeps documents apart"), ("plain", "a loop that mixes them")):
            ratios = [theirs / ours for ours, theirs in zip(seconds["tamis"], seconds[other], strict=True)]
            lines.append(line(f"{name}: Tamis, times {what}", "times", ratios))
        lines.append(line(f"{name}: Tamis", "tokens/s", [found["inputs"] / s for s in seconds["tamis"]]))
        lines.append(line(f"{name}: of that, putting the batch together", "%", seconds["share"]))
    lines.append(line("padding of the rows", "%", [100 * found["padding"]]))
    about = (
        f"Steps of {ROWS} rows of {CONTEXT} in micro-batches of {MICRO}, {repeats * STEPS} of each side in turns; "
        f"manuals of 1 to 4 KB, the demo's tokenizer. torch {torch.__version__}, transformers "
        f"{transformers.__version__}.\n"
    )
    return {"lines": lines, "runs": [found], "about": about}


def _measured(request: dict[str, Any]) -> dict[str, Any]:
    import pyarrow.parquet as pq
    import torch

    from pipeline.execute import Compute, Pool
    from pipeline.trainer.data import DataSettings
    from pipeline.trainer.pack import pack
    from pipeline.trainer.plan import Rows
    from pipeline.workspace import Workspace

    torch.set_num_threads(1)
    folder = Path(request["folder"])
    folder.mkdir(parents=True)
    table = pq.read_table(DOCUMENTS)
    rows = int(table.num_rows * request["megabytes"] * 1e6 / table.column("text").nbytes)
    pq.write_table(table.slice(0, rows), folder / "in.parquet")
    workspace = Workspace(str(folder / "workspace"))
    data = DataSettings(paths=[str(folder / "in.parquet")], tokenizer=str(TOKENIZER), bos=0)
    with Pool(Compute(workers=1), workspace) as pool:
        packed = pack(workspace, "bench", data, pool)
    plan = Rows(packed.lengths, CONTEXT, seed=0)
    seconds = {name: _model(config, packed, plan, request["steps"]) for name, config in MODELS.items()}
    return {"seconds": seconds, "inputs": ROWS * CONTEXT, "padding": plan.epoch(0).padding}


def _model(config: dict[str, Any], packed: Any, plan: Any, steps: int) -> dict[str, list[float]]:
    import numpy as np
    import torch

    from pipeline.trainer.batches import batches
    from pipeline.trainer.model import Trainee, open_network
    from pipeline.trainer.optimizer import make_adamw
    from pipeline.trainer.settings import ModelSettings, TrainSettings
    from pipeline.trainer.step import to_micro, update

    whole = {"model_type": "llama", "max_position_embeddings": CONTEXT, "tie_word_embeddings": True} | config
    model = ModelSettings(config=whole)
    settings = TrainSettings(
        name="x", data={"paths": ["x"]}, model=model, context=CONTEXT, batch=ROWS, micro_batch=MICRO, steps=10**6
    )
    networks = {
        name: open_network(model, packed.vocabulary, {}, seed=0).train() for name in ("tamis", "apart", "plain")
    }
    optimizers = {name: make_adamw(network, settings.optimizer) for name, network in networks.items()}
    trainee = Trainee(networks["tamis"])
    found: dict[str, list[float]] = {"tamis": [], "apart": [], "plain": [], "share": []}

    def tamis(step: int) -> None:
        begun = time.perf_counter()
        [made] = batches(packed, plan, range(step, step + 1), ROWS, MICRO)
        micros = [to_micro(batch, None, torch.device("cpu")) for batch in made]
        collated = time.perf_counter() - begun
        update(step + 1, settings.steps or 0, trainee, optimizers["tamis"], micros, [], settings)
        if step:
            found["share"].append(100 * collated / (time.perf_counter() - begun))

    def bare(name: str, step: int, tensors: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> None:
        network, optimizer = networks[name], optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        for ids, labels, positions in tensors:
            told = {"position_ids": positions} if name == "apart" else {}
            logits = network(input_ids=ids, use_cache=False, **told).logits
            (torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()) / len(tensors)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    for step in range(steps + 1):
        [made] = batches(packed, plan, range(step, step + 1), ROWS, MICRO)
        tensors = [
            tuple(torch.from_numpy(a) for a in (b.inputs, np.where(b.weights > 0, b.labels, -100), b.positions))
            for b in made
        ]
        sides: list[tuple[str, Callable[[], None]]] = [
            ("tamis", lambda step=step: tamis(step)),
            ("apart", lambda step=step, tensors=tensors: bare("apart", step, tensors)),
            ("plain", lambda step=step, tensors=tensors: bare("plain", step, tensors)),
        ]
        for name, side in sides[step % 3 :] + sides[: step % 3]:
            begun = time.perf_counter()
            side()
            if step:  # the first step warms up
                found[name].append(time.perf_counter() - begun)
    return found


if __name__ == "__main__":
    print(json.dumps(_measured(json.loads(sys.argv[1]))))
