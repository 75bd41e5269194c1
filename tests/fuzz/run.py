"""`make fuzz`: every target in turn under coverage-guided fuzzing, for a bounded time each.

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
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
FOUND = Path(__file__).parent / "found"
MOST = 5
"""Findings of one target after which it is left: they are likely one and the same."""
KINDS = {"crash": "exception or crash", "timeout": "hang", "oom": "memory", "slow": "slow"}


def fuzz(name: str, minutes: float, seconds: int, memory: int, work: Path) -> dict[str, Any]:
    """Fuzz one target; what came of it."""
    corpus, artifacts = work / name / "corpus", work / name / "artifacts"
    for place in (corpus, artifacts):
        place.mkdir(parents=True)
    for number, seed in enumerate(TARGETS[name].seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    for path in (FOUND / name).glob("*"):
        shutil.copy(path, corpus)
    flags = [
        f"-rss_limit_mb={memory}",
        f"-timeout={seconds}",
        f"-artifact_prefix={artifacts}/",
        "-max_len=65536",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    if TARGETS[name].words:
        words = "".join(f'"{_escaped(word)}"\n' for word in TARGETS[name].words)
        (work / name / "words").write_text(words)
        flags.append(f"-dict={work / name / 'words'}")
    executed, findings, features = 0, [], 0
    end = time.monotonic() + 60 * minutes
    while (left := end - time.monotonic()) > 1 and len(findings) < MOST:
        command = [sys.executable, "-m", "tests.fuzz.one", name, *flags, f"-max_total_time={int(left)}", str(corpus)]
        done = subprocess.run(
            command, capture_output=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
        )
        told = done.stderr.decode("utf-8", "replace") + done.stdout.decode("utf-8", "replace")
        executed += int((re.findall(r"stat::number_of_executed_units:\s*(\d+)", told) or ["0"])[-1])
        features = max([features, *map(int, re.findall(r"cov: (\d+)", told))])
        if done.returncode == 0:
            break
        for path in artifacts.glob("timeout-*"):
            if not _hangs([*command[:4], "-timeout=0", "-runs=1", str(path)], seconds):
                path.unlink()
        if not any(artifacts.iterdir()) and "libFuzzer: timeout" in told:
            continue
        findings.append(_kept(name, artifacts, told))
        print(f"{name}: {findings[-1]['kind']}: {findings[-1]['error'][:300]}", flush=True)
    return {"executions": executed, "coverage": features, "seconds": round(60 * minutes), "findings": findings}


def _hangs(command: list[str], seconds: int) -> bool:
    try:
        subprocess.run(command, capture_output=True, cwd=ROOT, timeout=10 + seconds, check=False)
    except subprocess.TimeoutExpired:
        return True
    return False


def _kept(name: str, artifacts: Path, told: str) -> dict[str, str]:
    """Keep the input of a finding where the tests find it."""
    errors = re.findall(
        r"^((?:[\w.]+(?:Error|Exception|Finding|Exit|Interrupt|Panic\w*)|==\d+== ERROR)\b.*)$", told, re.MULTILINE
    )
    error = errors[0] if errors else told[-500:]
    for path in sorted(artifacts.iterdir()):
        kind = path.name.partition("-")[0]
        data = path.read_bytes()
        path.unlink()
        if kind in KINDS:
            place = FOUND / name / f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            return {"kind": KINDS[kind], "error": error, "input": place.name}
    return {"kind": KINDS["crash"], "error": error, "input": ""}


def _escaped(word: bytes) -> str:
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in word)


def main() -> None:
    """Fuzz the targets that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--minutes", type=float, default=2.0, help="for each target [2]")
    parser.add_argument("--seconds", type=int, default=30, help="of one input, before it counts as a hang [30]")
    parser.add_argument("--memory", type=int, default=2048, help="megabytes of the process [2048]")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.json"))
    chosen = parser.parse_args()
    results: dict[str, Any] = json.loads(chosen.out.read_text()) if chosen.out.exists() else {}
    for name in chosen.targets or TARGETS:
        with tempfile.TemporaryDirectory(prefix="tamis-fuzz-") as work:
            results[name] = fuzz(name, chosen.minutes, chosen.seconds, chosen.memory, Path(work))
        one = results[name]
        print(f"{name}: {one['executions']:,} executions, {len(one['findings'])} findings", flush=True)
        chosen.out.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
    sys.exit(any(results[name]["findings"] for name in chosen.targets or TARGETS))


if __name__ == "__main__":
    main()
