"""A cluster over TLS: real certificates, real processes; who has no certificate of the same authority stays outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import main
from pipeline.workspace import Workspace
from tests.docs.pages import ROOT, pages
from tests.end_to_end.conftest import free_port
from tests.workspaces import small

TLS = "DASK_DISTRIBUTED__COMM__TLS__"


def certificates(folder: Path) -> None:
    """The authority, and a certificate with its key, by the commands that docs/cluster.md shows."""
    (page,) = [page for page in pages() if page.name == "docs/cluster.md"]
    (fence,) = [fence for fence in page.fences if "openssl" in fence.code]
    subprocess.run(["bash", "-euc", fence.code], cwd=folder, capture_output=True, check=True)


def variables(folder: Path) -> dict[str, str]:
    """What the page tells a user to set."""
    named = {"CA_FILE": "ca.pem", **{f"{who}__CERT": "node.pem" for who in ("SCHEDULER", "WORKER", "CLIENT")}}
    named |= {f"{who}__KEY": "node.key" for who in ("SCHEDULER", "WORKER", "CLIENT")}
    return {f"{TLS}{name}": str(folder / file) for name, file in named.items()} | {
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a scheduler with one worker that speak TLS alone, and a user's variables."""
    folder = tmp_path_factory.mktemp("tls")
    certificates(folder)
    own = variables(folder)
    environment = os.environ | own | {"PYTHONPATH": str(ROOT)}
    port = free_port()
    address = f"tls://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "dask"]
    log = (folder / "log").open("w")
    common = {"stdout": log, "stderr": log, "cwd": folder, "env": environment}
    scheduler = [*dask, "scheduler", "--host", "tls://127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker = [*dask, "worker", address, "--nworkers", "1", "--nthreads", "1", "--no-dashboard"]
    processes = [subprocess.Popen(words, **common) for words in (scheduler, worker)]  # type: ignore[call-overload]
    yield address, own
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()
    log.close()


def score(workspace: Workspace, address: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli.main", "score", "repetition", "--corpus", "web"]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DASK_")}
    return subprocess.run(
        [*command, "-w", workspace.url, "--scheduler", address],
        env=inherited | environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_a_run_over_tls_is_done_and_nobody_else_gets_in(cluster: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    address, own = cluster
    workspace = small(f"{tmp_path}/w")
    done = score(workspace, address, own)
    assert done.returncode == 0, done.stderr
    assert f"of {address}" in done.stderr
    (folder,) = [f for f in workspace.stages("scores/web") if "repetition" in f]
    assert all(row.done for row in workspace.rows(folder).values())
    # Another authority's certificates are as good as none.
    other = tmp_path / "other"
    other.mkdir()
    certificates(other)
    begun = time.monotonic()
    unscored = small(f"{tmp_path}/unscored")
    foreign = score(unscored, address, variables(other) | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"})
    assert foreign.returncode == 2, foreign.stderr
    assert time.monotonic() - begun < 60
    plain = score(unscored, address.replace("tls", "tcp"), {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"})
    assert plain.returncode == 2, plain.stderr


def test_tls_without_certificates_says_which_variable_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.main.signal.signal", lambda *_: None)
    words = [
        "score",
        "repetition",
        "--corpus",
        "web",
        "--scheduler",
        "tls://127.0.0.1:9",
        "-w",
        small(f"{tmp_path}/w").url,
    ]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert f"set {TLS}CA_FILE to its file" in capsys.readouterr().err
