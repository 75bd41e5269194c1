"""Whole selections, run by two workers over real files, against the plain definition in reference.py."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline import ledger
from pipeline.catalog import shown_stages
from pipeline.config_errors import parsed
from pipeline.errors import UserError
from pipeline.execute import Compute, Pool
from pipeline.select import SelectSettings, select, select_stage
from pipeline.stage import saved
from pipeline.workspace import Workspace
from tests.pipeline.select.reference import Document, expected, found, write
from tests.workspaces import record, small

SCORES = st.sampled_from([None, float("nan"), 0.0, -0.0, 0.25, 0.5, 0.5, 1.0, -2.0, float("inf")])
DOCUMENTS = st.lists(
    st.tuples(
        st.sampled_from(["web", "news"]),
        st.sampled_from(["wiki", "blog", "code"]),
        SCORES | st.floats(0, 1),
        st.integers(0, 50),
        st.booleans() | st.just(False),
    ),
    min_size=1,
    max_size=40,
)


def documents(rows: list[Any]) -> list[Document]:
    # Ids are unique in a corpus, not in the workspace.
    return [Document(c, f"d{i // 2 if c == 'web' else i}-{i}", s, q, n, h) for i, (c, s, q, n, h) in enumerate(rows)]


def fixed(count: int = 300, seed: int = 0) -> list[Document]:
    random = np.random.default_rng(seed)
    return [
        Document(
            "web",
            f"d{i}",
            ["wiki", "blog", "code"][i % 3],
            None if i % 17 == 0 else float(random.integers(0, 12)) / 8,
            int(random.integers(1, 90)),
            i % 11 == 0,
        )
        for i in range(count)
    ]


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    DOCUMENTS,
    st.integers(1, 3),
    st.integers(0, 900),
    st.sampled_from(["reject", "last", "first"]),
    st.booleans(),
    st.dictionaries(st.sampled_from(["wiki", "blog"]), st.integers(0, 300), max_size=2),
    st.dictionaries(st.sampled_from(["wiki", "code"]), st.sampled_from([0.1, 0.25, 0.5]), max_size=2),
)
def test_a_selection_is_what_its_definition_says(
    pool: Pool, rows: Any, shards: int, budget: int, undefined: Any, up: bool, caps: Any, shares: Any
) -> None:
    made = documents(rows)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(folder)
        write(workspace, made, shards)
        chosen = SelectSettings(
            by="quality",
            budget=f"{budget} tokens",
            undefined=undefined,
            ascending=up,
            caps=caps,
            shares=shares,
            seed=5,
        )
        result = select(workspace, "best", chosen, pool)
        units = {s: int(share * budget) for s, share in shares.items()}
        units[""] = int((1 - sum(shares.values())) * budget)
        plain = expected(made, None, 5, up, undefined, caps, units)
        assert found(workspace, result["folder"]) == plain
        kept = sum(c["kept"] for of_corpus in result["sources"].values() for c in of_corpus.values())
        assert kept == sum(reason is None for reason in plain.values())


def test_the_cut_into_shards_and_the_number_of_workers_change_no_document(pool: Pool, tmp_path: Path) -> None:
    made = fixed()
    chosen = SelectSettings(by="quality", budget="20% tokens", caps={"wiki": "40%"})
    answers, files = [], []
    for n, shards in enumerate((1, 4, 4)):
        workspace = Workspace(f"{tmp_path}/{n}")
        write(workspace, made, shards)
        if n < 2:
            folder = select(workspace, "best", chosen, pool)["folder"]
        else:
            with Pool(Compute(workers=1), workspace) as alone:
                folder = select(workspace, "best", chosen, alone)["folder"]
        answers.append(found(workspace, folder))
        files.append({p.name: p.read_bytes() for p in sorted((tmp_path / str(n) / folder / "web").glob("*.parquet"))})
    assert answers[0] == answers[1] == answers[2]
    assert files[1] == files[2]


def test_the_random_control_reaches_the_same_budget_within_one_document(pool: Pool, workspace: Workspace) -> None:
    made = fixed()
    write(workspace, made, 3)
    best = select(workspace, "best", SelectSettings(by="quality", budget="30% tokens"), pool)
    control = select(workspace, "control", SelectSettings(random=1, budget="30% tokens"), pool)
    other = select(workspace, "control", SelectSettings(random=2, budget="30% tokens"), pool)
    pooled = sum(d.tokens for d in made if not d.held_out)
    assert best["pool"] == control["pool"] == pooled
    assert best["budget"] == control["budget"] == pooled * 3 // 10
    for result in (best, control, other):
        tokens = sum(c["kept_tokens"] for c in result["sources"]["web"].values())
        assert control["budget"] - 90 < tokens <= control["budget"]
    kept = found(workspace, control["folder"])
    assert kept != found(workspace, other["folder"])
    scores = [d.score or 0 for d in made if kept[d.corpus, d.id] is None]
    assert abs(np.mean(scores) - np.mean([d.score or 0 for d in made])) < 0.2


def test_a_predicate_alone_needs_no_ranking_and_lists_every_reason(pool: Pool, workspace: Workspace) -> None:
    made = fixed(60)
    write(workspace, made, 2)
    result = select(workspace, "long", SelectSettings(where="tokens > 40 AND source = 'wiki'"), pool)
    kept = found(workspace, result["folder"])
    for d in made:
        inside = d.tokens > 40 and d.source == "wiki"
        assert kept[d.corpus, d.id] == ("held_out" if d.held_out else None if inside else "where")
    rows = workspace.rows(f"{result['folder']}/web")
    counted = {r["reason"]: r["rows"] for row in rows.values() for r in row.reasons}
    assert counted.keys() == {"held_out", "where"}
    assert sum(row.rows_out for row in rows.values()) == sum(reason is None for reason in kept.values())
    everything = select(workspace, "all", SelectSettings(held_out=True), pool)
    assert set(found(workspace, everything["folder"]).values()) == {None}


def test_a_subquery_of_the_predicate_sees_the_whole_workspace(pool: Pool, workspace: Workspace) -> None:
    made = fixed(60)
    write(workspace, made, 3)
    above = SelectSettings(where="tokens > (SELECT avg(tokens) FROM scored)")
    result = select(workspace, "above", above, pool)
    mean = sum(d.tokens for d in made) / len(made)
    kept = found(workspace, result["folder"])
    assert {d.id for d in made if kept["web", d.id] is None} == {
        d.id for d in made if d.tokens > mean and not d.held_out
    }


def test_a_predicate_without_an_end_is_given_up_where_it_is_tried_and_in_tasks(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(workspace, fixed(20), 2)
    forever = "(WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r)"
    alone, by_row = f"tokens > {forever}", f"CASE WHEN tokens > 0 THEN {forever} > 0 END"
    with Pool(Compute(workers=1, task_minutes=0.08), workspace) as pool:
        monkeypatch.setenv("TAMIS_TASK_MINUTES", "0.01")
        with pytest.raises(UserError, match=r"predicate .*: not through after 0.6 s, and given up; TAMIS_TASK_MINUTES"):
            select(workspace, "endless", SelectSettings(where=alone), pool)
        # What is tried on no rows may pass: tasks have their own limit.
        monkeypatch.setattr("pipeline.select.run.check_predicate", lambda *_: None)
        with pytest.raises(ValueError, match=r"not through after 0\.1 minutes, and stopped in "):
            select(workspace, "endless", SelectSettings(where=by_row), pool)


def test_a_source_with_too_little_gives_all_and_says_what_is_short(pool: Pool, workspace: Workspace) -> None:
    made = [Document("web", f"d{i}", "wiki" if i < 5 else "blog", 1 / (i + 1), 10) for i in range(100)]
    write(workspace, made, 2)
    result = select(workspace, "mix", SelectSettings(by="quality", budget="400 tokens", shares={"wiki": 0.5}), pool)
    cuts = {cut["source"]: cut for cut in result["cuts"]}
    assert (cuts["wiki"]["kept"], cuts["wiki"]["short"]) == (50, 150)
    assert (cuts[None]["kept"], cuts[None]["short"]) == (200, 0)
    assert cuts[None]["last_score_in"] == 1 / 25
    assert cuts[None]["first_score_out"] == 1 / 26


def test_a_selection_that_is_there_is_not_made_again_and_a_lost_file_is(pool: Pool, workspace: Workspace) -> None:
    write(workspace, fixed(), 3)
    chosen = SelectSettings(by="quality", budget="100 documents")
    first = select(workspace, "best", chosen, pool)
    assert select(workspace, "best", chosen, pool) == first
    stage = select_stage(workspace, "best", chosen)
    assert saved(workspace.store, stage.folder)["info"]["result"] == first  # type: ignore[index]
    assert len(ledger.read(workspace.store, f"{stage.folder}/web")) == 3
    lost = f"{stage.folder}/web/part-00001-of-00003.parquet"
    before = workspace.store.read_bytes(lost)
    workspace.store.remove(lost)
    assert select(workspace, "best", chosen, pool) == first
    assert workspace.store.read_bytes(lost) == before
    assert len(ledger.read(workspace.store, f"{stage.folder}/web")) == 4


def test_missing_scores_are_refused_by_name_or_become_rejects(pool: Pool, tmp_path: Path) -> None:
    workspace = small(f"{tmp_path}/w")
    chosen = SelectSettings(corpora=["web"], by="preselect_score", budget="50% documents")
    with pytest.raises(UserError, match=r"part-00001-of-00003 failed: model went away.*--allow-missing"):
        select(workspace, "best", chosen, pool)
    result = select(workspace, "best", chosen.model_copy(update={"allow_missing": True}), pool)
    reasons = list(found(workspace, result["folder"]).values())
    assert reasons.count("missing_scores") == 10
    assert reasons.count(None) == 15
    assert list(result["missing"].values()) == [["part-00001-of-00003"]]
    # The scores arrive: the same settings are another selection now.
    folder = shown_stages(workspace.corpus("web"))["preselect"].folder
    assert folder in result["missing"]


def test_a_corpus_with_a_failed_shard_is_refused(pool: Pool, workspace: Workspace) -> None:
    write(workspace, fixed(40), 2)
    record(workspace, "corpora/web", "part-00001-of-00002", attempt=2, status="failed", error="disk gone")
    with pytest.raises(UserError, match=r"corpora/web lacks 1 shards \(part-00001-of-00002 failed: disk gone\)"):
        select(workspace, "best", SelectSettings(by="quality", budget="5 documents"), pool)
    chosen = SelectSettings(by="quality", budget="5 documents", allow_missing=True)
    result = select(workspace, "best", chosen, pool)
    assert sum(c["documents"] for c in result["sources"]["web"].values()) == 20


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"by": "qualty", "budget": "5 documents"}, "by: corpus 'web' has no column 'qualty'; did you mean 'quality'"),
        ({"by": "quality", "budget": "5M chars"}, "no column 'chars'; `tamis score lengths --corpus web` makes it"),
        ({"by": "source", "budget": "5 documents"}, "cannot rank by a column of type string"),
        ({"where": "qualty > 1"}, "there is no column \"?'?qualty"),
        ({"where": "random() < 0.5"}, "another answer each time"),
        ({"corpora": ["nope"]}, "no corpus 'nope'"),
    ],
)
def test_a_mistake_is_one_clear_line(pool: Pool, workspace: Workspace, chosen: dict[str, Any], message: str) -> None:
    write(workspace, fixed(20), 1)
    with pytest.raises(UserError, match=message) as error:
        select(workspace, "best", SelectSettings(**chosen), pool)
    assert "\n" not in str(error.value)


def test_a_token_budget_without_tokens_names_the_command(pool: Pool, tmp_path: Path) -> None:
    workspace = small(f"{tmp_path}/w")
    chosen = SelectSettings(corpora=["news"], by="preselect_score", budget="5 tokens")
    with pytest.raises(UserError, match="tamis score lengths --tokenizer NAME --corpus news"):
        select(workspace, "best", chosen, pool)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"budget": "2B"}, "expected a number with K, M, B, T or %"),
        ({"budget": "2B words"}, "expected a number"),
        ({"budget": "120% tokens", "by": "q"}, "at most 100%"),
        ({"budget": "2B tokens"}, "needs a ranking"),
        ({"by": "q", "random": 1}, "exclude each other"),
        ({"by": "q", "shares": {"wiki": 0.5}}, "give one"),
        ({"by": "q", "budget": "1 tokens", "shares": {"a": 0.7, "b": 0.7}}, "more than 1"),
        ({"by": "q", "budget": "1 tokens", "caps": {"a": "5 chars"}}, "one unit"),
        ({"by": "q", "caps": {"a": 5}}, "names its unit"),
        ({"bugdet": "2B tokens"}, "did you mean 'budget'"),
    ],
)
def test_wrong_settings_say_what_was_expected(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parsed(SelectSettings, values, "selections.best")


@pytest.mark.parametrize(
    ("text", "units"),
    [("2B tokens", 2 * 10**9), ("1.5k documents", 1500), ("10% chars", 100), ("0.1% tokens", 1), ("5_000 docs", 5000)],
)
def test_amounts_are_exact(text: str, units: int) -> None:
    assert SelectSettings(by="q", budget=text).budget_of(1000) == units
