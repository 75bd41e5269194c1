"""A campaign of faults: each is done to a run or to a copy of its workspace, the run is resumed, and what came of it is
written down (tests.faults.outcomes says how it is judged).

    python -m tests.faults.campaign --each 20 --fill          # make faults
    python -m tests.faults.campaign --only "model" --each 3

A fault is its kind and its seed. Results are kept in --results, line by line: a campaign that was stopped goes on.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import files, given, hung, machines, outcomes, stores
from tests.faults.lab import Lab, lab
from tests.faults.outcomes import LOST, Result
from tests.faults.recover import Trial

KINDS: dict[str, Trial] = {**files.KINDS, **given.KINDS, **machines.KINDS, **hung.KINDS, **stores.KINDS}
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
RESULTS = Path(__file__).parent / ".results" / "campaign.jsonl"


def trial(lab: Lab, kind: str, seed: int, folder: Path) -> Result:
    """One fault, in a folder of its own."""
    begun = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    what, outcome, said = KINDS[kind](lab, folder, random.Random(f"{kind} {seed}"))
    return Result(kind, seed, what, outcome, said[:2000], round(time.monotonic() - begun, 1))


def campaign(kinds: list[str], seeds: range, results: Path, seconds: float) -> list[Result]:
    """Do what is not done yet, the kinds in turn; the results of these kinds and seeds."""
    begun = time.monotonic()
    done = {(result.kind, result.seed) for result in outcomes.read(results)}
    todo = [(kind, seed) for seed in seeds for kind in kinds if (kind, seed) not in done]
    if todo:
        with tempfile.TemporaryDirectory(prefix="tamis-faults-") as name, lab(Path(name)) as one:
            for number, (kind, seed) in enumerate(todo, 1):
                if time.monotonic() - begun > seconds:
                    print(f"out of time: {len(todo) - number + 1} faults are left", file=sys.stderr)
                    break
                result = trial(one, kind, seed, Path(name) / "trial")
                outcomes.add(results, result)
                print(f"[{number}/{len(todo)}] {kind} {seed}: {result.outcome} ({result.what})", file=sys.stderr)
                if result.outcome == LOST:
                    print(f"LOST: {result}", file=sys.stderr, flush=True)
    return [r for r in outcomes.read(results) if r.kind in kinds and r.seed in seeds]


def main(given: list[str] | None = None) -> int:
    """Exit code 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=20, help="faults of each kind")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default="", help="only kinds with one of these in their names, separated by commas")
    parser.add_argument("--seconds", type=float, default=7200, help="start no further fault after so long")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--fill", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args(given)
    kinds = [kind for kind in KINDS if any(word in kind for word in arguments.only.split(","))]
    seeds = range(arguments.seed, arguments.seed + arguments.each)
    found = campaign(kinds, seeds, arguments.results, arguments.seconds)
    text = outcomes.table(found, KINDS)
    print(text)
    if arguments.fill:
        outcomes.fill(PAGE, text)
    return int(any(result.outcome == LOST for result in found))


if __name__ == "__main__":
    sys.exit(main())
