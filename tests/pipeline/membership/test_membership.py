"""Registries against a model that has read some of their identifiers: what is found, refused, resumed, kept secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ShardsFailed, UserError
from pipeline.ghosts.draw import DrawSettings
from pipeline.ghosts.registry import Registry, note_insertions
from pipeline.membership import run as running
from pipeline.membership.calibrate import calibrate, fresh
from pipeline.membership.settings import LastKSettings, TestSettings
from pipeline.membership.shown import calibration, shown
from pipeline.membership.steps import run_test
from pipeline.sql import query
from pipeline.status import status
from pipeline.workspace import Workspace
from scorers.lm.engines import EngineError
from tests.pipeline.membership.ngram import NgramEngine, settings
from tests.registries import drawn

PROSE = "The tamis is a drum sieve. It sorts flour from bran. The ghost sentence of this text is the old one. " * 3


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Registry, NgramEngine]]:
    """make(**draw settings): a registry, and a model that has read the first owner's identifiers."""

    def made(text_only: bool = False, **changes: Any) -> tuple[Registry, NgramEngine]:
        path = str(tmp_path / f"r{len(list(tmp_path.glob('*.secret')))}.parquet")
        values = {"owners": ("ann", "ben"), "count": 3, "reserve": 4, "m": 199} | changes
        registry = drawn(path, DrawSettings(**values))
        mine = [one for one in registry.active if one.owner == "ann"]
        engine = NgramEngine([PROSE, *(one.sentence for one in mine)], text_only)
        note_insertions(registry, "marked", {one.id: (1, 1) for one in mine})
        monkeypatch.setattr(running, "open_engine", lambda chosen: engine)
        monkeypatch.setattr(running, "engine_facts", lambda chosen: {"engine": "ngram"})
        monkeypatch.setattr(running, "model_identity", lambda chosen: chosen.model)
        monkeypatch.setattr("pipeline.membership.steps.model_identity", lambda chosen: chosen.model)
        return registry, engine

    return made


def test_of(registry: Registry, **changes: Any) -> TestSettings:
    return TestSettings(registry=registry.path, engine=settings(), **changes)


test_of.__test__ = False  # type: ignore[attr-defined]


def primary(table: Any) -> list[dict[str, Any]]:
    return sorted((row for row in table.to_pylist() if row["primary"]), key=lambda row: row["id"])


def test_what_the_model_has_read_is_found_and_nothing_else(make: Any, workspace: Workspace) -> None:
    registry, _ = make()
    table = run_test(workspace, test_of(registry)).table
    rows = primary(table)
    assert [row["found"] for row in rows] == [row["owner"] == "ann" for row in rows]
    assert {row["p"] for row in rows if row["found"]} == {1 / 200}
    assert {row["copies"] for row in rows if row["owner"] == "ann"} == {1}
    assert all(row["p_adjusted"] >= row["p"] for row in rows)
    others = [row for row in table.to_pylist() if not row["primary"]]
    assert all(row["found"] is None and row["p_adjusted"] is None for row in others)
    words = [row for row in others if row["test"] == "last_k" and row["level"] == "identifier"]
    assert [bool(row["exceedances"]) for row in words] == [row["owner"] == "ann" for row in words]
    assert max(row["p"] for row in words if row["exceedances"]) < 1e-7
    text = shown(table, registry, "the model")
    assert "found: 3 of 6" in text
    assert "exploratory, not corrected" in text


@pytest.mark.parametrize("statistic", ["sum_nll", "centred_nll"])
@pytest.mark.parametrize("unit", ["owner", "registry"])
def test_every_plan_is_tested_as_it_was_committed(make: Any, workspace: Workspace, statistic: str, unit: str) -> None:
    registry, _ = make(statistic=statistic, unit=unit, m=39, count=2)
    rows = primary(run_test(workspace, test_of(registry, last_k=None)).table)
    assert {(row["level"], row["statistic"]) for row in rows} == {(unit, statistic)}
    expected = {"ann": True, "ben": False} if unit == "owner" else {"r0": True}
    assert {row["id"]: row["found"] for row in rows} == expected


def test_the_permutation_null_ranks_among_orders_of_the_same_words(make: Any, workspace: Workspace) -> None:
    registry, _ = make(null="permutation", m=199)
    tested = run_test(workspace, test_of(registry, last_k=None))
    rows = primary(tested.table)
    assert {row["null"] for row in rows} == {"permutation"}
    assert {row["draws"] for row in rows} == {199}
    assert [row["found"] for row in rows] == [row["owner"] == "ann" for row in rows]


def test_draws_go_on_only_where_p_is_small(make: Any, workspace: Workspace) -> None:
    registry, _ = make(m=399)
    rows = primary(run_test(workspace, test_of(registry, first=99, orders=0, last_k=None)).table)
    for row in rows:
        assert row["draws"] == 399 if row["owner"] == "ann" else row["draws"] < 399
        assert row["p"] == 1 / 400 if row["owner"] == "ann" else row["p"] > 0.02


def test_a_reference_model_must_be_the_committed_one(make: Any, workspace: Workspace) -> None:
    registry, _ = make(statistic="ratio_nll", reference="clean", m=39, unit="owner")
    with pytest.raises(UserError, match="name that model"):
        run_test(workspace, test_of(registry))
    with pytest.raises(UserError, match="could be chosen after the fact"):
        run_test(workspace, test_of(registry, reference=settings("other")))
    rows = primary(run_test(workspace, test_of(registry, reference=settings("clean"), last_k=None)).table)
    # Here both engines are the same model, so the ratio is 1 for all: nothing may be found.
    assert {row["statistic"] for row in rows} == {"ratio_nll"}
    assert not any(row["found"] for row in rows)


