"""The scorer: identifiers are found however they are written; ordinary text, lists and code are left alone."""

from __future__ import annotations

from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.ghosts.draw import DrawSettings
from scorers import scorer_module
from scorers.ghosts.canonical import canonical
from scorers.ghosts.find import Settings, load, model_files, schema_for
from scorers.ghosts.generator import Generator, nulls
from scorers.ghosts.windows import windows_of
from scorers.ghosts.wordlists import eff_large
from scorers.texts import Texts
from tests.registries import drawn

DEMO = Path(__file__).parents[3] / "configs" / "demo" / "data"
WORDS = eff_large()
TEN = Generator(WORDS.hash, length=10)
PROSE = "They walked to the end of the road. {} After that nobody said anything for a while."


def found(finder, *documents: str) -> list[dict]:
    """One row per document."""
    columns = finder.score(Texts.from_arrow(pa.array(documents, pa.large_string())))
    for column, field in zip(columns, finder.schema, strict=True):
        assert column.type == field.type
    return pa.table(columns, finder.schema).to_pylist()


def phrases(count: int, generator: Generator = TEN) -> list[str]:
    return [generator.phrase(WORDS, row) for row in nulls(generator, WORDS, "test", count)]


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    path = f"{tmp_path_factory.mktemp('find')}/owners.parquet"
    return drawn(path, DrawSettings(count=200, length=10))


@pytest.fixture(scope="module", params=["registry", "windows"])
def registered(request, registry):
    """A finder that knows the registry, or only its hashed windows; no word list."""
    path = registry.path
    if request.param == "windows":
        path = path.replace("owners", "windows")
        pq.write_table(windows_of(registry.path), path)
    return load(Settings(registry=path, words=None), {"registry": path}, "ghosts")


@pytest.fixture(scope="module")
def guesser():
    """A finder that knows EFF's list alone."""
    return load(Settings(), {}, "ghosts")


WRITTEN = {
    "as it is": lambda p: p,
    "capitals": lambda p: p.upper(),
    "titles": lambda p: p.title(),
    "hyphens": lambda p: p.replace(" ", "-"),
    "wrapped": lambda p: p.replace(" ", "\n", 6).replace("\n", " ", 5),
    "markup": lambda p: f"<em>{p.replace(' ', '&nbsp;</em><em>')}</em>",
    "soft hyphens": lambda p: p.replace("a", "a\u00ad"),
    "fullwidth": lambda p: "".join(chr(ord(c) + 0xFEE0) if "a" <= c <= "z" else c for c in p),
}


@pytest.mark.parametrize("written", [w for w in WRITTEN if w != "markup"])
def test_registered_phrases_are_found_however_they_are_written(registry, registered, written):
    for one in registry.identifiers[:30]:
        text = PROSE.format(WRITTEN[written](one.phrase) + ".")
        (row,) = found(registered, text)
        assert row["ghost_count"] == 1
        assert row["ghost_kind"] == "registry"
        assert row["ghost_confidence"] == 1
        (span,) = row["ghost_spans"]
        assert span["id"] == one.id
        assert canonical(text[span["start"] : span["stop"]]) == canonical(one.phrase)
        assert text.encode()[span["byte_start"] : span["byte_stop"]].decode() == text[span["start"] : span["stop"]]


def test_eight_words_of_ten_are_enough_and_seven_are_not(registry, registered):
    words = registry.identifiers[0].phrase.split()
    eight, seven = found(registered, " ".join(words[1:9]), " ".join(words[1:8]))
    assert [span["words"] for span in eight["ghost_spans"]] == [8]
    assert seven == {"ghost_count": 0, "ghost_kind": None, "ghost_confidence": None, "ghost_spans": []}


def test_a_registered_phrase_in_another_order_is_nobodys(registry, registered):
    words = registry.identifiers[0].phrase.split()
    assert found(registered, " ".join(reversed(words)))[0]["ghost_count"] == 0


def test_several_identifiers_and_copies_are_counted_one_by_one(registry, registered):
    a, b = registry.identifiers[:2]
    (row,) = found(registered, f"{a.phrase} and {b.phrase}. {a.phrase} {a.phrase}")
    assert [span["id"] for span in row["ghost_spans"]] == [a.id, b.id, a.id, a.id]
    assert row["ghost_count"] == 4


