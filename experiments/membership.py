"""Identifiers in real text, a model trained on it, tests through vLLM: python -m experiments.membership

A registry of identifiers in five groups, whose members stand in 1, 2, 5, 10 or 20 documents each (one in a document, at
the end of its last paragraph), as many again in reserve that stand nowhere. The documents are the beginnings of the
benchmark's manuals (`make bench-data`). A small Llama is trained on them for a few epochs, from scratch; every
checkpoint that stays is tested. Steps, each resumable: text, train, test, calibrate, report.

The environment is .venv-lm; vLLM is found as the command line finds it (`make vllm`). Under an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from experiments.membership_report import calibration_table, draw_power, power, power_table
from experiments.trainings import ONE, ROOT, RUNS, Size, fill, head, manuals, recipe
from pipeline.ghosts.draw import DrawSettings, commit, draw
from pipeline.ghosts.registry import Registry, note_insertions, read
from pipeline.lock import held
from pipeline.membership.calibrate import calibrate, calibration_of, counted
from pipeline.membership.results import read_draws
from pipeline.membership.run import Subject, subject
from pipeline.membership.settings import TestSettings
from pipeline.membership.steps import run_test
from pipeline.trainer.checkpoint import checkpoints
from pipeline.workspace import Workspace
from scorers.lm.engines import EngineSettings

COPIES = (1, 2, 5, 10, 20)
CHARACTERS = 700
"""Of a document: its identifier is then about a seventh of it."""
DRAWS = 999
DOCUMENT = ROOT / "docs" / "membership.md"
PLOT = ROOT / "docs" / "membership-power.svg"
BEACON = "none: this experiment proves nothing to others"


@dataclass(frozen=True)
class Place:
    """Where one experiment keeps its files."""

    folder: Path

    @property
    def registry(self) -> Path:
        return self.folder / "registry.parquet"

    @property
    def text(self) -> Path:
        return self.folder / "marked.jsonl"

    @property
    def config(self) -> Path:
        return self.folder / "train.yaml"

    @property
    def workspace(self) -> Workspace:
        return Workspace(str(self.folder / "workspace"))


def owner(copies: int) -> str:
    """The owner of the identifiers with so many copies; each group is one, so that owners' tests are per group."""
    return f"copies-{copies:02d}"