def test_too_few_draws_are_refused_with_the_number_that_is_needed(make: Any, workspace: Workspace) -> None:
    from dataclasses import replace

    registry, _ = make(count=30, m=1199)
    few = replace(registry, plan=replace(registry.plan, m=999))
    with pytest.raises(UserError, match=r"m = 999 null draws none of its 60 tests .* at least m = 1,199"):
        running.check_draws(few)
    running.check_draws(registry)


def test_what_is_done_is_not_scored_again(make: Any, workspace: Workspace) -> None:
    registry, engine = make()
    first = run_test(workspace, test_of(registry))
    scored = engine.scored
    assert run_test(workspace, test_of(registry)).table.equals(first.table)
    assert engine.scored == scored
    folder = first.subject.stage.folder
    workspace.store.remove(f"{folder}/{registry.active[2].id}.parquet")
    assert run_test(workspace, test_of(registry)).table.equals(first.table)
    assert engine.scored == scored + 1 + 199 + 199


def test_a_prompt_that_does_not_fit_fails_its_identifier_alone(make: Any, workspace: Workspace) -> None:
    registry, engine = make()
    broken, whole = registry.active[1].sentence, engine.spans

    def spans(texts: list[str]) -> list[np.ndarray]:
        if broken in texts:
            raise ValueError("no scored token holds characters")
        return whole(texts)

    engine.spans = spans
    with pytest.raises(ShardsFailed, match="1 of 6 shards failed"):
        run_test(workspace, test_of(registry))
    [stage] = status(workspace).stages
    assert (stage.done, len(stage.failed), stage.total) == (5, 1, 6)
    engine.spans = whole
    assert len(primary(run_test(workspace, test_of(registry)).table)) == 6


def test_a_broken_engine_ends_the_run(make: Any, workspace: Workspace) -> None:
    registry, engine = make()

    def gone(ids: list[np.ndarray]) -> list[np.ndarray]:
        raise EngineError("vLLM ended with exit code 3")

    engine.logprobs = gone
    with pytest.raises(EngineError, match="exit code 3"):
        run_test(workspace, test_of(registry))
    [stage] = status(workspace).stages
    assert len(stage.failed) == 1


def test_a_server_of_text_alone_gets_the_last_words_test(make: Any, workspace: Workspace) -> None:
    registry, engine = make(text_only=True)
    tested = run_test(workspace, test_of(registry, last_k=LastKSettings(positions=5)))
    assert engine.scored == 0
    assert not primary(tested.table)
    owners = {row["id"]: row["p"] for row in tested.table.to_pylist() if row["level"] == "owner"}
    assert owners["ann"] < 1e-12
    assert owners["ben"] == 1.0
    assert "was not made: this engine tells no log-probabilities" in shown(tested.table, registry, "m")
    for one in registry.identifiers:
        tail = " ".join(one.words[-2:])
        assert not any(tail in prompt for prompt in engine.prompts)


def test_calibration_holds_although_the_model_has_read_others(make: Any, workspace: Workspace) -> None:
    registry, _ = make()
    tested, table = calibrate(workspace, registry, test_of(registry, orders=19), count=40, m=39)
    rows = table.to_pylist()
    assert all(row["holds"] for row in rows)
    assert {(row["test"], row["tests"]) for row in rows} == {("rank", 40), ("sequential", 40), ("owner", 10)}
    assert "every count is within its limit" in calibration(table, registry.path, "m")
    ids = [one.id for one in tested.identifiers]
    assert ids[:8] == [one.id for one in registry.reserves]
    assert len(set(ids)) == 40
    phrases = {one.phrase for one in fresh(registry, 40, 0)}
    assert len(phrases) == 40
    assert not phrases & {one.phrase for one in registry.active}


def test_calibration_unmasks_a_model_that_has_read_the_reserves(
    make: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, _ = make(reserve=10)
    engine = NgramEngine([PROSE, *(one.sentence for one in registry.reserves)])
    monkeypatch.setattr(running, "open_engine", lambda chosen: engine)
    _, table = calibrate(workspace, registry, test_of(registry, orders=0), count=20, m=39)
    assert not all(table["holds"].to_pylist())
    assert "do not trust this test" in calibration(table, registry.path, "m")


def test_results_and_draws_are_in_sql_without_any_corpus(make: Any, workspace: Workspace) -> None:
    registry, _ = make()
    run_test(workspace, test_of(registry), "mine")
    found = query(workspace, "SELECT id FROM membership WHERE found ORDER BY id")["id"].to_pylist()
    assert found == sorted(one.id for one in registry.active if one.owner == "ann")
    [row] = query(
        workspace,
        "SELECT name, count(*) AS n, count(DISTINCT id) AS ids FROM membership_draws WHERE kind = 'null' GROUP BY name",
    ).to_pylist()
    assert row == {"name": "mine", "n": 6 * 199, "ids": 6}


def test_no_phrase_is_written_anywhere(make: Any, workspace: Workspace) -> None:
    registry, _ = make()
    run_test(workspace, test_of(registry))
    for path in Path(workspace.url).rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(
                one.phrase.encode() in data or one.words[-1].encode() + b" " in data for one in registry.active
            )
