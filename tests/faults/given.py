"""Faults of what the user gives: config, models and inputs, damaged before a run or changed under it.

A config that was cut short at the end of a line, or a model with another weight, is valid: it makes outputs under
names of their own, and what was made before is untouched. Everything else is one clear line that names the file.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.files import flip, half_done, truncate
from tests.faults.lab import Lab
from tests.faults.recover import Trial, put_back

Change = Callable[[Path, random.Random], None]


def swap(path: Path, rng: random.Random) -> None:
    """Another file of the same or of another kind in its place."""
    others = [path.parent / "data/tokenizer.json", path.parent / "other.yaml"] if path.suffix == ".yaml" else []
    others = others or [o for o in sorted(path.parent.iterdir()) if o != path]
    shutil.copyfile(rng.choice(others), path)


def half_write(path: Path, rng: random.Random) -> None:
    """As it is while something writes it anew in place: a start of it, then what a block of a disk may hold."""
    data = path.read_bytes()
    kept = rng.randrange(len(data))
    path.write_bytes(data[:kept] + bytes(len(data) - kept))


def grow(path: Path, rng: random.Random) -> None:
    """More lines, as of a log that is still written."""
    data = path.read_bytes()
    with path.open("ab") as file:
        file.write(data[: rng.randrange(1, len(data))])


def rewrite(path: Path, rng: random.Random) -> None:
    """Another content of the same length, in place."""
    data = bytearray(path.read_bytes())
    start = rng.randrange(len(data))
    for at in range(start, min(start + 2000, len(data))):
        data[at] ^= rng.randrange(1, 16)
    with path.open("r+b") as file:
        file.write(data)


def replace(path: Path, rng: random.Random) -> None:
    """Another file renamed over it."""
    other = path.with_name(f".{path.name}.new")
    shutil.copyfile(path, other)
    truncate(other, rng)
    other.replace(path)


def vanish(path: Path, rng: random.Random) -> None:
    """Gone."""
    path.unlink()


FILES = {
    "config": ("run.yaml",),
    "model": ("data/model.bin", "data/tokenizer.json"),
    "input": ("data/manuals.jsonl.zst", "data/faulty.jsonl"),
}
NAMES = {
    "config": ("run.yaml", "made of something else"),
    "model": ("model", "tokenizer"),
    "input": ("manuals.jsonl.zst", "faulty.jsonl", "made of something else"),
}
"""How a clear line names what is wrong. A corpus made of other input says which files changed."""
AT_REST: dict[str, Change] = {"truncated": truncate, "flipped": flip, "swapped": swap, "half-written": half_write}
UNDER: dict[str, Change] = {
    "grown": grow,
    "truncated": truncate,
}
UNDER["rewritten"] = lambda path, rng: rng.choice((rewrite, replace, vanish))(path, rng)


def damaged(place: str) -> Trial:
    """A file damaged before a run, in one of the ways."""

    def trial(lab: Lab, folder: Path, rng: random.Random) -> tuple[str, str, str]:
        given, workspace = _copies(lab, folder, rng)
        file = given / rng.choice(FILES[place])
        way = rng.choice(sorted(AT_REST))
        AT_REST[way](file, rng)
        first = lab.attempt(given / "run.yaml", workspace)
        outcome, said = put_back(lab, workspace, given / "run.yaml", first, NAMES[place], lambda: _restore(lab, given))
        return f"{file.name} {way}", outcome, said

    return trial


def changed(place: str, way: str) -> Trial:
    """A file changed at some moment of a run from the start."""

    def trial(lab: Lab, folder: Path, rng: random.Random) -> tuple[str, str, str]:
        given, workspace = _copies(lab, folder, None)
        file = given / rng.choice(FILES[place])
        after = rng.uniform(0, lab.seconds)
        # Ingest is a small part of a run: half of the changes come in its time.
        after = after if place != "input" or rng.random() < 0.3 else after / 5
        timer = threading.Timer(after, UNDER[way], (file, rng))
        timer.start()
        first = lab.attempt(given / "run.yaml", workspace)
        timer.join()
        outcome, said = put_back(lab, workspace, given / "run.yaml", first, NAMES[place], lambda: _restore(lab, given))
        return f"{file.name} after {after:.2f} s", outcome, said

    return trial


def _copies(lab: Lab, folder: Path, rng: random.Random | None) -> tuple[Path, Path]:
    """Inputs, and a workspace: that of a run that is done or half done, or none yet."""
    given, workspace = folder / "given", folder / "workspace"
    shutil.rmtree(given, ignore_errors=True)
    shutil.copytree(lab.given, given)
    if rng is None:
        lab.begun(folder)
    else:
        shutil.copytree(lab.pristine, workspace)
        half_done(workspace, rng)
    return given, workspace


def _restore(lab: Lab, given: Path) -> None:
    time.sleep(0.01)
    for file in sorted(p for p in lab.given.rglob("*") if p.is_file()):
        shutil.copy2(file, given / file.relative_to(lab.given))


KINDS: dict[str, Trial] = {
    **{f"{place} damaged": damaged(place) for place in FILES},
    **{f"input {way} under the run": changed("input", way) for way in UNDER},
    "model changed under the run": changed("model", "rewritten"),
}
