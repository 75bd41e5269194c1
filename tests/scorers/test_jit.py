"""Kernels must work wherever the package is installed and whatever lies in the cache: real processes, real files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MODULE = """
import numpy as np
from scorers.jit import kernel

@kernel
def total(values):
    result = 0
    for value in values:
        result += value
    return result
"""
PROGRAM = """
import numpy as np
import {module} as probe
assert probe.total(np.arange(10)) == 45
stats = probe.total.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), stats.cache_path)
"""


def run(folder: Path, module: str = "probe", **environment: str) -> list[str]:
    """Call the kernel in a fresh process; hits, misses and the folder of the cache."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_") and k != "XDG_CACHE_HOME"}
    variables |= {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"} | environment
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)], env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split(" ", 2)


@pytest.fixture
def install(tmp_path: Path) -> Path:
    folder = tmp_path / "install"
    folder.mkdir()
    (folder / "probe.py").write_text(MODULE)
    return folder


def cannot_cache_in_tree(folder: Path) -> None:
    """Tests may run as root, whom no permission stops: a file in the place of the folder does."""
    (folder / "__pycache__").write_text("in the way")


def test_a_second_process_takes_the_kernel_from_the_cache(install: Path) -> None:
    assert run(install)[:2] == ["0", "1"]
    assert run(install)[:2] == ["1", "0"]


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [(".nbi", "truncated"), (".nbi", "garbage"), (".nbc", "truncated"), (".nbc", "empty"), (".nbc", "one bit")],
)
def test_a_damaged_cache_is_replaced(install: Path, suffix: str, damage: str) -> None:
    run(install)
    (path,) = (install / "__pycache__").glob(f"*{suffix}")
    content = bytearray(path.read_bytes())
    if damage == "one bit":
        content[len(content) * 2 // 3] ^= 4
    else:
        content = {"truncated": content[: len(content) // 2], "empty": b"", "garbage": b"\x80\x05garbage"}[damage]
    path.write_bytes(content)
    assert run(install)[:2] == ["0", "1"]
    assert run(install)[:2] == ["1", "0"]


def test_an_install_that_cannot_be_written_caches_under_home(install: Path, tmp_path: Path) -> None:
    cannot_cache_in_tree(install)
    run(install, HOME=str(tmp_path / "home"))
    hits, _, place = run(install, HOME=str(tmp_path / "home"))
    assert hits == "1"
    assert place.startswith(str(tmp_path / "home"))


def test_without_a_home_the_cache_is_a_private_temporary_folder(install: Path, tmp_path: Path) -> None:
    cannot_cache_in_tree(install)
    (tmp_path / "tmp").mkdir()
    where = {"HOME": "/proc/nonexistent", "TMPDIR": str(tmp_path / "tmp")}
    run(install, **where)
    hits, _, place = run(install, **where)
    assert hits == "1"
    private = next((tmp_path / "tmp").glob("tamis-numba-*"))
    assert place.startswith(str(private))
    assert private.stat().st_mode & 0o077 == 0


def test_a_temporary_folder_that_others_may_write_is_not_trusted(install: Path, tmp_path: Path) -> None:
    cannot_cache_in_tree(install)
    shared = tmp_path / "tmp" / f"tamis-numba-{os.getuid()}"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    where = {"HOME": "/proc/nonexistent", "TMPDIR": str(tmp_path / "tmp")}
    run(install, **where)
    assert run(install, **where)[0] == "0"
    assert not list(shared.iterdir())


def test_a_numba_cache_folder_that_cannot_be_written_is_passed_over(install: Path) -> None:
    run(install, NUMBA_CACHE_DIR="/proc/nonexistent")
    hits, _, place = run(install, NUMBA_CACHE_DIR="/proc/nonexistent")
    assert (hits, place) == ("1", str(install / "__pycache__"))
