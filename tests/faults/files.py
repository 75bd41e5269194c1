"""Faults of files at rest: truncated, with a flipped bit, swapped with a neighbour.

Each is done to a copy of a workspace that is done or half done.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.faults.lab import Lab
from tests.faults.recover import Trial, settle

LATER = ("scores", "selections", "exports", "ledger/scores", "ledger/selections", "ledger/exports")


def half_done(workspace: Path, rng: random.Random) -> None:
    """As if the run had ended after ingest, or after scoring, or not at all."""
    first = rng.choice((0, 1, None))
    for name in () if first is None else LATER:
        if first == 0 or "scores" not in name:
            shutil.rmtree(workspace / name, ignore_errors=True)


def truncate(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


def swap(path: Path, rng: random.Random) -> None:
    others = sorted(other for other in path.parent.glob(f"*{path.suffix}") if other != path)
    if not others:  # a segment of the ledger is alone in its folder
        ledger = next(parent for parent in path.parents if parent.name == "ledger")
        others = sorted(o for o in ledger.rglob(f"*{path.suffix}") if o != path)
    other = rng.choice(others)
    data = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)


WAYS: dict[str, Callable[[Path, random.Random], None]] = {"truncated": truncate, "flipped": flip, "swapped": swap}
PLACES = {
    "document shard": "corpora/*/part-*.parquet",
    "score table": "scores/*/*/part-*.parquet",
    "selection": "selections/*/*/part-*.parquet",
    "ledger": "ledger/**/*.parquet",
    "stage record": "*/**/stage.json",
    "trained model": "models/*/model.bin",
}


def damaged(place: str, way: str) -> Trial:
    """Damage a file of a kind in a way."""

    def trial(lab: Lab, folder: Path, rng: random.Random) -> tuple[str, str, str]:
        workspace = folder / "workspace"
        shutil.copytree(lab.pristine, workspace)
        if place in ("document shard", "trained model"):
            half_done(workspace, rng)
        chosen = rng.choice(sorted(workspace.glob(PLACES[place])))
        WAYS[way](chosen, rng)
        outcome, said = settle(lab, workspace)
        return str(chosen.relative_to(workspace)), outcome, said

    return trial


KINDS: dict[str, Trial] = {
    f"{place} {way}": damaged(place, way)
    for place in PLACES
    for way in WAYS
    if (place, way) not in (("trained model", "swapped"), ("stage record", "swapped"))
}
