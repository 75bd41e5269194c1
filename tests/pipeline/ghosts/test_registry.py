"""The registry file: it survives writing and reading, and says what is wrong with it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.ghosts.draw import DrawSettings, commit, draw
from pipeline.ghosts.registry import METADATA, insertions_path, note_insertions, read


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    path = f"{tmp_path_factory.mktemp('registry')}/owners.parquet"
    commit(path, DrawSettings(owners=("ann", "ben"), count=4, reserve=1, element="(42)", beacon_source="drand 7"))
    return draw(path, "beacon")


def test_what_is_written_is_read(registry):
    assert read(registry.path) == registry
    assert registry.tests == 8
    assert registry.required_draws == 159 <= registry.plan.m
    assert registry.places(registry.active).shape == (8, 12)
    assert registry.identifier(registry.identifiers[3].id) == registry.identifiers[3]
    with pytest.raises(UserError, match="no identifier 'x'"):
        registry.identifier("x")


def test_insertions_are_noted_per_corpus_and_leave_the_registry_alone(registry):
    before = Path(registry.path).read_bytes()
    assert set(registry.repetitions().values()) == {0}
    a, b = registry.identifiers[0].id, registry.identifiers[1].id
    note_insertions(registry, "one", {a: (5, 5), b: (2, 1)})
    note_insertions(registry, "two", {a: (1, 1)})
    note_insertions(registry, "one", {a: (7, 6)})
    assert registry.repetitions("one")[a] == 7
    assert registry.repetitions("one")[b] == 0
    assert registry.repetitions()[a] == 8
    assert Path(registry.path).read_bytes() == before
    assert stat.S_IMODE(os.stat(insertions_path(registry.path)).st_mode) == 0o600


def _changed(registry, tmp_path, change=None, about=None) -> str:
    table = pq.read_table(registry.path)
    metadata = orjson.loads(table.schema.metadata[METADATA])
    metadata |= about or {}
    if change:
        table = change(table)
    path = f"{tmp_path}/changed.parquet"
    pq.write_table(table.replace_schema_metadata({METADATA: orjson.dumps(metadata)}), path)
    return path


@pytest.mark.parametrize(
    ("change", "about", "message"),
    [
        (None, {"schema": 99}, "schema 99; this Tamis reads 1"),
        (None, {"generator_hash": "0" * 64}, "does not have the hash"),
        (None, {"words": ["a", "b"]}, "hash"),
        (None, {"plan": {"alpha": 0.05}}, "plan: '.*' is missing"),
        (lambda t: t.drop_columns(["owner"]), None, "column 'owner' is missing"),
        (lambda t: t.slice(0, 0), None, "holds no identifier"),
        (lambda t: pa.concat_tables([t, t]), None, "stands twice"),
        (lambda t: t.set_column(4, "phrase", pa.array(["x"] * t.num_rows)), None, "do not go together"),
        (
            lambda t: t.set_column(5, "words", t.column("words").take(pa.array([1, 0, *range(2, t.num_rows)]))),
            None,
            "not",
        ),
    ],
)
def test_a_damaged_registry_says_what_is_wrong(registry, tmp_path, change, about, message):
    with pytest.raises(UserError, match=message):
        read(_changed(registry, tmp_path, change, about))


def test_other_files_are_no_registries(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read(f"{tmp_path}/none.parquet")
    pq.write_table(pa.table({"a": [1]}), f"{tmp_path}/other.parquet")
    with pytest.raises(UserError, match="not a registry"):
        read(f"{tmp_path}/other.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read(f"{tmp_path}/text.parquet")
