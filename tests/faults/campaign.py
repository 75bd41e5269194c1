"""A campaign of faults: each is done to a copy of a workspace, the run is resumed, and what came of it is written down.

    python -m tests.faults.campaign --each 20 --seed 0        # make faults
    python -m tests.faults.campaign --only "model" --each 3

Outcomes, the first that holds:

    same bytes      the run resumed by itself to the outputs of an undisturbed run, byte for byte
    error, mended   the run (or `tamis verify`) named the damaged file in one line; with the file removed, or with
                    `tamis verify --mend`, the next run gives the same bytes
    LOST            anything else: other bytes, an error that names no file, a traceback
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import load
from pipeline.errors import ShardsFailed
from pipeline.execute import Compute, Pool
from pipeline.lock import held
from pipeline.run import run
from pipeline.verify import forget, verify
from pipeline.workspace import Workspace
from tests.end_to_end.conftest import CONFIG, outputs
from tests.faults import files, machines

SAME, MENDED, LOST = "same bytes", "error, mended", "LOST"


@dataclass(frozen=True)
class Setting:
    """A config, the workspace that an undisturbed run made of it, and workers to run it with."""

    config: Path
    pristine: Path
    expected: dict[str, str]
    pool: Pool


@dataclass(frozen=True)
class Result:
    kind: str
    seed: int
    what: str
    outcome: str
    said: str


def attempt(setting: Setting, workspace: Path) -> str | None:
    """Run the config; None, or what it said of why it could not. Bugs are raised."""
    place = Workspace(str(workspace))
    try:
        with held(place.store):
            run(load(str(setting.config)), place, setting.pool)
    except ShardsFailed as failed:
        return " ".join(f"{shard}: {error}" for shard, error in failed.failed.items())
    except (ValueError, OSError) as error:
        return str(error)
    return None


def settle(setting: Setting, kind: str, seed: int, what: str, workspace: Path) -> Result:
    """Resume, mend if that was asked for in a clear line, and compare."""
    said = ""
    for step in range(4):
        error = attempt(setting, workspace)
        if error is None and outputs(workspace) == setting.expected:
            return Result(kind, seed, what, MENDED if step else SAME, said)
        if error is None:
            place = Workspace(str(workspace))
            found = verify(place)
            error = "; ".join(f"{fault.file}: {fault.wrong}" for fault in found)
            with held(place.store):
                forget(place, found)
        said = said or error
        names = {part for word in error.split() for part in [word.strip(":;,()'\"")] if str(workspace) in part}
        for name in names:
            _remove(Path(name), workspace)
        if not names and "verify" not in said and not error:
            break
    return Result(kind, seed, what, LOST, said)


def _remove(path: Path, workspace: Path) -> None:
    """What the message asks for: the file, or the folder of a record and what the ledger says of it."""
    if path.name == "stage.json":
        shutil.rmtree(path.parent, ignore_errors=True)
        shutil.rmtree(workspace / "ledger" / path.parent.relative_to(workspace), ignore_errors=True)
    elif path.is_file():
        path.unlink()


def trial(setting: Setting, kind: str, seed: int, folder: Path) -> Result:
    """One fault."""
    rng = random.Random(f"{kind} {seed}")
    workspace = folder / "workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    if kind in files.KINDS:
        shutil.copytree(setting.pristine, workspace)
        what = files.KINDS[kind](workspace, rng)
    else:
        what = machines.KINDS[kind](setting.config, workspace, rng)
    return settle(setting, kind, seed, what, workspace)


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=20, help="faults of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only kinds that contain this")
    parser.add_argument("--seconds", type=float, default=3600, help="start no further fault after so long")
    arguments = parser.parse_args(given)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tamis-faults-") as name:
        folder = Path(name)
        config = folder / "run.yaml"
        config.write_text(CONFIG)
        pristine = folder / "pristine"
        with Pool(Compute(workers=2), Workspace(str(pristine))) as pool:
            setting = Setting(config, pristine, {}, pool)
            assert attempt(setting, pristine) is None
            setting = Setting(config, pristine, outputs(pristine), pool)
            results: list[Result] = []
            kinds = [kind for kind in (*files.KINDS, *machines.KINDS) if arguments.only in kind]
            for seed in range(arguments.seed, arguments.seed + arguments.each):
                for kind in kinds:
                    if time.monotonic() - begun > arguments.seconds:
                        continue
                    result = trial(setting, kind, seed, folder)
                    results.append(result)
                    if result.outcome == LOST:
                        print(f"LOST: {result}", file=sys.stderr, flush=True)
    print(table(results))
    return int(any(result.outcome == LOST for result in results))


def table(results: list[Result]) -> str:
    """Markdown: faults by kind and outcome, with an example of what was said."""
    lines = [f"| fault | tried | {SAME} | {MENDED} | {LOST} | said, for example |", "|---|---|---|---|---|---|"]
    for kind in dict.fromkeys(result.kind for result in results):
        own = [result for result in results if result.kind == kind]
        counts = Counter(result.outcome for result in own)
        said = next((result.said for result in own if result.said), "")
        said = " ".join(said.split()).replace("|", "\\|")[:150]
        lines.append(f"| {kind} | {len(own)} | {counts[SAME]} | {counts[MENDED]} | {counts[LOST]} | {said} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
