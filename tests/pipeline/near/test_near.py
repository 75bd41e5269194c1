"""Near-duplicates over a workspace, against plain Python over the same documents."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.errors import UserError
from pipeline.execute import Compute, Pool
from pipeline.ingest import IngestSettings, ingest
from pipeline.near import NearAlarm, NearSettings, near, search
from pipeline.near.keys import signature_stage
from pipeline.near.pairs import PAIRWISE
from pipeline.sql import query
from pipeline.status import status
from pipeline.workspace import Workspace
from scorers.near.grams import gram_sets
from scorers.near.minhash import band_keys, signatures, words_of
from scorers.texts import Texts

DATA = Path(__file__).parents[3] / "configs" / "demo" / "data" / "python-docs.jsonl.zst"
WIDE = {"alarm_cluster": 1.0, "alarm_source": 1.0}


def real_words() -> list[str]:
    lines = zstandard.ZstdDecompressor().stream_reader(DATA.open("rb")).read().splitlines()
    return [word for line in lines[:40] for word in orjson.loads(line)["text"].split()]


def edited(words: list[str], draw: random.Random) -> list[str]:
    """What a person or a site might do to a text."""
    kind = draw.randrange(6)
    if kind == 0:
        return list(words)
    if kind == 1:
        return [word.upper() if draw.random() < 0.1 else word.strip(".,") or word for word in words]
    if kind == 2:
        return [word if draw.random() > 0.01 else "edited" for word in words]
    if kind == 3:
        return words[: int(len(words) * draw.uniform(0.6, 1))]
    if kind == 4:
        return [*["Home", "Next", "Previous", "Contents"], *words, *["Last", "changed", "on", "3", "May"]]
    return [word if draw.random() > 0.08 else f"other{draw.randrange(999)}" for word in words]


def corpus_rows(seed: int, bases: int, copies: int) -> list[dict[str, Any]]:
    """Documents of real text, each base in some versions, in a drawn order; and short and empty ones."""
    draw = random.Random(seed)
    words = real_words()
    rows = []
    for base in range(bases):
        at = draw.randrange(len(words) - 400)
        text = words[at : at + draw.randrange(30, 300)]
        for _ in range(draw.choice([1, 1, 2, copies])):
            rows.append(" ".join(text if base % 3 else edited(text, draw)))
            text = edited(text, draw)
    rows += ["tamis", "Tamis!", "a drum sieve", "a drum, sieve", "...", "!!!"]
    draw.shuffle(rows)
    return [
        {"id": f"d{i:04d}", "text": t, "source": "abc"[i % 3], "q": (i * 37 % 101) / 101} for i, t in enumerate(rows)
    ]


def make_corpus(workspace: Workspace, pool: Pool, folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    file = folder / f"{name}.jsonl"
    file.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    settings = IngestSettings(sources=[str(file)], id="id", shard_mb=file.stat().st_size / 3.5e6)
    ingest(workspace, name, settings, pool)


@pytest.fixture(scope="module")
def made(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Corpora `web` and `old`; some documents of `old` are near-duplicates of some of `web`."""
    folder = tmp_path_factory.mktemp("near")
    workspace = Workspace(str(folder / "workspace"))
    make_corpus(workspace, pool, folder, "web", corpus_rows(1, 90, 12))
    make_corpus(workspace, pool, folder, "old", corpus_rows(2, 30, 4) + corpus_rows(1, 90, 12)[:20])
    assert len(workspace.corpus("web").shards) > 2
    return workspace


def documents_of(workspace: Workspace, corpora: list[str]) -> list[dict[str, Any]]:
    """id, corpus, text, source, q in the order of the search."""
    rows = []
    for name in corpora:
        corpus = workspace.corpus(name)
        for shard in corpus.shards:
            table = pq.read_table(workspace.store.path(corpus.file(shard)), columns=["id", "text", "source", "q"])
            rows += [{"corpus": name, **row} for row in table.to_pylist()]
    return rows


