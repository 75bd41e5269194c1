"""The command line as a user meets it: fast help, one clear line for what is wrong, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def tamis(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd, check=False)


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from cli.main import main
try:
    main(["--help"])
except SystemExit as ended:
    assert ended.code == 0
heavy = {"pyarrow", "duckdb", "numba", "numpy", "distributed", "dask", "datasets", "torch", "fasttext", "pydantic"}
loaded = heavy & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Curate and select" in done.stdout


def test_the_core_never_imports_torch_or_vllm() -> None:
    code = """
import sys
sys.modules["torch"] = sys.modules["vllm"] = sys.modules["transformers"] = None
import importlib, pkgutil, cli, pipeline, scorers
optional = ("scorers.lm",)
for package in (cli, pipeline, scorers):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith(optional):
            importlib.import_module(module.name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ingest", "nowhere.jsonl", "--corpus", "web"], "nowhere.jsonl"),
        (["ingest", "x", "--corpus", "../up"], "'../up': expected letters"),
        (["score", "lengths", "--corpus", "web"], "no corpus 'web'"),
        (["score", "lengths"], "no corpus in"),
        (["run", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["sql", "SELECT 1 FROM scored"], "no corpus"),
        (["select", "best", "--by", "x", "--budget", "10% documents"], "no corpus"),
        (["preselect", "train", "nowhere.jsonl", "-o", "m.bin"], "no file 'nowhere.jsonl'"),
    ],
)
def test_wrong_input_gets_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = tamis(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_unknown_command_or_option_is_exit_code_2(tmp_path: Path) -> None:
    assert tamis("scroe", cwd=tmp_path).returncode == 2
    assert tamis("run", "--wrokers", "2", cwd=tmp_path).returncode == 2


def test_the_version_is_printed() -> None:
    done = tamis("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("tamis 0.")
