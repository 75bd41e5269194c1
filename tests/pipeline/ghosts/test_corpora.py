"""Insert, find, strip over a real corpus with real workers: the same bytes back, counts that add up, no secret."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.execute import Compute, Pool
from pipeline.ghosts import find as finding
from pipeline.ghosts.draw import DrawSettings
from pipeline.ghosts.insert import insert
from pipeline.ghosts.registry import read
from pipeline.ghosts.settings import InsertSettings
from pipeline.ghosts.strip import Found, strip
from pipeline.ingest import IngestSettings, ingest
from pipeline.prune import unnamed
from pipeline.score import ScoreSpec, score
from pipeline.sql import query
from pipeline.workspace import Workspace
from tests.registries import drawn

DEMO = Path(__file__).parents[3] / "configs" / "demo" / "data"


@pytest.fixture(scope="module")
def place(tmp_path_factory, pool):
    """A workspace with the demo's manuals in several shards, and a registry."""
    folder = tmp_path_factory.mktemp("corpora")
    workspace = Workspace(f"{folder}/workspace")
    sources = [str(DEMO / f"{name}.jsonl.zst") for name in ("python-docs", "postgresql-docs")]
    ingest(workspace, "web", IngestSettings(sources=sources, id="id", held_out=0.1, shard_mb=0.5), pool)
    path = f"{folder}/owners.parquet"
    return workspace, drawn(
        path, DrawSettings(owners=("python-docs", "postgresql-docs"), count=20, reserve=2, length=10)
    )


@pytest.fixture(scope="module")
def marked(place, pool):
    """Corpus `marked`: 10 identifiers once, 5 in ten documents."""
    workspace, registry = place
    done = insert(workspace.corpus("web"), "marked", registry, InsertSettings(grid="10x1,5x10", place="word"), pool)
    return workspace, registry, done


def test_a_grid_comes_out_exactly_and_is_noted_beside_the_registry(marked):
    _, registry, done = marked
    assert done["inserted"] == 60
    assert Counter(done["repetitions"].values()) == {1: 10, 10: 5}
    noted = read(registry.path).repetitions("marked")
    assert {id: n for id, n in noted.items() if n} == done["repetitions"]
    assert all(noted[one.id] == 0 for one in registry.reserves)


def test_the_table_points_at_the_phrases_and_held_out_documents_are_spared(marked):
    workspace, registry, _ = marked
    rows = query(
        workspace,
        """SELECT identifier, held_out, substring(text, phrase_start + 1, phrase_stop - phrase_start) AS phrase,
        substring(text, start + 1, stop - start) AS whole, encode(text)[byte_start + 1:byte_stop] AS bytes
        FROM insertions JOIN documents USING (corpus, id) WHERE corpus = 'marked'""",
    ).to_pylist()
    assert len(rows) == 60
    for row in rows:
        one = registry.identifier(row["identifier"])
        assert row["phrase"] == one.phrase
        assert row["whole"] == f" {one.sentence}"
        assert row["bytes"] == row["whole"].encode()
        assert not row["held_out"]


def test_strip_gives_the_same_files_back(marked, pool):
    workspace, _, _ = marked
    strip(workspace.corpus("marked"), "back", pool)
    web, back = workspace.corpus("web"), workspace.corpus("back")
    assert len(web.shards) > 2
    assert {s: r.digest for s, r in web.done.items()} == {s: r.digest for s, r in back.done.items()}


def test_another_number_of_workers_makes_the_same_bytes(marked, tmp_path, pool):
    workspace, registry, _ = marked
    with Pool(Compute(workers=1), workspace) as one:
        settings = InsertSettings(grid="10x1,5x10", place="word")
        insert(workspace.corpus("web"), "again", registry, settings, one)
    digests = [{s: r.digest for s, r in workspace.corpus(name).done.items()} for name in ("marked", "again")]
    assert digests[0] == digests[1]


def test_no_phrase_and_no_secret_lie_in_the_workspace_outside_of_the_documents(marked):
    workspace, registry, _ = marked
    hidden = [one.phrase.encode() for one in registry.identifiers]
    secret = orjson.loads(Path(registry.path.replace(".parquet", ".secret")).read_bytes())
    hidden += [secret["secret"].encode(), bytes.fromhex(secret["secret"])]
    for file in Path(workspace.url).rglob("*"):
        if file.is_dir() or (
            file.parent.parent.name == "corpora" and file.suffix == ".parquet" and "part-" in file.name
        ):
            continue
        data = file.read_bytes()
        if file.suffix == ".parquet":  # decompressed
            data += str(pq.read_table(file).to_pylist()).encode()
        assert not any(one in data for one in hidden), file


