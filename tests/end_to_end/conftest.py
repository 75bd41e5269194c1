"""The whole on real text, as a user calls it: commands in processes of their own, real workers, a real S3 server."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.shards import digest

DEMO = Path(__file__).parents[2] / "configs" / "demo"
Tamis = Callable[..., subprocess.CompletedProcess[str]]

CONFIG = f"""
corpora:
  manuals:
    sources: [{DEMO}/data/postgresql-docs.jsonl.zst, {DEMO}/data/faulty.jsonl]
    id: id
    shard_mb: 0.3
    held_out: 0.05
classifiers:
  quality: {{rows: {DEMO}/data/labelled.jsonl.zst, dim: 4, bucket: 1000, epoch: 1}}
scores:
  - {{scorer: lengths, tokenizer: {DEMO}/data/tokenizer.json}}
  - {{scorer: preselect, model: quality}}
  - {{scorer: repetition}}
selections:
  best: {{by: preselect_score, budget: 30% tokens, where: rep_ngram10_cover < 0.9}}
exports:
  best: {{selection: best, format: hf, shard_mb: 0.2}}
"""


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's run on half its text, cut into small shards."""
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text(CONFIG)
    return path


def command(*arguments: object) -> list[str]:
    """A command line of tamis."""
    return [sys.executable, "-m", "cli.main", *map(str, arguments)]


@pytest.fixture(scope="session")
def tamis() -> Tamis:
    """Run tamis; the result has returncode, stdout and stderr."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments), capture_output=True, text=True, timeout=280, env=os.environ | environment, check=False
        )

    return run


def outputs(workspace: Path) -> dict[str, str]:
    """{path: digest} of all data of a workspace: what has to be the same whatever happened on the way."""
    kinds = ("*.parquet", "*.bin", "*.zst")
    files = [f for kind in kinds for f in workspace.rglob(kind) if f.relative_to(workspace).parts[0] != "ledger"]
    return {str(f.relative_to(workspace)): digest(str(f)) for f in files}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tamis: Tamis, config: Path) -> Path:
    """The workspace of a run that nothing disturbed."""
    workspace = tmp_path_factory.mktemp("undisturbed")
    done = tamis("run", config, "-w", workspace, "--workers", 2)
    assert done.returncode == 0, done.stderr
    return workspace


def free_port() -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """A real S3 server on loopback (moto) with a bucket `tamis`; the environment that points to it."""
    with served() as environment:
        yield environment


@contextlib.contextmanager
def served() -> Iterator[dict[str, str]]:
    """The server of `s3`, while the block runs."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{port}"
    environment = {
        "AWS_ACCESS_KEY_ID": "AKIATESTONLYKEY",
        "AWS_SECRET_ACCESS_KEY": "a-secret-that-must-not-leak",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FSSPEC_S3_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL": endpoint,
    }
    boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    ).create_bucket(Bucket="tamis")
    try:
        yield environment
    finally:
        server.stop()
