"""Reading from a real S3 server in trouble: what passes is waited out, what stays is told with the name of the file."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipeline import models, patience
from pipeline.errors import StoreDown, UserError
from pipeline.storage import Store, open_patiently
from tests.end_to_end.conftest import served
from tests.faults.proxy import WAYS, Between, proxy
from tests.faults.stores import OPTIONS

NAME = "folder/part.bin"
BYTES = random.Random(7).randbytes(300_000)


@dataclass(frozen=True)
class Remote:
    store: Store
    between: Between


@pytest.fixture(scope="module")
def remote() -> Iterator[Remote]:
    """A bucket with one file, behind a proxy."""
    with (
        pytest.MonkeyPatch.context() as patch,
        served() as environment,
        proxy(environment["AWS_ENDPOINT_URL"]) as between,
    ):
        for name, value in (environment | {"AWS_ENDPOINT_URL": between.url}).items():
            patch.setenv(name, value)
        patch.setitem(fsspec.config.conf, "s3", OPTIONS | {"endpoint_url": between.url})
        patch.setattr(patience, "FIRST", 0.01)
        store = Store("s3://tamis/readings")
        store.write_bytes(NAME, BYTES)
        yield Remote(store, between)


def _streamed(store: Store) -> bytes:
    found = []
    with store.stream(NAME, block_size=50_000, cache_type="readahead") as file:
        while block := file.read(20_000):
            found.append(block)
    return b"".join(found)


def _fetched(store: Store) -> bytes:
    with store.writing("copy") as path:
        store.fetch(NAME, path)
        return Path(path).read_bytes()


READINGS: dict[str, Callable[[Store], bytes]] = {
    "stream": _streamed,
    "range": lambda store: b"".join(store.read_range(NAME, i, i + 60_000) for i in range(0, len(BYTES), 60_000)),
    "address": lambda store: open_patiently(store.fs, store.path(NAME), store.shown(NAME), block_size=50_000).read(),
    "fetch": _fetched,
    "model": lambda store: models.local_file(store.address(NAME), "model").read_bytes(),
}


@pytest.fixture(autouse=True)
def _fresh(remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path))
    yield
    remote.between.heal()
    remote.store.fs.invalidate_cache()


@pytest.mark.parametrize(
    ("reading", "way"),
    [("stream", way) for way in WAYS if way != "hang"]
    + [(reading, "fail") for reading in READINGS if reading != "stream"],
)
def test_a_storm_is_waited_out(remote: Remote, monkeypatch: pytest.MonkeyPatch, reading: str, way: str) -> None:
    monkeypatch.setenv("TAMIS_PATIENCE", "60")
    remote.between.disturb(way, 0.4, random.Random(3))
    assert READINGS[reading](remote.store) == BYTES
    assert remote.between.heal() > 0


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize(("way", "after"), [("fail", 0), ("hang up", 1)])
def test_an_outage_is_told_with_the_name_of_the_file(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, reading: str, way: str, after: int
) -> None:
    monkeypatch.setenv("TAMIS_PATIENCE", "0.1")
    remote.between.disturb(way, 1.0, random.Random(3), after)
    with pytest.raises(StoreDown, match=r"s3://tamis/readings/.*: no success for \d+ s .*run the same command again"):
        READINGS[reading](remote.store)


def test_a_model_that_is_not_there_is_told_at_once(remote: Remote) -> None:
    with pytest.raises(UserError, match=r"model: cannot read s3://tamis/readings/none.bin"):
        models.local_file("s3://tamis/readings/none.bin", "model")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("status -w s3://tamis/w", "s3://tamis/w"),
        ("ingest s3://tamis/rows.jsonl --corpus a -w w", "s3://tamis/rows.jsonl"),
        ("ingest rows.jsonl --corpus b -w s3://tamis/w", "s3://tamis/w"),
    ],
)
def test_want_of_credentials_is_told_in_one_line(tmp_path: Path, command: str, named: str) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a document"}\n')
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *command.split()],
        env=environment | {"PYTHONPATH": str(Path.cwd())},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"tamis: {named}")
    assert "AWS_ACCESS_KEY_ID" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_answer_that_something_is_not_allowed_is_no_trouble_that_passes() -> None:
    import aiohttp

    def answered(status: int) -> Any:
        return aiohttp.ClientResponseError(None, (), status=status)  # type: ignore[arg-type]

    assert [patience.is_transient(answered(status)) for status in (401, 404, 429, 500, 503)] == [
        False,
        False,
        True,
        True,
        True,
    ]