def table_of(workspace: Workspace, result: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, folder in result["folders"].items():
        for shard in workspace.corpus(name).shards:
            rows += pq.read_table(workspace.store.path(f"{folder}/{shard}.parquet")).to_pylist()
    return rows


def expected(documents: list[dict[str, Any]], settings: NearSettings) -> list[dict[str, Any]]:
    """The table, by the definitions of the documentation, pair by pair."""
    words = words_of(Texts.from_arrow(pa.array([row["text"] for row in documents], pa.large_string())), settings.fold)
    counts = np.diff(words.doc_offsets)
    keys = band_keys(signatures(words, settings.scheme), settings.scheme)
    sets = gram_sets(words, settings.verify_ngram)
    grams = [set(sets.grams[a:b].tolist()) for a, b in itertools.pairwise(sets.offsets)]
    by_key = defaultdict(list)
    for doc in np.flatnonzero(counts):
        for key in keys[doc].tolist():
            by_key[key].append(int(doc))
    pairs = set()
    for group in by_key.values():
        for i, j in itertools.combinations(range(len(group)), 2):
            if len(group) <= PAIRWISE or i in (0, j - 1):
                pairs.add((group[i], group[j]))

    def share(a: int, b: int) -> float:
        both = len(grams[a] & grams[b])
        return both / len(grams[a] | grams[b]) if settings.measure == "jaccard" else both / len(grams[a])

    cluster = list(range(len(documents)))
    for a, b in sorted(pairs):
        if max(share(a, b), share(b, a)) >= settings.threshold:
            low, high = sorted((cluster[a], cluster[b]))
            cluster = [low if c == high else c for c in cluster]

    def preference(doc: int) -> tuple[float, ...]:
        source = documents[doc]["source"]
        named = settings.sources.index(source) if source in settings.sources else len(settings.sources)
        value = {"longest": -counts[doc], "first": 0}.get(settings.keep)
        if value is None:
            value = documents[doc]["q"] if settings.keep == "-q" else -documents[doc]["q"]
        return (named, value, doc)

    rows = [
        {
            "id": row["id"],
            "near_cluster": None,
            "near_cluster_corpus": None,
            "near_size": 1,
            "near_kept": True,
            "near_of": None,
            "near_of_corpus": None,
            "near_containment": None,
            "near_jaccard": None,
        }
        for row in documents
    ]
    for root in set(cluster):
        members = sorted((doc for doc in range(len(cluster)) if cluster[doc] == root), key=preference)
        if len(members) < 2:
            continue
        kept: list[int] = []
        for doc in members:
            of = next((other for other in kept if share(doc, other) >= settings.threshold), None)
            row = rows[doc]
            row["near_cluster"] = documents[members[0]]["id"]
            row["near_cluster_corpus"] = documents[members[0]]["corpus"]
            row["near_size"] = len(members)
            if of is None:
                kept.append(doc)
                continue
            row["near_kept"], row["near_of"], row["near_of_corpus"] = (
                False,
                documents[of]["id"],
                documents[of]["corpus"],
            )
            both = len(grams[doc] & grams[of])
            row["near_containment"] = float(np.float32(both / len(grams[doc])))
            row["near_jaccard"] = float(np.float32(both / len(grams[doc] | grams[of])))
    return rows


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"corpora": ["old", "web"], "keep": "first"},
        {"corpora": ["web"], "measure": "jaccard", "threshold": 0.6, "keep": "q"},
        {"corpora": ["web"], "keep": "-q", "sources": ["c", "a"], "fold": False, "ngram": 3, "bands": 30, "rows": 3},
    ],
)
def test_a_search_finds_what_the_definitions_say(made: Workspace, pool: Pool, changed: dict[str, Any]) -> None:
    settings = NearSettings(**(WIDE | changed))
    corpora = settings.corpora or made.corpora()
    result = near(made, "near", settings, pool)
    wanted = expected(documents_of(made, corpora), settings)
    assert table_of(made, result) == wanted
    removed = [row for row in wanted if not row["near_kept"]]
    assert result["duplicates"] == len(removed) > 20
    assert result["clusters"] == len({(r["near_cluster"], r["near_cluster_corpus"]) for r in wanted} - {(None, None)})
    assert sum(one["duplicates"] for one in result["sources"].values()) == len(removed)
    assert made.store.folders("near") == []
    assert near(made, "near", settings, pool) == result


