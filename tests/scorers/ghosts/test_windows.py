"""Windows of a registry: each is recognised, hashed or not, and the hashed file gives no phrase away."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.ghosts.draw import DrawSettings, commit, draw
from scorers.ghosts.canonical import canonical
from scorers.ghosts.windows import METADATA, read_known, window_key, windows_of
from tests.registries import drawn


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    path = f"{tmp_path_factory.mktemp('windows')}/owners.parquet"
    return drawn(path, DrawSettings(count=300, length=10))


@pytest.fixture(scope="module")
def hashed(registry):
    path = registry.path.replace("owners", "windows")
    pq.write_table(windows_of(registry.path), path)
    return path


def test_every_window_of_every_phrase_is_identified_both_ways(registry, hashed):
    for known in (read_known(registry.path), read_known(hashed)):
        assert known.probes.size == 8
        assert known.probes.listed
        for one in registry.identifiers:
            words = canonical(one.phrase)
            for i in range(len(words) - 7):
                assert known.identify(words[i : i + 8]) == one.id


def test_other_windows_are_not_identified(registry, hashed):
    words = canonical(registry.identifiers[0].phrase)
    others = [words[1:8] + words[:1], [*words[:7], "zoom"], list(reversed(words[:8])), words[:7]]
    for known in (read_known(registry.path), read_known(hashed)):
        assert [known.identify(window) for window in others] == [None] * 4


def test_a_hyphenated_word_is_two_words_of_its_window(tmp_path):
    # Phrases with and without such words have windows of one size.
    words = tmp_path / "words.txt"
    words.write_text("t-shirt\nyo-yo\n" + "".join(f"w{i}\n" for i in range(60)))
    path = f"{tmp_path}/r.parquet"
    commit(path, DrawSettings(count=100, length=4, words=str(words)))
    registry = draw(path, "b")
    known = read_known(path)
    assert known.probes.size == min(len(canonical(one.phrase)) for one in registry.identifiers)
    for one in registry.identifiers:
        phrase = canonical(one.phrase)
        assert known.identify(phrase[-known.probes.size :]) is not None


def test_the_windows_file_holds_no_word_and_not_the_whole_fast_hash(registry, hashed):
    table = pq.read_table(hashed)
    assert table.schema.names == ["key", "probe", "id"]
    assert max(table.column("probe").to_pylist()) < 1 << 40
    assert table.num_rows == sum(len(canonical(one.phrase)) - 7 for one in registry.identifiers)
    keys = table.column("key").to_pylist()
    assert keys == sorted(keys)  # windows of one phrase do not stand together
    data = Path(hashed).read_bytes()
    assert not any(word.encode() in data for one in registry.identifiers[:50] for word in one.words if len(word) > 5)


def test_a_list_that_is_not_named_is_not_needed(registry, tmp_path):
    path = f"{tmp_path}/windows.parquet"
    pq.write_table(windows_of(registry.path, name_list=False), path)
    known = read_known(path)
    assert not known.probes.listed
    assert known.words is None
    one = registry.identifiers[7]
    assert known.identify(canonical(one.phrase)[2:10]) == one.id


def test_windows_that_could_be_guessed_are_not_published(tmp_path):
    path = f"{tmp_path}/short.parquet"
    commit(path, DrawSettings(count=3, length=4))
    draw(path, "b")
    with pytest.raises(ValueError, match="4 words of a list of 7776 are 52 bits; hashes of them could be guessed"):
        windows_of(path)


def test_the_key_is_what_the_docs_say():
    import hashlib

    assert window_key(["a", "b"]) == hashlib.sha256(b"tamis ghosts window 1\0a b").digest()[:16]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: Path(path).write_text("x"), "cannot be read as Parquet"),
        (lambda path: pq.write_table(pa.table({"a": [1]}), path), "neither a registry"),
        (
            lambda path: pq.write_table(
                pa.table({"a": [1]}).replace_schema_metadata({METADATA: b'{"schema": 9}'}), path
            ),
            "schema 9",
        ),
    ],
)
def test_other_files_are_refused(tmp_path, make, message):
    path = f"{tmp_path}/other.parquet"
    make(path)
    with pytest.raises(ValueError, match=message):
        read_known(path)
