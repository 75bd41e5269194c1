"""DITTO on a language model of one's own: curves before and after, beside as many plain steps.

    python -m experiments.ditto_model path/to/SmolLM2-135M           # 16 steps: about a quarter of an hour on one core

Needs the extra `lm` and `make bench-data`. Steps of 4 rows of 128 tokens of manuals, AdamW at a constant 1e-4. One
seed: it shows what the method does, not how sure that is. What is done is not done again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from experiments.methods import write_text
from experiments.methods_report import asked, bits, ditto_table, last_checkpoint
from experiments.trainings import ONE, ROOT, RUNS, fill
from pipeline.repeats.model import ModelSettings
from pipeline.trainer.run import placed_settings, train_run
from pipeline.trainer.settings import TrainSettings
from pipeline.workspace import Workspace

ASKED = ModelSettings(documents=12, copies=16, longest=24, prefix=40, continuation=60, context=256)
DOCUMENT = ROOT / "docs" / "experiments" / "ditto.md"


def settings(out: Path, model: Path, steps: int, name: str, methods: list[dict[str, Any]]) -> TrainSettings:
    """A run from the model."""
    data = {"tokenizer": str(model), "id": "id", "limit_documents": 200}
    values = {
        "name": name,
        "data": data | {"paths": [str(out / "train.parquet")]},
        "evaluation": {"held_out": data | {"paths": [str(out / "held-out.parquet")], "limit_documents": 6}},
        "model": {"checkpoint": str(model)},
        "context": 128,
        "batch": 4,
        "micro_batch": 2,
        "steps": steps,
        "optimizer": {"lr": 1e-4},
        "schedule": {"shape": "constant", "warmup": 0.0},
        "methods": methods,
        "checkpoint_every": steps,
        "keep": 1,
        "threads": 1,
        "device": "cpu",
    }
    return placed_settings(TrainSettings.model_validate(values), out)


def draw(path: Path, found: dict[str, dict[str, Any]]) -> None:
    """TP over the copies, a line per model."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "tamis"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for name, one in found.items():
        axes.plot([row["copy"] for row in one["curves"]], [row["tp"] for row in one["curves"]], "o-", ms=3, label=name)
    axes.set(xlabel="copy of the sentence", ylabel="TP, mean probability of its tokens", ylim=(0, 1))
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="DITTO on a model of one's own.")
    parser.add_argument("model", type=Path, help="folder of a causal language model in safetensors")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--out", type=Path, default=RUNS / "ditto-model")
    parser.add_argument("--fill", action="store_true", help="put the result into docs/experiments/ditto.md")
    given = parser.parse_args()
    out, model = given.out.absolute(), given.model.absolute()
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "train.parquet").exists():
        write_text(out, 150_000)
    workspace = Workspace(str(out / "workspace"))
    found = {"before": asked(out, "before", model, ASKED)}
    held = {}
    for name, methods in (("plain", []), ("ditto", [{"method": "ditto"}])):
        run = f"{name}-{given.steps}"
        train_run(workspace, settings(out, model, given.steps, run, methods), ONE)
        held[name] = bits(workspace, run)
        found[name] = asked(out, run, last_checkpoint(workspace, run), ASKED)
    draw(DOCUMENT.with_suffix(".svg") if given.fill else out / "ditto.svg", found)
    text = (
        f"    python -m experiments.ditto_model {model.name} --steps {given.steps}\n\n"
        + ditto_table({name: [one] for name, one in found.items()})
        + f"\n\nHeld-out bits per byte afterwards: plain {held['plain']:.4f}, ditto {held['ditto']:.4f}.\n"
    )
    print(text)
    if given.fill:
        fill(DOCUMENT, text)


if __name__ == "__main__":
    main()
