"""Faults of files at rest: truncated, with a flipped bit, swapped with a neighbour.

An injection takes a workspace that is done or half done, damages one file, and says which.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

Injection = Callable[[Path, random.Random], str]
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
    "model": "models/*/model.bin",
}


def injection(place: str, way: str) -> Injection:
    """Damage a file of a kind in a way."""

    def inject(workspace: Path, rng: random.Random) -> str:
        if place in ("document shard", "model"):
            half_done(workspace, rng)
        chosen = rng.choice(sorted(workspace.glob(PLACES[place])))
        WAYS[way](chosen, rng)
        return str(chosen.relative_to(workspace))

    return inject


KINDS: dict[str, Injection] = {
    f"{place} {way}": injection(place, way)
    for place in PLACES
    for way in WAYS
    if (place, way) not in (("model", "swapped"), ("stage record", "swapped"))
}