@pytest.mark.parametrize("buffer_mb", [0.05, 0.2])
def test_a_small_buffer_and_one_worker_write_the_same_bytes(made: Workspace, pool: Pool, buffer_mb: float) -> None:
    """Components that do not fit are cut over blocks, the keys into partitions; nothing of it shows."""
    settings = NearSettings(corpora=["web"], bands=60, rows=2, threshold=0.5, **WIDE)  # weak: components are large
    result = near(made, "near", settings, pool)
    folder = result["folders"]["web"]
    before = {name: made.store.read_bytes(f"{folder}/{name}") for name in made.store.sizes(folder) if "part" in name}
    for place in (folder, f"ledger/{folder}"):
        made.store.remove(place)
    with Pool(Compute(workers=1), made) as one:
        again = near(made, "near", settings.model_copy(update={"buffer_mb": buffer_mb}), one)
    assert again == result
    assert {name: made.store.read_bytes(f"{folder}/{name}") for name in before} == before


def test_a_search_goes_on_where_it_was_killed(made: Workspace, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = NearSettings(corpora=["web"], threshold=0.7, **WIDE)
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.near.run.make_verdicts", _killed)
        with pytest.raises(KeyboardInterrupt):
            near(made, "near", settings, pool)
    work = search(made, "near", settings).work.folder
    before = {row.pid for name in ("pairs", "sets") for row in made.rows(f"{work}/{name}").values()}
    assert before
    result = near(made, "near", settings.model_copy(update={"buffer_mb": 64}), pool)
    assert table_of(made, result) == expected(documents_of(made, ["web"]), settings)


def _killed(*arguments: Any) -> None:
    raise KeyboardInterrupt


def test_damaged_signatures_are_noticed_and_nothing_is_written(made: Workspace, pool: Pool) -> None:
    settings = NearSettings(corpora=["web"], threshold=0.65, **WIDE)
    near(made, "signed", settings, pool)
    signed = signature_stage(made.corpus("web"), settings).folder
    name = next(name for name in made.store.sizes(signed) if name.endswith(".keys"))
    whole = made.store.read_bytes(f"{signed}/{name}")
    made.store.write_bytes(f"{signed}/{name}", whole[:16] + bytes(8 * 4097) + whole[16 + 8 * 4097 :])
    with pytest.raises(ValueError, match="signatures is damaged"):
        near(made, "near", settings, pool)
    assert not made.store.exists(search(made, "near", settings).stages["web"].folder)
    made.store.write_bytes(f"{signed}/{name}", whole)
    near(made, "near", settings, pool)


def test_the_alarm_names_what_would_be_lost_and_leaves_the_tables(made: Workspace, pool: Pool) -> None:
    settings = NearSettings(corpora=["web"], alarm_cluster=0.001, alarm_source=0.05, alarm_documents=3)
    with pytest.raises(NearAlarm) as raised:
        near(made, "near", settings, pool)
    assert "cluster of" in str(raised.value)
    assert "source 'a' would lose" in str(raised.value)
    with pytest.raises(NearAlarm):  # it stays until somebody raises the limit
        near(made, "near", settings, pool)
    near(made, "near", settings.model_copy(update=WIDE), pool)


def test_views_show_clusters_beside_the_documents(made: Workspace, pool: Pool) -> None:
    result = near(made, "near", NearSettings(corpora=["web"], **WIDE), pool)
    found = query(made, "SELECT count(*) FILTER (NOT near_kept) AS n, max(near_size) AS m FROM scored", ["web"])
    assert found.to_pylist()[0]["n"] == result["duplicates"]
    pairs = query(
        made,
        "SELECT d.text, k.text AS kept FROM near JOIN documents d USING (id) JOIN documents k ON k.id = near_of",
        ["web"],
    )
    assert pairs.num_rows == result["duplicates"]
    kinds = {stage.kind: stage for stage in status(made).stages}
    assert kinds["signatures"].name in ("web", "old")
    assert kinds["signatures"].missing == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"corpora": ["web", "web"]}, "named twice"),
        ({"corpora": ["wib"]}, "no corpus 'wib'"),
        ({"keep": "quality"}, "keep .*no column 'quality'"),
        ({"keep": "id"}, "is string; expected numbers"),
    ],
)
def test_wrong_settings_are_named(made: Workspace, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        search(made, "near", NearSettings(**changed))
