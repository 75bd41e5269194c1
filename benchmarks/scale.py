"""What grows with shards and tasks, measured: `make scale`. The model in docs/scale.md is computed from its result.

    python -m benchmarks.scale                     # all parts; results in benchmarks/results/scale.json
    python -m benchmarks.scale tasks ledger        # some of them; the others stay as they are
    python -m benchmarks.scale --fill              # docs/scale.md from the result

Each part (benchmarks.scale_parts) is a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from benchmarks.common import RESULTS, ROOT, commit, keep, machine, now, say

RESULT = RESULTS / "scale.json"
PARTS: dict[str, list[str]] = {
    "tasks": ["tasks"],
    "ledger": ["ledger"],
    "workspace-100": ["workspace", "100"],
    "workspace-1000": ["workspace", "1000"],
    "workspace-10000": ["workspace", "10000"],
    "throughput": ["throughput"],
}


def measured(name: str) -> dict[str, Any]:
    """One part. Raises RuntimeError if it fails; its words are on stderr by then."""
    begun = now()
    command = [sys.executable, "-m", "benchmarks.scale_parts", *PARTS[name]]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} ended with exit code {done.returncode}")
    values = json.loads(done.stdout.splitlines()[-1])
    return {"begun": begun, "ended": now(), "commit": commit(), **values}


def main() -> None:
    """Measure what the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--fill", action="store_true", help="measure nothing; write docs/scale.md from the result")
    chosen = parser.parse_args()
    known: dict[str, Any] = json.loads(RESULT.read_text())["parts"] if RESULT.exists() else {}
    if not chosen.fill:
        for name in chosen.parts or PARTS:
            say(f"scale: {name}")
            known[name] = measured(name)
            say(f"scale: {name}: {json.dumps({k: v for k, v in known[name].items() if k not in ('begun', 'ended')})}")
            keep(RESULT, "scale", known[name]["begun"], {"machine": machine(), "parts": known})
    from benchmarks.scale_model import fill

    fill(known)


if __name__ == "__main__":
    main()
