"""A model counts by its content, wherever it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import models
from pipeline.errors import UserError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))


def test_the_hash_is_of_the_content_and_changes_with_it(tmp_path: Path) -> None:
    one, two = tmp_path / "one.bin", tmp_path / "two.bin"
    one.write_bytes(b"same")
    two.write_bytes(b"same")
    first = models.content_hash(one)
    assert models.content_hash(two) == first
    one.write_bytes(b"else")
    assert models.content_hash(one) != first


def test_an_unwritable_cache_costs_time_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_CACHE", "/proc/nowhere")
    file = tmp_path / "m.bin"
    file.write_bytes(b"x")
    assert models.content_hash(file) == models.content_hash(file)


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    file = tmp_path / "m.bin"
    file.write_bytes(b"x")
    known = models.content_hash(file)
    (tmp_path / "cache" / "digests.json").write_bytes(b"{cut")
    assert models.content_hash(file) == known


def test_a_remote_model_is_fetched_once(tmp_path: Path) -> None:
    import fsspec

    with fsspec.open("memory://models/m.bin", "wb") as file:
        file.write(b"weights")
    first = models.local_file("memory://models/m.bin", "model")
    assert first.read_bytes() == b"weights"
    assert models.local_file("memory://models/m.bin", "model") == first


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere.bin", "model: no file 'nowhere.bin'"),
        ("hf://owner/repo", "does not name a model file"),
        ("memory://models/none.bin", "cannot read memory://models/none.bin"),
        ("nothing://x/y.bin", "cannot read nothing://x/y.bin"),
    ],
)
def test_a_model_that_cannot_be_had_is_one_clear_line(value: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        models.local_file(value, "model")
