"""Repeated spans end to end on real workers and real text."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Compute, Job, Pool, Work
from pipeline.ingest import IngestSettings, ingest
from pipeline.ledger import Row
from pipeline.repeats import SpanSettings, count_repeats, plan_repeats, settings
from pipeline.workspace import Workspace
from tests.pipeline.repeats.suffixes import counted, covered
from tests.workspaces import add_corpus

DATA = Path(__file__).parents[3] / "configs/demo/data"
MANUALS = [str(DATA / f"{name}-docs.jsonl.zst") for name in ("python", "postgresql")]
TEXTS = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("source", pa.string())])


@pytest.fixture(scope="module")
def manuals(tmp_path_factory: pytest.TempPathFactory, pool: Pool) -> Workspace:
    """The demo's manuals in several shards, and the PostgreSQL ones once more by themselves."""
    workspace = Workspace(str(tmp_path_factory.mktemp("repeats") / "w"))
    ingest(workspace, "manuals", IngestSettings(sources=MANUALS, id="id", shard_mb=1), pool)
    ingest(workspace, "postgres", IngestSettings(sources=MANUALS[1:], id="id", shard_mb=1), pool)
    return workspace


def table(workspace: Workspace, name: str) -> pa.Table:
    return pq.read_table(workspace.store.path(name))


def scores(workspace: Workspace, corpus: str, alias: str) -> pa.Table:
    """The whole score table of the newest stage of an alias, in the order of the documents."""
    folder = next(f for f, r in reversed(workspace.corpus(corpus).score_stages().items()) if r["name"] == alias)
    return pa.concat_tables([table(workspace, f"{folder}/{s}.parquet") for s in workspace.corpus(corpus).shards])


def documents(workspace: Workspace, corpus: str) -> pa.Table:
    there = workspace.corpus(corpus)
    return pa.concat_tables([table(workspace, there.file(s)).select(TEXTS.names) for s in there.shards])


def contents(workspace: Workspace, folder: str) -> dict[str, bytes]:
    root = Path(workspace.store.path(folder))
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.parquet")) if path.is_file()
    }


def small(workspace: Workspace, texts: dict[str, list[str]], name: str = "web") -> None:
    """A corpus of one shard per source."""
    tables = []
    for source, some in texts.items():
        ids = [f"{name}-{source}-{i}" for i in range(len(some))]
        tables.append(pa.table([ids, some, [source] * len(some)], schema=TEXTS))
    add_corpus(workspace, name, tables)