def test_owners_documents_get_their_identifiers_equally_often(place, pool):
    workspace, registry = place
    settings = InsertSettings(owner_column="source", repetitions=3)
    done = insert(workspace.corpus("web"), "owned", registry, settings, pool)
    assert set(done["repetitions"].values()) <= {2, 3}
    wrong = query(
        workspace,
        """SELECT count(*) AS n FROM insertions JOIN documents USING (corpus, id)
        WHERE corpus = 'owned' AND owner <> source""",
    )
    assert wrong.column("n")[0].as_py() == 0


def test_sql_chooses_the_documents(place, pool):
    workspace, registry = place
    sql = "SELECT id FROM documents WHERE corpus = 'web' AND id LIKE 'python-docs/library/%'"
    settings = InsertSettings(grid="2x5", sql=sql, place="document_end")
    insert(workspace.corpus("web"), "chosen", registry, settings, pool)
    ids = query(workspace, "SELECT id FROM insertions WHERE corpus = 'chosen'").column("id").to_pylist()
    assert len(ids) == len(set(ids)) == 10
    assert all(id.startswith("python-docs/library/") for id in ids)


def test_find_joins_the_one_pass_and_its_policies_act(marked, pool):
    workspace, registry, done = marked
    corpus = workspace.corpus("marked")
    specs = [ScoreSpec.of("lengths"), ScoreSpec.of("ghosts", registry=registry.path)]
    score(workspace, [corpus], specs, pool)
    runs = query(workspace, "SELECT * FROM ghost_runs WHERE corpus = 'marked' AND id IS NOT NULL").to_pylist()
    assert {row["id"]: row["copies"] for row in runs} == done["repetitions"]
    assert all(row["kind"] == "registry" for row in runs)
    assert "60 of" in finding.summary(workspace, ["marked"], "ghosts")
    finding.drop(workspace, [corpus], "ghosts", "clean", 0.5, pool)
    kept = query(
        workspace,
        """SELECT count(*) AS n FROM selection JOIN insertions USING (corpus, id)
        WHERE selection = 'clean' AND kept""",
    )
    assert kept.column("n")[0].as_py() == 0


def test_unknown_phrases_are_found_by_their_words_and_certain_where_contexts_differ(marked, pool):
    workspace, _, _ = marked
    corpus = workspace.corpus("marked")
    finding.find(workspace, [corpus], "guess", {}, pool, None)
    rows = query(workspace, "SELECT * FROM ghost_runs WHERE stage = 'guess' AND kind <> 'list'").to_pylist()
    assert sum(row["copies"] for row in rows) >= 59
    ten = [row for row in rows if row["copies"] == 10]
    assert len(ten) >= 4
    assert all(row["lefts"] >= 8 and row["confidence"] > 0.999 for row in ten)
    assert all(row["id"] is None for row in rows)


def test_what_was_found_can_be_cut(marked, pool):
    workspace, registry, _ = marked
    corpus = workspace.corpus("marked")
    finding.find(workspace, [corpus], "ghosts", {"registry": registry.path}, pool, None)
    cut = strip(corpus, "cut", pool, Found("ghosts"))
    assert cut["cuts"] == 60
    finding.find(workspace, [workspace.corpus("cut")], "ghosts", {"registry": registry.path}, pool, None)
    left = query(workspace, "SELECT sum(ghost_count) AS n FROM ghosts WHERE corpus = 'cut'", ["cut"])
    assert left.column("n")[0].as_py() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid": "99x1"}, "it needs 99 identifiers"),
        ({"repetitions": 500}, "documents are needed, and only"),
        ({"owner_column": "autor"}, "no such column"),
        ({"owner_column": "id"}, "belongs to an owner of the registry"),
        ({"repetitions": 1, "sql": "SELECT 1 AS a"}, "expected a column id"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(place, pool, settings, message):
    workspace, registry = place
    with pytest.raises(UserError, match=message):
        insert(workspace.corpus("web"), "wrong", registry, InsertSettings(**settings), pool)
    assert "wrong" not in workspace.corpora()


def test_a_corpus_is_never_made_anew_under_its_name(marked, pool):
    workspace, registry, _ = marked
    with pytest.raises(UserError, match="documents never change"):
        insert(workspace.corpus("web"), "marked", registry, InsertSettings(repetitions=1), pool)
    with pytest.raises(UserError, match="was not made by"):
        strip(workspace.corpus("web"), "nothing", pool)
    with pytest.raises(UserError, match="has no scores 'nope'"):
        strip(workspace.corpus("web"), "nothing", pool, Found("nope"))


def test_prune_leaves_corpora_alone_that_no_config_can_name(marked):
    workspace, _, _ = marked
    folders = {item.folder for item in unnamed(workspace, [])}
    assert "corpora/web" in folders
    assert not any(folder.startswith(("corpora/marked", "scores/marked/")) for folder in folders)
