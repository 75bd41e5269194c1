"""A cluster that exists, and workspaces that are not on this disk, give the bytes of a local run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.storage import Store
from tests.end_to_end.conftest import Tamis, free_port, outputs


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """`dask scheduler` and two `dask worker` processes on loopback."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    processes = [
        subprocess.Popen(
            [*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--dashboard-address", ":0"], **quiet
        )
    ]
    worker = [*dask, "worker", address, "--nworkers", "1", "--nthreads", "1", "--dashboard-address", ":0"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    processes += [subprocess.Popen(worker, env=environment, **quiet) for _ in range(2)]
    from distributed import Client

    deadline = time.monotonic() + 60
    with Client(address, timeout="60s", set_as_default=False) as client:
        while len(client.scheduler_info()["workers"]) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
    yield address
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()


def test_a_cluster_that_exists_gives_the_bytes_of_a_local_run(
    tamis: Tamis, config: Path, undisturbed: Path, scheduler: str, tmp_path: Path
) -> None:
    done = tamis("run", config, "-w", tmp_path / "w", "--scheduler", scheduler)
    assert done.returncode == 0, done.stderr
    assert outputs(tmp_path / "w") == outputs(undisturbed)


def test_one_worker_gives_the_bytes_of_two(tamis: Tamis, config: Path, undisturbed: Path, tmp_path: Path) -> None:
    done = tamis("run", config, "-w", tmp_path / "w", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert outputs(tmp_path / "w") == outputs(undisturbed)


def test_a_workspace_on_s3_gives_the_bytes_of_a_local_one_and_shows_no_secret(
    tamis: Tamis, config: Path, undisturbed: Path, s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = tamis("run", config, "-w", "s3://tamis/w", "--workers", 2, **s3)
    assert done.returncode == 0, done.stderr
    counted = tamis("sql", "SELECT count(*) AS n FROM scored", "-w", "s3://tamis/w", "--format", "csv", **s3)
    local = tamis("sql", "SELECT count(*) AS n FROM scored", "-w", undisturbed, "--format", "csv")
    assert counted.stdout == local.stdout != "", counted.stderr
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    store = Store("s3://tamis/w")
    store.fs.invalidate_cache()
    store.fs.get("tamis/w", f"{tmp_path}/w", recursive=True)
    assert outputs(tmp_path / "w") == outputs(undisturbed)
    for file in (tmp_path / "w").rglob("*"):
        if file.is_file():
            assert s3["AWS_SECRET_ACCESS_KEY"].encode() not in file.read_bytes(), file
