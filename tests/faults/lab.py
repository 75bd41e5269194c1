"""What a campaign works with: inputs, the workspace that an undisturbed run makes of them, and warm workers.

with lab(folder) as one:
    one.attempt(one.given / "run.yaml", workspace)     # None, or what the run said of why it could not
"""

from __future__ import annotations

import contextlib
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from pipeline.config import load
from pipeline.errors import ShardsFailed, TamisError, UserError
from pipeline.execute import Compute, Pool
from pipeline.lock import held
from pipeline.run import run
from pipeline.verify import verify
from pipeline.workspace import Workspace
from tests.end_to_end.conftest import DEMO, outputs

CONFIG = """
corpora:
  manuals:
    sources: [data/manuals.jsonl.zst, data/faulty.jsonl]
    id: id
    shard_mb: 0.12
    held_out: 0.05
classifiers:
  quality: {rows: data/labelled.jsonl.zst, dim: 4, bucket: 1000, epoch: 1}
scores:
  - {scorer: lengths, tokenizer: data/tokenizer.json}
  - {scorer: preselect, model: quality}
  - {scorer: preselect, alias: bought, model: data/model.bin}
selections:
  best: {by: preselect_score, budget: 30% tokens, where: bought_score >= 0}
exports:
  best: {selection: best, format: hf, shard_mb: 0.1}
"""
OTHER = "corpora: {manuals: {sources: [data/faulty.jsonl], id: id}}\nscores: [lengths]\n"
"""Another config: what one may be swapped with."""
ROWS = 70
"""Documents of the compressed input: a fault is to cost a second or two."""
DATA = {
    "faulty.jsonl": "faulty.jsonl",
    "labelled.jsonl.zst": "labelled.jsonl.zst",
    "tokenizer.json": "tokenizer.json",
}
LONGEST = 6.0
"""Seconds of an undisturbed run at most: a neighbour on the machine must not move all faults behind its end."""
BUG = "BUG"
"""How an attempt begins that ended with a traceback."""


@dataclass
class Lab:
    """Inputs in `given` (run.yaml and data/), never damaged themselves; `pristine`, the workspace made of them."""

    given: Path
    pristine: Path
    pool: Pool
    expected: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """of an undisturbed run on warm workers"""
    others: dict[str, object] = field(default_factory=dict)
    """what some kinds of faults need and make once: by name"""
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def once(self, name: str, make: Callable[[], contextlib.AbstractContextManager[object]]) -> object:
        """Something that is made when the first fault needs it and kept to the end."""
        if name not in self.others:
            self.others[name] = self.stack.enter_context(make())
        return self.others[name]

    def begun(self, folder: Path) -> Path:
        """A workspace with nothing in it but the trained classifier."""
        workspace = folder / "workspace"
        for name in ("models", "ledger/models"):
            shutil.copytree(self.pristine / name, workspace / name)
        return workspace

    def attempt(self, config: Path, workspace: object, pool: Pool | None = None) -> str | None:
        """Run the config; None, or what it said of why it could not. What starts with BUG is a traceback."""
        try:
            place = Workspace(str(workspace))
            with held(place.store):
                run(load(str(config)), place, pool or self.pool)
        except ShardsFailed as failed:
            return " ".join(f"{shard}: {error}" for shard, error in failed.failed.items())
        except (ValueError, OSError, TamisError) as error:
            return str(error)
        except Exception:
            return f"{BUG}: {traceback.format_exc()}"
        return None

    def whole(self, workspace: Path) -> str:
        """What is visible and not what was written, as one line; '' if nothing is."""
        try:
            found = verify(Workspace(str(workspace)))
        except UserError:
            return ""  # nothing was made yet
        return "; ".join(f"{fault.file}: {fault.wrong}" for fault in found)

    def made(self, workspace: Path) -> bool:
        """Whether everything that an undisturbed run makes is there, byte for byte."""
        found = outputs(workspace)
        return all(found.get(name) == digest for name, digest in self.expected.items())


@contextlib.contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """Make the inputs, run them undisturbed twice (the second time for how long it takes)."""
    given, pristine = folder / "given", folder / "pristine"
    (given / "data").mkdir(parents=True)
    for name, source in DATA.items():
        shutil.copy2(DEMO / "data" / source, given / "data" / name)
    with zstandard.open(DEMO / "data/postgresql-docs.jsonl.zst", "rb") as whole:
        rows = whole.read().splitlines(keepends=True)[:ROWS]
    (given / "data/manuals.jsonl.zst").write_bytes(zstandard.compress(b"".join(rows)))
    (given / "run.yaml").write_text(CONFIG)
    (given / "other.yaml").write_text(OTHER)
    first = given / "first.yaml"
    first.write_text(CONFIG.split("scores:")[0].replace("epoch: 1", "epoch: 2"))
    with Pool(Compute(workers=2), Workspace(str(pristine))) as pool:
        one = Lab(given, pristine, pool)
        with one.stack:
            error = one.attempt(first, folder / "first")
            assert error is None, error
            shutil.copy2(next((folder / "first/models").glob("*/model.bin")), given / "data/model.bin")
            error = one.attempt(given / "run.yaml", pristine)
            assert error is None, error
            begun = time.monotonic()
            error = one.attempt(given / "run.yaml", one.begun(folder / "second"))
            assert error is None, error
            one.seconds = min(time.monotonic() - begun, LONGEST)
            one.expected = outputs(pristine)
            assert outputs(folder / "second/workspace") == one.expected, "two undisturbed runs differ"
            yield one
