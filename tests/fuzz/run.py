"""`make fuzz`: every target in turn under coverage-guided fuzzing, for a bounded time of the processor each.

    python -m tests.fuzz.run --minutes 5                # all of them
    python -m tests.fuzz.run csv config --minutes 30

A finding is an exception that is no refusal, a crash, a hang (an input that takes longer than --seconds) or memory
beyond --memory. Its input is kept in tests/fuzz/found/TARGET, where the fast tests try it again from then on; fuzzing
of the target goes on. A hang counts only if the input takes as long once more: a process may have been stopped. What
came of it is written to --out as JSON (executions, findings by kind), which tests/fuzz/report.py puts into the docs.
Exit code 1 if there was a finding.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.fuzz.one import fuzzed, load
from tests.fuzz.target import Target

FOUND = Path(__file__).parent / "found"
MOST = 5
"""Findings of one target after which it is left: they are likely one and the same."""
KINDS = {"crash": "exception or crash", "timeout": "hang", "oom": "memory"}
ERROR = re.compile(r"^((?:[\w.]*(?:Error|Exception|Finding|Interrupt|Panic\w*)|==\d+== ERROR)\b.*)$", re.MULTILINE)


def fuzz(target: Target, minutes: float, seconds: int, memory: int, work: Path) -> dict[str, Any]:
    """Fuzz one target; what came of it."""
    corpus, artifacts, log = work / "corpus", work / "artifacts", work / "log"
    for place in (corpus, artifacts):
        place.mkdir(parents=True)
    for path in (FOUND / target.name).glob("*"):
        shutil.copy(path, corpus)
    flags = [f"-rss_limit_mb={memory}", f"-timeout={seconds}", f"-artifact_prefix={artifacts}/", "-max_len=65536"]
    if target.words:
        (work / "words").write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        flags.append(f"-dict={work / 'words'}")
    executed, findings, coverage = 0, [], 0
    left = 60 * minutes
    while left > 1 and len(findings) < MOST:
        log.write_bytes(b"")
        status, used = fuzzed(target, left, [*flags, "-print_final_stats=1", str(corpus)], log)
        left -= used
        told = log.read_text("utf-8", "replace")
        executed += int((re.findall(r"stat::number_of_executed_units:\s*(\d+)", told) or ["0"])[-1])
        coverage = max([coverage, *map(int, re.findall(r"cov: (\d+)", told))])
        if status == 0:
            break
        for path in artifacts.glob("timeout-*"):
            again = fuzzed(target, seconds, ["-timeout=0", "-runs=1", str(path)], work / "again", 2 * seconds)[0]
            if os.waitstatus_to_exitcode(again) not in (-signal.SIGXCPU, -signal.SIGKILL):
                path.unlink()
        if "libFuzzer: timeout" in told and not any(artifacts.iterdir()):
            continue
        findings.append(_kept(target.name, artifacts, told))
        print(f"{target.name}: {findings[-1]['kind']}: {findings[-1]['error'][:300]}", flush=True)
    return {
        "by": "atheris",
        "executions": executed,
        "coverage": coverage,
        "seconds": round(60 * minutes),
        "findings": findings,
    }


def _kept(name: str, artifacts: Path, told: str) -> dict[str, str]:
    """Keep the input of a finding where the tests find it."""
    errors = ERROR.findall(told)
    found = {"kind": KINDS["crash"], "error": errors[0] if errors else told[-500:], "input": ""}
    for path in sorted(artifacts.iterdir()):
        kind = path.name.partition("-")[0]
        data = path.read_bytes()
        path.unlink()
        if kind in KINDS:
            place = FOUND / name / f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            found |= {"kind": KINDS[kind], "input": place.name}
    return found


def _escaped(word: bytes) -> str:
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in word)


def main() -> None:
    """Fuzz the targets that the command line names, or all."""
    targets = load()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(targets))
    parser.add_argument("--minutes", type=float, default=2.0, help="of the processor, for each target [2]")
    parser.add_argument("--seconds", type=int, default=60, help="of one input, before it counts as a hang [60]")
    parser.add_argument("--memory", type=int, default=2048, help="megabytes of the process [2048]")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.json"))
    chosen = parser.parse_args()
    results: dict[str, Any] = json.loads(chosen.out.read_text()) if chosen.out.exists() else {}
    names = chosen.targets or list(targets)
    for name in names:
        with tempfile.TemporaryDirectory(prefix="tamis-fuzz-") as work:
            results[name] = fuzz(targets[name], chosen.minutes, chosen.seconds, chosen.memory, Path(work))
        one = results[name]
        print(f"{name}: {one['executions']:,} executions, {len(one['findings'])} findings", flush=True)
        chosen.out.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
    sys.exit(any(results[name]["findings"] for name in names))


if __name__ == "__main__":
    main()
