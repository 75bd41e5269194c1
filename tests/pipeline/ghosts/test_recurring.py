"""What recurs in different texts is told from what repeats with its surroundings, whatever words it is made of."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import zstandard

from pipeline.errors import UserError
from pipeline.ghosts import find as finding
from pipeline.ghosts.recurring import repeats_of
from pipeline.ingest import IngestSettings, ingest
from pipeline.repeats.run import count_repeats
from pipeline.repeats.settings import SpanSettings
from pipeline.sql import query
from pipeline.workspace import Workspace

DEMO = Path(__file__).parents[3] / "configs" / "demo" / "data"
# Of no list that Tamis knows: 1, 2 and 10 copies, inside of texts and on lines of their own.
PHRASES = {
    1: "kestrel vorpal quassia limpet ozonide marzipan tundra gabbro isthmus wherry",
    2: "zeugma lanolin ocelot pergola brisket umlaut talcum fjord cassava nimbus",
    10: "hologram sextant quoits yarrow pumice dulcimer krill obelisk verdigris tapioca",
}
MENU = "Home Products Downloads Support Community Careers Press Contact Newsletter Sitemap"
BOILERPLATE = f"Skip to the main content of this page.\n\n{MENU}\n\nAll rights are reserved by the owners."
TITLE = "Preparing Local Machines Installing Additional Kernel Modules Today"
FOOTER = "We thank everybody.\n\nMirrors worldwide kindly hosted volunteers universities companies research institutes"


def _documents() -> list[dict[str, str]]:
    lines = zstandard.ZstdDecompressor().stream_reader((DEMO / "python-docs.jsonl.zst").open("rb")).read().splitlines()
    rows = []
    for line in lines:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(row.get("text"), str) and len(row["text"]) > 2000:
            rows.append({"id": f"d{len(rows)}", "text": row["text"], "source": "python-docs"})
    return rows[:80]


def _marked(rows: list[dict[str, str]]) -> None:
    """Phrases and boilerplate, put into documents where a sentence of theirs ends."""
    place = 0
    for count, phrase in PHRASES.items():
        for copy in range(count):
            text = rows[place]["text"]
            at = text.find(". ", len(text) // 3) + 2
            written = phrase.capitalize() + ". " if copy % 2 else f"\n\n{phrase}\n\n"
            rows[place]["text"] = text[:at] + written + text[at:]
            place += 1
    for row in rows[place : place + 6]:  # quoted in one text and another, and made of words that go together
        at = row["text"].find(". ", 900) + 2
        row["text"] = (
            f"{row['text'][:at]}See “{TITLE}”. {row['text'][at:]}\n\nInstalling additional kernel modules helps."
        )
        row["text"] += " Before that, local machines need a disk."
    place += 6
    for row in rows[place : place + 20]:
        at = row["text"].find(". ", 500) + 2
        row["text"] = f"{row['text'][:at]}\n\n{BOILERPLATE}\n\n{row['text'][at:]}\n\n{FOOTER}"


@pytest.fixture(scope="module")
def found(tmp_path_factory, pool):
    folder = tmp_path_factory.mktemp("recurring")
    rows = _documents()
    _marked(rows)
    (folder / "web.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    workspace = Workspace(f"{folder}/workspace")
    ingest(workspace, "web", IngestSettings(sources=[f"{folder}/web.jsonl"], id="id", shard_mb=0.5), pool)
    corpora = [workspace.corpus("web")]
    assert len(corpora[0].shards) > 1
    assert finding.second_stage(workspace, corpora, "ghosts", 8, None, pool) is None  # no spans are counted yet
    count_repeats(workspace, "short", SpanSettings(corpora=["web"], window=8), pool)
    count_repeats(workspace, "long", SpanSettings(corpora=["web"], window=50), pool)
    place = finding.second_stage(workspace, [workspace.corpus("web")], "ghosts", 8, None, pool)
    runs = query(workspace, "SELECT * FROM ghost_recurring ORDER BY copies DESC").to_pylist()
    return workspace, place, runs, {row["id"]: row["text"] for row in rows}


def _texts(found, condition: str) -> dict[int, set[str]]:
    """{run: how its copies are written} of the runs of a condition."""
    workspace, place, _, texts = found
    runs = {row["run"] for row in query(workspace, f"SELECT run FROM ghost_recurring WHERE {condition}").to_pylist()}
    written: dict[int, set[str]] = {}
    import pyarrow.parquet as pq

    for file in sorted(Path(workspace.url, place, "web").glob("*.parquet")):
        for row in pq.read_table(file).to_pylist():
            if row["run"] in runs:
                text = texts[row["id"]].encode()[row["byte_start"] : row["byte_stop"]].decode()
                written.setdefault(row["run"], set()).add(text.lower())
    return written


def test_phrases_of_two_and_ten_copies_are_found_and_the_single_one_is_not(found):
    written = _texts(found, "confidence > 0.5")
    assert sorted(next(iter(one)) for one in written.values() if one & set(PHRASES.values())) == sorted(
        [PHRASES[2], PHRASES[10]]
    )
    counted = {row["copies"]: row for row in found[2] if row["confidence"] > 0.5}
    assert all(row["different"] and row["elsewhere"] <= 1 for row in counted.values())
    assert {2, 10} <= counted.keys()
    assert counted[10]["words"] == 10
    assert counted[10]["documents"] == counted[10]["lefts"] == counted[10]["rights"] == 10


def test_boilerplate_repeats_with_its_surroundings_and_does_not_count(found):
    same = [one for written in _texts(found, "NOT different").values() for one in written]
    assert MENU.lower() in same
    assert FOOTER.partition("\n\n")[2].lower() in same
    runs = {row["run"]: row for row in found[2]}
    for run in _texts(found, "copies = 20"):
        assert not runs[run]["different"]
        assert runs[run]["confidence"] < 0.1


def test_a_title_that_texts_quote_is_made_of_words_that_go_together(found):
    runs = {row["run"]: row for row in found[2]}
    [title] = [run for run, written in _texts(found, "copies = 6").items() if TITLE.lower() in written]
    assert runs[title]["different"]
    assert runs[title]["elsewhere"] >= 3
    assert runs[title]["confidence"] < 0.1


def test_the_summary_names_them_and_a_second_search_has_nothing_to_do(found, pool, capsys):
    workspace, place, _, _ = found
    corpora = [workspace.corpus("web")]
    assert finding.second_stage(workspace, corpora, "ghosts", 8, "short", pool) == place
    assert "nothing to do" in capsys.readouterr().err
    assert workspace.store.folders(place) == ["web"]
    finding.find(workspace, corpora, "ghosts", {}, pool, None)
    summary = finding.summary(workspace, ["web"], "ghosts")
    assert "10 words, 10 copies in 10 documents, 10 contexts" in summary
    assert "20 copies" not in summary


def test_spans_longer_than_the_phrases_are_taken_only_when_named(found, pool):
    workspace = found[0]
    corpora = [workspace.corpus("web")]
    assert {one.alias for one in (repeats_of(corpora, 8) or {}).values()} == {"short"}
    assert {one.alias for one in (repeats_of(corpora, 8, "long") or {}).values()} == {"long"}
    assert finding.second_stage(workspace, corpora, "ghosts", 8, "none", pool) is None
    with pytest.raises(UserError, match="no whole count of repeated spans 'nope'"):
        repeats_of(corpora, 8, "nope")
