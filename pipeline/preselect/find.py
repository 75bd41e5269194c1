"""Which strengths or classifier a command means, by name: the newest of that name.

sample, folder, record = find_strength(workspace, "web", "strength")
"""

from __future__ import annotations

from typing import Any

from pipeline.errors import UserError
from pipeline.preselect.sample import Sample
from pipeline.stage import saved
from pipeline.workspace import Workspace


def find_strength(workspace: Workspace, corpus: str, name: str = "strength") -> tuple[Sample, str, dict[str, Any]]:
    """The newest strengths of a name on a corpus, with their sample. Raises UserError."""
    found = {f: r for f, r in workspace.stages(f"strengths/{corpus}").items() if r["name"] == name}
    if not found:
        raise UserError(f"corpus {corpus!r} has no strengths {name!r}; `tamis preselect strength` makes them")
    folder, record = list(found.items())[-1]
    return sample_of(workspace, record), folder, record


def find_classifier(workspace: Workspace, name: str) -> tuple[Sample, str, dict[str, Any]]:
    """The newest classifier of a name that was trained from strengths, with its sample. Raises UserError."""
    stages = workspace.stages("models")
    found = {f: r for f, r in stages.items() if r["name"] == name and r["kind"] == "preselect-train"}
    if not found:
        raise UserError(f"no classifier {name!r} trained from strengths; `tamis preselect train --strength` makes one")
    folder, record = list(found.items())[-1]
    return sample_of(workspace, record), folder, record


def sample_of(workspace: Workspace, record: dict[str, Any]) -> Sample:
    """The sample that a stage's record names."""
    folder = record["info"]["sample"]
    own = saved(workspace.store, folder)
    if own is None:
        raise UserError(f"the sample {folder} is gone; make it again with `tamis preselect losses`")
    return Sample(workspace, record["info"]["corpus"], folder, own)
