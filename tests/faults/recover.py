"""After a fault: resume, mend what one clear line asks for, and compare."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.lock import held
from pipeline.verify import forget, verify
from pipeline.workspace import Workspace
from tests.end_to_end.conftest import outputs
from tests.faults.lab import BUG, Lab
from tests.faults.outcomes import LOST, MENDED, OTHER, SAME

Trial = Callable[..., "tuple[str, str, str]"]
"""Takes (lab, folder to work in, random.Random): (what was done, outcome, what was said)."""
STEPS = 5
"""Runs until it must be mended: a damaged file may hide another."""


def settle(lab: Lab, workspace: Path, config: Path | None = None) -> tuple[str, str]:
    """Resume until the outputs are those of an undisturbed run: (outcome, what was said first)."""
    said = ""
    for step in range(STEPS):
        error = lab.attempt(config or lab.given / "run.yaml", workspace)
        if error is not None and error.startswith(BUG):
            return LOST, error
        if error is None and outputs(workspace) == lab.expected:
            return (MENDED if step else SAME), said
        if error is None:
            place = Workspace(str(workspace))
            found = verify(place)
            error = "; ".join(f"{fault.file}: {fault.wrong}" for fault in found)
            with held(place.store):
                forget(place, found)
            if not found:
                return LOST, said or "other bytes, and nothing was said"
            said = said or error
            continue
        said = said or error
        if not mended(error, workspace):
            return LOST, error
    return LOST, said


def resumed(lab: Lab, workspace: Path, what: str) -> tuple[str, str, str]:
    """After a fault of a machine: nothing half-written may be visible, and the same command ends well."""
    if damaged := lab.whole(workspace):
        return what, LOST, f"half-visible: {damaged}"
    outcome, said = settle(lab, workspace)
    return what, outcome, said


def put_back(
    lab: Lab, workspace: Path, config: Path, first: str | None, names: tuple[str, ...], restore: Callable[[], object]
) -> tuple[str, str]:
    """After a run with inputs of the user that were damaged (`first`: what it said): put them back and compare.

    names: what an error may call the damaged thing by.
    """
    if first is not None and (first.startswith(BUG) or not any(name in first for name in names)):
        return LOST, first
    if damaged := lab.whole(workspace):
        return LOST, f"half-visible: {damaged}"
    same = first is None and outputs(workspace) == lab.expected
    restore()
    said = first or ""
    for _ in range(STEPS):
        error = lab.attempt(config, workspace)
        if error is None:
            if not lab.made(workspace):
                return LOST, said or "other bytes, and nothing was said"
            return (SAME if same else MENDED if said else OTHER), said
        said = said or error
        if error.startswith(BUG) or not mended(error, workspace):
            return LOST, error
    return LOST, said


def mended(error: str, workspace: Path) -> bool:
    """Do what a message asks for: remove the files and folders of the workspace that it names. Whether it named any."""
    words = {word.strip(":;,()'\"") for word in error.split()}
    names = {Path(word) for word in words if str(workspace) in word and Path(word) != workspace}
    for path in names:
        if path.name == "stage.json":
            shutil.rmtree(path.parent, ignore_errors=True)
            shutil.rmtree(workspace / "ledger" / path.parent.relative_to(workspace), ignore_errors=True)
        elif path.is_dir() and "remove" in error:
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
    return bool(names)