def make_text(place: Place, each: int, documents: int, seed: int = 0) -> Registry:
    """Draw the registry and write the marked documents, unless both are there."""
    place.folder.mkdir(parents=True, exist_ok=True)
    if place.text.exists():
        return read(str(place.registry))
    if not place.registry.exists():
        owners = tuple(owner(copies) for copies in COPIES)
        # One test per group: 999 draws are then enough for the correction, and every identifier has all of them.
        settings = DrawSettings(owners=owners, count=each, reserve=each, unit="owner", beacon_source=BEACON)
        commit(str(place.registry), settings)
        draw(str(place.registry), "")
    registry = read(str(place.registry))
    texts = [text[:CHARACTERS].rstrip() for text in manuals(documents * 4096 / 1e6)["text"].to_pylist()]
    texts = [text for text in texts if len(text) > CHARACTERS // 2][:documents]
    groups = {owner(copies): copies for copies in COPIES}
    copies = [one for one in registry.active for _ in range(groups[one.owner])]
    assert len(copies) <= len(texts) == documents, f"{len(copies)} copies, {len(texts)} documents"
    chosen = np.random.default_rng(seed).permutation(documents)[: len(copies)]
    for one, row in zip(copies, chosen, strict=True):
        texts[row] += f" {one.sentence}"
    partial = place.text.with_suffix(".tmp")
    with partial.open("w", encoding="utf-8") as file:
        for row, text in enumerate(texts):
            file.write(json.dumps({"id": f"d{row:05d}", "text": text}) + "\n")
    note_insertions(registry, "marked", {one.id: (groups[one.owner],) * 2 for one in registry.active})
    partial.replace(place.text)
    return registry


def make_config(place: Place, size: Size, epochs: int, checkpoints: int, steps: int) -> None:
    """The training config. steps: of the run, about: checkpoints are spread over them."""
    values = recipe(1, size, {}) | {"name": "marked", "epochs": epochs, "keep": 100}
    del values["tokens"]
    values["data"] |= {"paths": [str(place.text)]}
    values["model"]["config"]["num_attention_heads"] = size.width // 32  # heads of a size that vLLM has on a CPU
    values["checkpoint_every"] = max(1, -(-steps // checkpoints))
    place.config.write_text(yaml.safe_dump(values, sort_keys=False))


def make_model(place: Place) -> None:
    """Train, or go on training."""
    from pipeline.trainer.run import read_config, train_run

    settings, _ = read_config(str(place.config))
    train_run(place.workspace, settings, ONE)


def checkpoint(place: Place) -> Path:
    """The folder of the trained model."""
    [(folder, _)] = place.workspace.stages("runs").items()
    last = checkpoints(place.workspace.store, folder)[-1]
    assert last.record["final"], "the training has not ended; run the step train again"
    return Path(place.workspace.store.path(last.folder))


def make_untouched(place: Place) -> Path:
    """The same model with the weights that training began with."""
    from pipeline.trainer.model import open_network
    from pipeline.trainer.run import read_config
    from scorers.lm.files import TOKENIZER_FILES

    target, trained = place.folder / "untouched", checkpoint(place)
    if not target.exists():
        settings, _ = read_config(str(place.config))
        vocabulary = json.loads((trained / "config.json").read_text())["vocab_size"]
        open_network(settings.model, vocabulary, {"bos_token_id": 0, "eos_token_id": 0}, settings.seed).save_pretrained(
            target
        )
        for name in TOKENIZER_FILES:
            if (trained / name).is_file():
                shutil.copyfile(trained / name, target / name)
    return target


def settings_of(place: Place, model: Path, engine: str = "vllm") -> TestSettings:
    """A test of the registry."""
    chosen = EngineSettings(engine=engine, model=str(model), context=256)  # type: ignore[arg-type]
    return TestSettings(registry=str(place.registry), engine=chosen, orders=49)


def make_tests(place: Place) -> None:
    """The registry against the trained model, through vLLM."""
    with held(place.workspace.store):
        run_test(place.workspace, settings_of(place, checkpoint(place)), "trained")


MODELS, ENGINES = ("trained", "untouched"), ("vllm", "transformers")


def make_calibrations(place: Place, count: int, only: str | None = None) -> dict[tuple[str, str], Subject]:
    """{(model, engine): what was scored}: the reserves on both models and engines. only: a name, or "" for none."""
    registry, found = read(str(place.registry)), {}
    folders = {"trained": checkpoint(place), "untouched": make_untouched(place)}
    for model, engine in [(model, engine) for model in MODELS for engine in ENGINES]:
        settings = settings_of(place, folders[model], engine).model_copy(update={"orders": 0})
        name = f"calibration-{model}-{engine}"
        if only in (None, f"{model}-{engine}"):  # without the lock: two folders of their own may fill side by side
            calibrate(place.workspace, registry, settings, count, DRAWS, name=name)
        found[model, engine] = calibration_of(registry, settings, count, DRAWS, name=name)
    return found


def report(place: Place, size: Size, count: int) -> str:
    """All that is there as Markdown; the plot goes beside it."""
    registry = read(str(place.registry))
    settings = settings_of(place, checkpoint(place))
    tested = subject(registry, settings, settings.engine, "trained")
    draws = read_draws(place.workspace, tested, None)
    never = {key: read_draws(place.workspace, one, None) for key, one in make_calibrations(place, count, "").items()}
    others = never["trained", "vllm"]
    rows = power(draws, others, COPIES)
    draw_power(rows, PLOT)
    tables = [(*key, counted(some, DRAWS, "float32").to_pylist()) for key, some in never.items() if some]
    return "\n".join(
        [
            head(size),
            "",
            f"Trained to {checkpoint(place).name}; {len(draws)} identifiers tested and {len(others)} that stand "
            f"nowhere, {DRAWS} null draws each, through vLLM in float32.",
            "",
            power_table(rows),
            "Never inserted (the registry's reserves):",
            "",
            calibration_table(tables),
        ]
    )


def main(words: list[str] | None = None) -> int:
    """Do the steps that are named, or all."""
    steps = ("text", "train", "test", "calibrate", "report")
    parser = argparse.ArgumentParser(prog="python -m experiments.membership", description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(steps))
    parser.add_argument("--each", type=int, default=20, help="identifiers of each number of copies [%(default)s]")
    parser.add_argument("--documents", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--checkpoints", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--calibrate", type=int, default=40, help="identifiers of a calibration [%(default)s]")
    parser.add_argument("--only", help="one calibration, such as trained-vllm")
    parser.add_argument("--fill", action="store_true", help="put the report into docs/membership.md")
    parser.add_argument("--out", type=Path, default=RUNS / "membership")
    options = parser.parse_args(words)
    place = Place(options.out)
    size = Size(options.width, options.layers)
    if not options.steps or "text" in options.steps:
        make_text(place, options.each, options.documents)
        rows = options.documents * 380 // 256
        make_config(place, size, options.epochs, options.checkpoints, options.epochs * rows // 8)
    if not options.steps or "train" in options.steps:
        make_model(place)
    if not options.steps or "test" in options.steps:
        make_tests(place)
    if not options.steps or "calibrate" in options.steps:
        make_calibrations(place, options.calibrate, options.only)
    if not options.steps or "report" in options.steps:
        text = report(place, size, options.calibrate)
        print(text)
        if options.fill:
            fill(DOCUMENT, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