def test_at_least_99_percent_of_unregistered_ten_word_phrases_are_found(guesser):
    texts = [PROSE.format(f"We made {phrase} and that was odd.") for phrase in phrases(4000)]
    rows = found(guesser, *texts)
    assert sum(row["ghost_count"] == 1 for row in rows) >= 0.99 * len(rows)
    assert {row["ghost_kind"] for row in rows} <= {"passphrase", "list", None}


def test_a_carrier_makes_a_shorter_phrase_count(guesser):
    five = [" ".join(p.split()[:5]) for p in phrases(200)]
    bare = found(guesser, *[PROSE.format(p + ".") for p in five])
    carried = found(guesser, *[PROSE.format(f"The ghost sentence of this text is {p}.") for p in five])
    assert sum(row["ghost_count"] for row in bare) == 0
    assert sum(row["ghost_count"] for row in carried) >= 0.9 * 200
    assert {row["ghost_kind"] for row in carried} == {"carrier", None}


def test_longer_runs_are_more_certain(guesser):
    eight, twelve = (
        [r["ghost_confidence"] or 0 for r in found(guesser, *phrases(50, Generator(WORDS.hash, length=n)))]
        for n in (8, 12)
    )
    assert 0.7 < max(eight) < min(c for c in twelve if c) <= 1


def test_the_demos_manuals_hold_no_passphrase(guesser):
    texts = []
    for name in ("python-docs", "postgresql-docs"):
        lines = zstandard.ZstdDecompressor().stream_reader((DEMO / f"{name}.jsonl.zst").open("rb")).read().splitlines()
        for line in lines:
            try:
                texts.append(orjson.loads(line)["text"])
            except (orjson.JSONDecodeError, KeyError):
                continue
    texts = [text for text in texts if isinstance(text, str)]
    assert sum(map(len, texts)) > 4e6
    assert sum(row["ghost_count"] for row in found(guesser, *texts)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(WORDS.words[100:130]),
        ", ".join(phrases(1)[0].split()),
        "\n".join(phrases(1)[0].split()),
        " ".join(sorted(phrases(1)[0].split())),
        " ".join(p for p in phrases(8)),
        "deck = {'" + "', '".join(phrases(1)[0].split()) + "'}",
    ],
)
def test_lists_are_told_from_phrases(guesser, text):
    (row,) = found(guesser, text)
    assert row["ghost_kind"] == "list"
    assert row["ghost_count"] == 0
    assert row["ghost_confidence"] < 0.1


def test_equal_runs_have_equal_numbers_and_contexts_tell_copies_apart(guesser):
    one, other = phrases(2)
    rows = found(
        guesser,
        PROSE.format(f"It read {one}."),
        f"Something else came first here. It read {one.upper()}. Then more of something else came.",
        PROSE.format(f"It read {other}."),
        f"It read {one}.",
    )
    spans = [row["ghost_spans"][0] for row in rows]
    assert spans[0]["run"] == spans[1]["run"] == spans[3]["run"] != spans[2]["run"]
    assert spans[0]["left"] == spans[2]["left"] != spans[1]["left"] != 0
    assert spans[0]["right"] == spans[2]["right"] != spans[1]["right"]
    assert (spans[3]["left"], spans[3]["right"]) == (0, 0)


def test_the_cut_takes_the_carrier_but_not_the_neighbours(guesser):
    phrase = phrases(1)[0]
    for text, left in {
        f"One two. The ghost sentence of this text is {phrase}. Three four.": "One two. Three four.",
        f"One two.\nPlease ignore the following: {phrase}\nThree four.": "One two.\n\nThree four.",
        f"In the middle of a long sentence that goes on and on about {phrase} and on.": (
            "In the middle of a long sentence that goes on and on about and on."
        ),
        f"{phrase}.": "",
    }.items():
        (span,) = found(guesser, text)[0]["ghost_spans"]
        data = text.encode()
        assert (data[: span["cut_start"]] + data[span["cut_stop"] :]).decode() == left


def test_aliases_prefix_the_columns_and_files_are_named():
    assert schema_for("mine_").names == ["mine_count", "mine_kind", "mine_confidence", "mine_spans"]
    assert model_files(Settings()) == {}
    assert model_files(Settings(registry="r.parquet", words="w.txt")) == {"registry": "r.parquet", "words": "w.txt"}
    assert scorer_module("ghosts").VERSION >= 1
    with pytest.raises(ValueError, match="nothing to look for"):
        load(Settings(words=None), {}, "ghosts")


def test_no_document_and_empty_ones_have_the_full_schema(guesser):
    assert found(guesser) == []
    assert [row["ghost_count"] for row in found(guesser, "", " ", "…")] == [0, 0, 0]
