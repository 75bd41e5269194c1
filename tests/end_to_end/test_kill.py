"""A run that is killed at random moments and resumed gives the bytes of a run that nothing disturbed."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Tamis, command, outputs


def children(pid: int) -> list[int]:
    """Process ids below a process."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found += [int(entry), *children(int(entry))]
    return found


def kill_during(arguments: list[str], seconds: float, main: bool, rng: random.Random) -> int | None:
    """Start a run, kill its main process or one of its workers after some seconds; its exit code if it ended itself."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(seconds)
        return process.returncode
    except subprocess.TimeoutExpired:
        below = children(process.pid)
        victim = process.pid if main or not below else rng.choice(below)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        if victim == process.pid:
            process.wait()
            return None
        return process.wait(240)


def killed_and_resumed(tamis: Tamis, config: Path, workspace: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    run = command("run", config, "-w", workspace, "--workers", 2)
    for _ in range(kills):
        kill_during(run, rng.uniform(1.0, 9.0), rng.random() < 0.6, rng)
    done = tamis("run", config, "-w", workspace, "--workers", 2)
    assert done.returncode == 0, done.stderr


def test_a_run_killed_and_resumed_gives_the_same_bytes(
    tamis: Tamis, config: Path, undisturbed: Path, tmp_path: Path
) -> None:
    killed_and_resumed(tamis, config, tmp_path / "w", kills=4, seed=1)
    assert outputs(tmp_path / "w") == outputs(undisturbed)
    leftovers = [p for p in (tmp_path / "w").rglob("*") if p.name.startswith(".tmp-") or p.name == "lock.json"]
    assert leftovers == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_kills_change_nothing(tamis: Tamis, config: Path, undisturbed: Path, tmp_path: Path, seed: int) -> None:
    killed_and_resumed(tamis, config, tmp_path / "w", kills=8, seed=seed)
    assert outputs(tmp_path / "w") == outputs(undisturbed)


def test_ctrl_c_ends_the_run_with_130_and_leaves_a_workspace_that_resumes(
    tamis: Tamis, config: Path, undisturbed: Path, tmp_path: Path
) -> None:
    arguments = command("run", config, "-w", tmp_path / "w", "--workers", 2)
    # A shell that starts the tests in the background has them ignore Ctrl-C, and children would inherit that.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heed)
    deadline = time.monotonic() + 60
    while not (tmp_path / "w" / "lock.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "run the same command again" in stderr
    assert "Traceback" not in stderr
    assert not (tmp_path / "w" / "lock.json").exists()
    done = tamis("run", config, "-w", tmp_path / "w", "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert outputs(tmp_path / "w") == outputs(undisturbed)