def test_counts_and_coverage_are_those_of_a_suffix_array_on_real_text(manuals: Workspace, pool: Pool) -> None:
    result = count_repeats(manuals, "exact", SpanSettings(corpora=["manuals"], window=20, split="whitespace"), pool)
    texts = documents(manuals, "manuals").column("text").to_pylist()
    expected = counted(texts, 20)
    assert result["windows"] == sum(map(len, expected.occurrences))
    found = scores(manuals, "manuals", "exact").to_pydict()
    assert sum(found["exact_words_2"]) > 10_000
    for level in (2, 10, 100, 1000):
        assert found[f"exact_words_{level}"] == [covered(one, 20, level) for one in expected.occurrences]
        assert found[f"exact_docs_{level}"] == [covered(one, 20, level) for one in expected.documents]
    assert found["exact_most"] == [max(one) if one else None for one in expected.occurrences]
    spectrum = table(manuals, f"{result['folder']}/spectrum.parquet").to_pylist()
    for by, values in (("occurrences", expected.occurrences), ("documents", expected.documents)):
        windows = Counter(itertools.chain.from_iterable(values))
        assert {r["multiplicity"]: r["spans"] for r in spectrum if r["measure"] == by} == dict(windows)
    by_count = Counter(itertools.chain.from_iterable(expected.occurrences))
    assert result["distinct"] == sum(n // m for m, n in by_count.items())


def test_workers_memory_and_layout_change_no_byte(
    manuals: Workspace, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = SpanSettings(corpora=["manuals"])
    first = count_repeats(manuals, "repeats", chosen, pool)
    other = Workspace(str(tmp_path / "w"))
    ingest(other, "manuals", IngestSettings(sources=MANUALS, id="id", shard_mb=1), pool)
    # Partitions of some thousand records, runs and slabs far smaller than a shard.
    monkeypatch.setattr(settings.Layout, "of", lambda records, memory: settings.Layout(4, 10_000, 3000))
    second = count_repeats(other, "repeats", chosen, pool)
    assert {k: v for k, v in first.items() if k != "folder"} == {k: v for k, v in second.items() if k != "folder"}
    assert contents(manuals, first["folder"]) == contents(other, second["folder"])
    assert scores(manuals, "manuals", "repeats") == scores(other, "manuals", "repeats")


def test_nothing_is_left_of_the_work_and_nothing_is_done_twice(
    manuals: Workspace, pool: Pool, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen = SpanSettings(corpora=["postgres"], window=30)
    first = count_repeats(manuals, "once", chosen, pool)
    assert not [name for name in manuals.store.folders(first["folder"]) if name.startswith("work")]
    capfd.readouterr()
    assert count_repeats(manuals, "once", chosen, pool) == first
    assert "nothing to do" in capfd.readouterr().err
    assert count_repeats(manuals, "once", chosen.model_copy(update={"memory": "4GB"}), pool) == first


def test_every_word_of_a_copy_is_found_in_the_corpus_it_came_from(manuals: Workspace, pool: Pool) -> None:
    chosen = SpanSettings(corpora=["postgres"], against=["manuals"], window=13)
    result = count_repeats(manuals, "against", chosen, pool)
    found = scores(manuals, "postgres", "against")
    assert found.column("against_words_1").to_pylist() == [
        n if n >= 13 else 0 for n in found.column("against_words").to_pylist()
    ]
    assert result["totals"]["words_1"] > 0.99 * result["words"]
    assert "against_later" not in found.column_names


def test_what_only_the_other_corpus_repeats_does_not_count_here(workspace: Workspace, pool: Pool) -> None:
    question = "which planet of the solar system has the largest known number of moons"
    small(workspace, {"a": [f"Quiz time. {question} is hard to say", "nothing of the kind is here at all, no"]}, "web")
    small(workspace, {"test": [question, question, "this one stands in no other place of the world"]}, "quiz")
    count_repeats(workspace, "leak", SpanSettings(corpora=["web"], against=["quiz"], window=8), pool)
    found = scores(workspace, "web", "leak").to_pydict()
    assert found["leak_words_1"] == [13, 0]
    assert found["leak_words_2"] == [13, 0]
    assert found["leak_docs_2"] == [13, 0]
    assert found["leak_words_10"] == [0, 0]
    assert found["leak_most"] == [2, 0]
    assert found["leak_cover_1"] == pytest.approx([13 / 19, 0])


def test_sources_are_told_apart(workspace: Workspace, pool: Pool) -> None:
    shared = " ".join(f"both{i}" for i in range(30))
    own = " ".join(f"own{i}" for i in range(30))
    rows = [("w1", f"{own} {shared}", "wiki"), ("w2", own, "wiki"), ("b1", f"blog words {shared}", "blog")]
    path = Path(workspace.url).parent / "rows.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(dict(zip(("id", "text", "source"), r, strict=True))) for r in rows))
    ingest(workspace, "web", IngestSettings(sources=[str(path)], id="id"), pool)
    result = count_repeats(workspace, "repeats", SpanSettings(corpora=["web"], window=10), pool)
    pairs = {
        (r["source"], r["other_source"]): r["words"]
        for r in table(workspace, f"{result['folder']}/shared.parquet").to_pylist()
    }
    assert pairs == {("wiki", "wiki"): 60, ("wiki", "blog"): 30, ("blog", "wiki"): 30}
    found = scores(workspace, "web", "repeats").to_pydict()
    assert found["repeats_elsewhere"] == [30, 0, 30]
    assert found["repeats_later"] == [0, 30, 30]
    by_source = {r["source"]: r for r in table(workspace, f"{result['folder']}/sources.parquet").to_pylist()}
    assert by_source["wiki"]["words_2"] == 90
    spans = table(workspace, f"{result['folder']}/spans.parquet").to_pylist()
    texts = {r["text"]: r for r in spans if r["ranking"] == "longest"}
    assert set(texts) == {shared, own}
    assert texts[shared]["found"] == texts[shared]["occurrences"] == 2
    for span in spans:
        for place in span["places"]:
            text = next(text for id, text, _ in rows if id == place["id"])
            assert text[place["begin"] : place["end"]] == span["text"]


def test_a_sample_by_content_brackets_the_truth(manuals: Workspace, pool: Pool) -> None:
    exact = count_repeats(manuals, "repeats", SpanSettings(corpora=["manuals"]), pool)
    spectrum = table(manuals, f"{exact['folder']}/spectrum.parquet").to_pylist()
    mass = sum(r["spans"] for r in spectrum if r["measure"] == "occurrences" and r["multiplicity"] >= 2)
    misses = 0
    for seed in range(5):
        chosen = SpanSettings(corpora=["manuals"], sample=0.1, seed=seed)
        result = count_repeats(manuals, f"some{seed}", chosen, pool)
        assert result["windows"] < 0.2 * exact["windows"]
        estimate = result["sampled"][0]
        assert estimate["threshold"] == 2
        misses += abs(estimate["windows"] - mass) > 2 * estimate["standard_error"] * exact["windows"]
        assert estimate["standard_error"] * exact["windows"] < 0.2 * mass
    assert misses <= 1
    assert not [f for f in manuals.corpus("manuals").score_stages() if "/some" in f]


def test_winnowing_never_says_more_than_the_truth_and_misses_little(manuals: Workspace, pool: Pool) -> None:
    exact = count_repeats(manuals, "repeats", SpanSettings(corpora=["manuals"]), pool)
    result = count_repeats(manuals, "winnowed", SpanSettings(corpora=["manuals"], winnow=20), pool)
    assert result["windows"] < 0.15 * exact["windows"]
    truth, bound = (
        np.array(scores(manuals, "manuals", alias).column(f"{alias}_words_2").to_pylist())
        for alias in ("repeats", "winnowed")
    )
    assert (bound <= truth).all()
    assert bound.sum() > 0.7 * truth.sum()


def test_a_run_that_lost_a_shard_goes_on_where_it_stopped(
    manuals: Workspace, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = SpanSettings(corpora=["manuals"], window=25)
    corpus = manuals.corpus("manuals")
    path = Path(manuals.store.path(corpus.file(corpus.shards[2])))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    monkeypatch.setattr("pipeline.repeats.plan.SAMPLED", 1)
    with pytest.raises(ShardsFailed, match="changed or damaged"):
        count_repeats(manuals, "broken", chosen, pool)
    path.write_bytes(whole)
    folder = plan_repeats(manuals, "broken", chosen).stage.folder
    work = next(name for name in manuals.store.folders(folder) if name.startswith("work-"))
    before = manuals.rows(f"{folder}/{work}/windows/manuals")
    assert sum(row.done for row in before.values()) == len(before) - 1
    labels: list[tuple[str, int]] = []
    run = pool.run

    def watched(jobs: Sequence[Job], work: Work, label: str, unit: str = "shards") -> list[Row]:
        labels.append((label, len(jobs)))
        return run(jobs, work, label, unit)

    monkeypatch.setattr(pool, "run", watched)
    again = count_repeats(manuals, "broken", chosen, pool)
    assert labels[0][1] == 1
    monkeypatch.undo()
    assert again["totals"] == count_repeats(manuals, "fresh", chosen, pool)["totals"]


def test_texts_shorter_than_a_span_are_undefined_not_clean(workspace: Workspace, pool: Pool) -> None:
    small(workspace, {"a": ["too short", "", "one two three four five six", "one two three four five six"]})
    result = count_repeats(workspace, "repeats", SpanSettings(window=5), pool)
    found = scores(workspace, "web", "repeats").to_pydict()
    assert found["repeats_cover_2"] == [None, None, 1.0, 1.0]
    assert found["repeats_most"] == [None, None, 2, 2]
    assert result["totals"]["short"] == 2


def test_an_empty_corpus_has_empty_tables(workspace: Workspace, pool: Pool) -> None:
    add_corpus(workspace, "web", [TEXTS.empty_table()])
    result = count_repeats(workspace, "repeats", SpanSettings(), pool)
    assert result["windows"] == 0
    assert scores(workspace, "web", "repeats").num_rows == 0


def test_a_corpus_cannot_be_its_own_reference(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="cannot be compared with itself"):
        SpanSettings(corpora=["web"], against=["web"])
    small(workspace, {"a": ["text"]})
    with pytest.raises(UserError, match="no corpus 'wiki'"):
        plan_repeats(workspace, "repeats", SpanSettings(corpora=["wiki"]))


def test_tokens_can_be_counted_instead_of_words(manuals: Workspace, workspace: Workspace, pool: Pool) -> None:
    small(workspace, {"pg": documents(manuals, "postgres").column("text").to_pylist()[:30]})
    chosen = SpanSettings(window=20, tokenizer=str(DATA / "tokenizer.json"))
    result = count_repeats(workspace, "repeats", chosen, pool)
    found = scores(workspace, "web", "repeats").to_pydict()
    assert sum(found["repeats_tokens"]) == result["words"]
    assert 0 < sum(found["repeats_tokens_2"]) < result["words"]
    texts = dict(zip(*documents(workspace, "web").select(["id", "text"]).to_pydict().values(), strict=True))
    spans = table(workspace, f"{result['folder']}/spans.parquet").to_pylist()
    assert spans
    for span in spans:
        for place in span["places"]:
            text = texts[place["id"]][place["begin"] : place["end"]]
            assert text == span["text"] or len(text) > 2000


def test_a_workspace_need_not_be_a_folder(tmp_path: Path) -> None:
    far = Workspace("memory://repeats-far")
    shared = " ".join(f"w{i}" for i in range(12))
    small(far, {"a": [f"x {shared}", shared], "b": [f"{shared} y", "other words stand here and nowhere else at all"]})
    with Pool(Compute(workers=1), far) as pool:
        result = count_repeats(far, "repeats", SpanSettings(window=6), pool)
    assert result["totals"]["words_2"] == 36
    assert not [name for name in far.store.folders(result["folder"]) if name.startswith("work")]
