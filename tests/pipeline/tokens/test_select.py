"""Selections from a token table, against plain Python, whatever the shards."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.execute import Pool
from pipeline.shards import read_narrow
from pipeline.tokens.ranking import part_of
from pipeline.tokens.select import select_tokens, shown
from pipeline.tokens.settings import SelectTokensSettings
from pipeline.workspace import Workspace
from tests.pipeline.tokens.tables import documents, write_table

ROWS = documents(60)
PROMPT = ("mass_system", "mass_user", "mass_earlier", "mass_sink")


def chosen(workspace: Workspace, pool: Pool, **settings: Any) -> dict[str, dict[str, Any]]:
    """{id: row} of a selection."""
    checked = SelectTokensSettings.model_validate({"corpus": "chat"} | settings)
    summary = select_tokens(workspace, "one", checked, pool)
    rows = workspace.rows(summary["folder"])
    tables = [read_narrow(workspace.store, f"{summary['folder']}/{shard}.parquet") for shard in sorted(rows)]
    found = {row["id"]: row for table in tables for row in table.to_pylist()}
    for row in found.values():  # NaN is not equal to itself
        row["score"] = row["score"] and [None if math.isnan(value) else value for value in row["score"]]
    assert sum(row["n_selected"] for row in found.values()) == summary["kept"]
    return found


def taking_part() -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in ROWS if row["reason"] is None and not row["held_out"]}


def competing(row: dict[str, Any], method: str, gamma: float = 0.5, sinks: bool = True) -> dict[int, float]:
    """{position: score} of a document, by the definitions."""
    answers = [i for i, learns in enumerate(row["loss_mask"]) if learns]
    rel = {i: row["nll_earlier"][i] - row["nll_later"][i] for i in answers}
    prompt = {i: sum(row[name][i] for name in (PROMPT if sinks else PROMPT[:3])) for i in answers}
    if method == "attention":
        return prompt
    rel = {i: v for i, v in rel.items() if not math.isnan(v)}
    if method != "sstoken":
        return rel
    low, high = min(rel.values(), default=0), max(rel.values(), default=0)
    return {i: gamma * (v - low) / (high - low + 1e-8) + (1 - gamma) * prompt[i] for i, v in rel.items()}


def kept(row: dict[str, Any], column: str = "selected") -> set[int]:
    return {i for i, keep in enumerate(row[column]) if keep}


@pytest.mark.parametrize("settings", [{}, {"gamma": 0.25, "sinks": "leave_out"}, {"method": "loss", "rho": 0.3}])
def test_of_each_sample_the_best_tokens_are_kept_rounded_up(
    workspace: Workspace, pool: Pool, settings: dict[str, Any]
) -> None:
    write_table(workspace, ROWS)
    found = chosen(workspace, pool, **settings)
    assert len(found) == len(ROWS)
    for name, row in taking_part().items():
        sinks = settings.get("sinks") != "leave_out"
        scores = competing(row, settings.get("method", "sstoken"), settings.get("gamma", 0.5), sinks)
        own = kept(found[name])
        assert len(own) == math.ceil(round(settings.get("rho", 0.6) * len(scores), 9)) == found[name]["n_selected"]
        assert own <= scores.keys()
        others = scores.keys() - own
        if own and others:
            assert min(scores[i] for i in own) >= max(scores[i] for i in others) - 1e-6
        assert len(kept(found[name], "control")) == len(own)
        np.testing.assert_allclose([found[name]["score"][i] for i in scores], list(scores.values()), atol=1e-5)


def test_documents_without_tokens_or_held_out_take_no_part_and_say_why(workspace: Workspace, pool: Pool) -> None:
    write_table(workspace, ROWS)
    for name, row in chosen(workspace, pool).items():
        if name in taking_part():
            assert row["reason"] is None
        else:
            assert row["selected"] is None
            assert row["reason"] == (next(r for r in ROWS if r["id"] == name)["reason"] or "held_out")


@pytest.mark.parametrize(("method", "rounding"), [("cleaning", "floor"), ("rho1", "ceil")])
def test_over_all_the_share_is_exact_and_the_same_for_any_shards(
    workspace: Workspace, pool: Pool, tmp_path: Any, method: str, rounding: str
) -> None:
    write_table(workspace, ROWS, shards=3)
    found = chosen(workspace, pool, method=method, stronger="later", rho=0.37)
    scores = {(n, i): s for n, row in taking_part().items() for i, s in competing(row, "loss").items()}
    own = {(n, i) for n, row in found.items() if row["selected"] for i in kept(row)}
    exact = round(0.37 * len(scores), 9)
    assert len(own) == (math.floor if rounding == "floor" else math.ceil)(exact)
    assert min(scores[t] for t in own) >= max(scores[t] for t in scores.keys() - own)
    control = {(n, i) for n, row in found.items() if row["selected"] for i in kept(row, "control")}
    assert len(control) == len(own)
    assert control != own
    other = Workspace(f"{tmp_path}/other")
    write_table(other, ROWS, shards=1)
    assert chosen(other, pool, method=method, stronger="later", rho=0.37) == found


def test_batches_are_of_a_size_and_each_keeps_its_share(workspace: Workspace, pool: Pool, tmp_path: Any) -> None:
    write_table(workspace, ROWS)
    settings = {"method": "rho1", "stronger": "later", "scope": "batch", "batch": 7, "seed": 3}
    found = chosen(workspace, pool, **settings)
    names = [name for name, row in taking_part().items() if competing(row, "loss")]
    order = np.random.Generator(np.random.Philox(3)).permutation(len(names))
    for first in range(0, len(names), 7):
        scores = {
            (names[i], t): s
            for i in order[first : first + 7]
            for t, s in competing(taking_part()[names[i]], "loss").items()
        }
        own = {(n, t) for n, t in scores if found[n]["selected"][t]}
        assert len(own) == math.ceil(round(0.6 * len(scores), 9))
        assert min(scores[t] for t in own) >= max((scores[t] for t in scores.keys() - own), default=-9)
        assert sum(len(kept(found[n], "control")) for n in {n for n, _ in scores}) == len(own)
    other = Workspace(f"{tmp_path}/other")
    write_table(other, ROWS, shards=5)
    assert chosen(other, pool, **settings) == found


def test_parts_share_out_the_documents(workspace: Workspace, pool: Pool) -> None:
    write_table(workspace, ROWS)
    seen: set[str] = set()
    for part in range(3):
        found = chosen(workspace, pool, method="cleaning", stronger="later", part=[part, 3])
        mine = {name for name, row in found.items() if row["reason"] is None}
        assert mine == {name for name in taking_part() if part_of(name, 3, 0) == part}
        assert seen.isdisjoint(mine)
        seen |= mine
    assert seen == set(taking_part())


def test_equal_scores_are_kept_by_chance_alone(workspace: Workspace, pool: Pool) -> None:
    rows = [row | {"nll_later": row["nll_earlier"]} for row in ROWS]
    write_table(workspace, rows)
    first = chosen(workspace, pool, method="loss", seed=0)
    second = chosen(workspace, pool, method="loss", seed=1)
    assert first != second
    places = [i / len(row["selected"]) for row in first.values() if row["selected"] for i in kept(row)]
    every = [i / len(row["loss_mask"]) for row in taking_part().values() for i, x in enumerate(row["loss_mask"]) if x]
    assert abs(np.mean(places) - np.mean(every)) < 0.05  # not the first ones


def test_what_the_table_lacks_is_named(workspace: Workspace, pool: Pool) -> None:
    write_table(workspace, ROWS)
    with pytest.raises(UserError, match=r"compares earlier and reference, and .* has losses of earlier, later"):
        chosen(workspace, pool, method="rho1")
    with pytest.raises(UserError, match=r"no token table 'other' \(there: tokens"):
        chosen(workspace, pool, scores="other")
    with pytest.raises(ValueError, match="the same checkpoint"):
        SelectTokensSettings(corpus="chat", weaker="later")


def test_a_file_that_another_stage_made_is_refused(workspace: Workspace, pool: Pool) -> None:
    table = write_table(workspace, ROWS)
    file = table.file(table.shards[0])
    write_table(other := Workspace(f"{workspace.url}-other"), documents(61))
    data = other.store.read_bytes(f"{next(iter(other.stages('tokens/chat')))}/{table.shards[0]}.parquet")
    whole = workspace.store.read_bytes(file)
    workspace.store.write_bytes(file, data)
    with pytest.raises(UserError, match="is not of tokens/chat"):
        table.read(table.shards[0])
    workspace.store.write_bytes(file, whole)
    assert table.read(table.shards[0], ["id"]).num_rows == 20


def test_the_summary_counts_what_is_there(workspace: Workspace, pool: Pool) -> None:
    write_table(workspace, ROWS)
    settings = SelectTokensSettings(corpus="chat", rho=0.5)
    summary = select_tokens(workspace, "half", settings, pool)
    assert sum(summary["histogram_kept"]) == summary["kept"]
    assert sum(summary["histogram_other"]) == summary["tokens"] - summary["kept"]
    assert summary["mean_score_kept"] > summary["mean_score"]
    assert f"{summary['kept']:,} of {summary['tokens']:,} response tokens kept" in shown(summary)
    assert select_tokens(workspace, "half", settings, pool) == summary
    assert {row.attempt for row in workspace.rows(summary["folder"]).values()} == {1}
