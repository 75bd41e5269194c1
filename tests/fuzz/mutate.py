"""Fuzzing without a fuzzer: random mutations of the seeds, for a few seconds of the processor, in this process.

    python -m tests.fuzz.mutate csv config --seconds 5

Blind to coverage, but it needs no environment of its own and starts at once. Findings and results are kept as by
tests.fuzz.run; results say which of the two they are from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

FOUND = Path(__file__).parent / "found"
RESULTS = Path(__file__).with_name("results.json")


def mutated(draw: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A seed with one to four changes."""
    content = bytearray(draw.choice(seeds))
    for _ in range(draw.randint(1, 4)):
        at, kind = draw.randint(0, len(content)), draw.randrange(5)
        if kind == 0 and at < len(content):
            content[at] ^= draw.randint(1, 255)
        elif kind == 1:
            del content[at : at + draw.randint(1, 40)]
        elif kind == 2:
            content[at:at] = draw.randbytes(draw.randint(0, 8))
        elif kind == 3 and words:
            content[at:at] = draw.choice(words)
        elif kind == 4:
            content[at:at] = content[at : at + 20] * draw.randint(1, 20)
    return bytes(content)


def tried(target: Target, seconds: float, seed: int) -> dict[str, Any]:
    """Mutate for so long; what came of it. An input that breaks a reader is kept, once a place."""
    draw, seeds = random.Random(seed), target.seeds
    findings: dict[str, dict[str, str]] = {}
    executed = 0
    end = None
    while end is None or time.process_time() < end:
        data = seeds[executed] if executed < len(seeds) else mutated(draw, seeds, target.words)
        executed += 1
        if executed > len(seeds) and end is None:
            end = time.process_time() + seconds  # from here on: what the seeds made compile is no time of the target's
        try:
            target.attempt(data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of a Rust library is no Exception
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = f"{type(error).__name__} at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
            if where not in findings:
                place = FOUND / target.name / f"crash-{hashlib.sha256(data).hexdigest()[:12]}"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
                findings[where] = {
                    "kind": "exception",
                    "error": f"{type(error).__name__}: {error}"[:300],
                    "input": place.name,
                }
    return {"by": "mutation", "executions": executed, "seconds": seconds, "findings": list(findings.values())}


def main() -> None:
    """Mutate the targets that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=5.0, help="of the processor, for each target [5]")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    names = chosen.targets or list(TARGETS)
    for name in names:
        results[name] = tried(TARGETS[name], chosen.seconds, chosen.seed)
        print(f"{name}: {results[name]['executions']:,} executions, {results[name]['findings']}", flush=True)
        RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
    sys.exit(any(results[name]["findings"] for name in names))


if __name__ == "__main__":
    main()
