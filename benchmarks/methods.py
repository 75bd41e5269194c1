"""What a step costs with each training method, in time and memory, beside AdamW: make bench-lm.

All in one process on one core with one thread, in float32, step by step in turns: the same Llama from the same weights
with the same rows, but for what the method changes. Memory is what is there after the last step: trained weights
(gradients are as large) and the optimizer's state, counted tensor by tensor; activations are not in it. Steps in which
every matrix is projected anew (Fira) or a block begins anew (FRUGAL) are among them, once in five, so that their share
is much larger than with the default gap of 200; `fira, between projections` is without them.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common import DATA, DOCUMENTS, NotReady, line, measured_cores, needed, pinned
from benchmarks.loader import TOKENIZER

MODEL = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 8}
CONTEXT = 256
ROWS = 4
GAP = 5
SIDES: dict[str, list[dict[str, Any]]] = {
    "adamw": [],
    "frugal": [{"method": "frugal", "update_gap": GAP}],
    "frugal, density 0": [{"method": "frugal", "density": 0.0}],
    "fira": [{"method": "fira", "rank": 64, "update_gap": GAP}],
    "fira, between projections": [{"method": "fira", "rank": 64, "update_gap": 10**6}],
    "lost": [{"method": "lost", "rank": 64}],
    "lost, silu": [{"method": "lost", "rank": 64, "activation": "silu"}],
    "forget": [{"method": "forget", "every": GAP}],
    "znorm_softplus": [{"method": "znorm_softplus"}],
    "ditto, its own steps": [{"method": "ditto", "share": 1.0}],
    "multi_token": [{"method": "multi_token"}],
    "multi_token, base trained": [{"method": "multi_token", "base": "trained"}],
}


def measure(repeats: int) -> dict[str, Any]:
    """Ratios to AdamW, step by step, and bytes."""
    needed(DOCUMENTS, "bench-data")
    try:
        import torch
        import transformers
    except ImportError:
        raise NotReady("it needs torch and transformers; `make bench-lm` runs it where they are") from None
    folder = DATA / f"methods-{os.getpid()}"
    try:
        request = {"folder": str(folder), "steps": 4 * repeats}
        found = pinned("benchmarks.methods", measured_cores(1), request)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds, lines = found["seconds"], []
    for name in SIDES:
        if name != "adamw":
            ratios = [own / plain for own, plain in zip(seconds[name], seconds["adamw"], strict=True)]
            lines.append(line(f"{name}: seconds of a step, by AdamW's", "times", ratios))
    lines.append(
        line(
            "flatness: seconds of a micro-batch, by AdamW's step of the same rows",
            "times",
            [own / plain for own, plain in zip(seconds["flatness"], seconds["adamw"], strict=True)],
        )
    )
    lines.append(line("adamw", "tokens/s", [ROWS * CONTEXT / one for one in seconds["adamw"]]))
    for name, (weights, state) in found["bytes"].items():
        lines.append(line(f"{name}: trained weights", "MB", [weights / 1e6]))
        lines.append(line(f"{name}: state of the optimizer", "MB", [state / 1e6]))
    millions = found["bytes"]["adamw"][0] / 4e6
    about = (
        f"Llama of 4 layers, width 256, vocabulary 4,096, output not tied, {millions:.1f} million parameters; "
        f"{4 * repeats} steps of each side in turns, {ROWS} rows of {CONTEXT} each. torch {torch.__version__}, "
        f"transformers {transformers.__version__}.\n"
    )
    return {"lines": lines, "runs": [found], "about": about}


def _measured(request: dict[str, Any]) -> dict[str, Any]:
    import pyarrow.parquet as pq
    import torch

    from pipeline.execute import Compute, Pool
    from pipeline.trainer.batches import batches
    from pipeline.trainer.data import DataSettings
    from pipeline.trainer.methods.flatness import fisher_traces
    from pipeline.trainer.model import Trainee
    from pipeline.trainer.pack import pack
    from pipeline.trainer.plan import Rows
    from pipeline.workspace import Workspace

    torch.set_num_threads(1)
    folder = Path(request["folder"])
    folder.mkdir(parents=True)
    pq.write_table(pq.read_table(DOCUMENTS).slice(0, 400), folder / "in.parquet")
    workspace = Workspace(str(folder / "workspace"))
    data = DataSettings(paths=[str(folder / "in.parquet")], tokenizer=str(TOKENIZER), bos=0)
    with Pool(Compute(workers=1), workspace) as pool:
        packed = pack(workspace, "bench", data, pool)
    plan = Rows(packed.lengths, CONTEXT, seed=0)
    sides = {name: Side(entries, packed.vocabulary) for name, entries in SIDES.items()}
    probed: Trainee = sides["adamw"].trainee
    seconds: dict[str, list[float]] = {name: [] for name in (*SIDES, "flatness")}
    for step in range(1, request["steps"] + 2):
        [made] = batches(packed, plan, range(step, step + 1), ROWS, ROWS)
        names = list(SIDES)
        for name in names[step % len(names) :] + names[: step % len(names)]:
            spent, micros = sides[name].step(step, made)
            if step > 1:  # the first step warms up
                seconds[name].append(spent)
            if name == "adamw":
                begun = time.perf_counter()
                fisher_traces(probed, micros, 0)
                if step > 1:
                    seconds["flatness"].append(time.perf_counter() - begun)
    return {"seconds": seconds, "bytes": {name: side.sizes() for name, side in sides.items()}}


class Side:
    """A model that is trained by one recipe."""

    def __init__(self, entries: list[dict[str, Any]], vocabulary: int):
        from pipeline.trainer.methods import make_methods, method_settings
        from pipeline.trainer.model import Trainee, open_network
        from pipeline.trainer.optimizer import make_adamw
        from pipeline.trainer.settings import ModelSettings, TrainSettings

        whole = {"model_type": "llama", "max_position_embeddings": CONTEXT, "tie_word_embeddings": False} | MODEL
        model = ModelSettings(config=whole)
        self.settings = TrainSettings(
            name="x", data={"paths": ["x"]}, model=model, context=CONTEXT, batch=ROWS, micro_batch=ROWS, steps=10**6
        )
        self.methods = make_methods(method_settings(entries, "benchmark"), 0, str(TOKENIZER))
        network = open_network(model, vocabulary, {}, seed=0).train()
        for method in self.methods:
            if method.prepare is not None:
                method.prepare(network, True)
        maker = next((method.optimizer for method in self.methods if method.optimizer is not None), make_adamw)
        self.trainee, self.optimizer = Trainee(network), maker(network, self.settings.optimizer)

    def step(self, step: int, made: list[Any]) -> tuple[float, list[Any]]:
        """Seconds of a step, and its micro-batches."""
        import torch

        from pipeline.trainer.step import to_micro, update

        begun = time.perf_counter()
        for method in self.methods:
            made = made if method.batch is None else method.batch(step, made)
        micros = [to_micro(batch, None, torch.device("cpu")) for batch in made]
        update(step, self.settings.steps or 0, self.trainee, self.optimizer, micros, self.methods, self.settings)
        return time.perf_counter() - begun, micros

    def sizes(self) -> tuple[int, int]:
        """Bytes of the weights that are trained, and of the optimizer's state."""
        trained = sum(p.nbytes for p in self.trainee.parameters() if p.requires_grad)
        state = (v for own in self.optimizer.state.values() for v in own.values() if hasattr(v, "nbytes"))
        return trained, sum(v.nbytes for v in state)


if __name__ == "__main__":
    print(json.dumps(_measured(json.loads(sys.argv[1]))))
