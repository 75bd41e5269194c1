"""Comparisons hold the budget equal, keep evaluation apart from training, and give intervals that are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

torch = pytest.importorskip("torch")

from pipeline.errors import UserError  # noqa: E402
from pipeline.trainer.compare import RESULTS, CompareSettings, check_apart, comparison  # noqa: E402
from pipeline.trainer.compare_report import half_width, t_quantile, table_of  # noqa: E402
from tests.pipeline.trainer.networks import LLAMA  # noqa: E402
from tests.pipeline.trainer.packs import packed  # noqa: E402

TRAIN: dict[str, Any] = {
    "data": {"tokenizer": "t.json"},
    "evaluation": {"held_out": {"paths": ["h"]}},
    "model": {"config": LLAMA},
    "tokens": 100,
}


def wanted(**changes: Any) -> Any:
    values = {"name": "c", "train": TRAIN, "selections": {"a": {"paths": ["a"]}, "b": {"paths": ["b"]}}} | changes
    return comparison(CompareSettings.model_validate(values), Path("/base"), "config c")


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.7062), (2, 4.3027), (4, 2.7764), (30, 2.0423), (1000, 1.9623)]
)
def test_quantiles_are_those_of_the_tables(freedom: int, expected: float) -> None:
    assert t_quantile(freedom, 0.95) == pytest.approx(expected, abs=2e-4)


def test_an_interval_holds_the_mean_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    samples = draw.normal(3, 2, (4000, 3))
    inside = [abs(sample.mean() - 3) <= half_width(sample.tolist()) for sample in samples]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


def test_every_selection_is_trained_with_every_seed_at_the_same_budget() -> None:
    made = wanted(seeds=[0, 7])
    assert list(made.runs) == [("a", 0), ("a", 7), ("b", 0), ("b", 7)]
    one = made.runs["b", 7]
    assert (one.name, one.seed, one.tokens, one.data.paths) == ("c.b.7", 7, 100, ["/base/b"])
    assert one.evaluation["held_out"].tokenizer == one.data.tokenizer
    assert made.baseline == "b"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": "bb"}, "did you mean 'b'"),
        ({"seeds": [1, 1]}, "a seed stands twice"),
        ({"train": TRAIN | {"seed": 3}}, "train.seed: a comparison sets it itself"),
        ({"train": TRAIN | {"tokens": None, "steps": 5}}, "equal `tokens`"),
        ({"train": TRAIN | {"evaluation": {}}}, "no `evaluation` set"),
        ({"train": TRAIN | {"contxt": 5}}, "did you mean 'context'"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        wanted(**changes)


def test_documents_that_are_trained_on_are_found_by_id_and_by_text(tmp_path: Path) -> None:
    def pack(name: str, documents: list[list[int]]) -> Any:
        (tmp_path / name).mkdir()
        return packed(tmp_path / name, documents)

    data = pack("data", [[0, 5, 1], [0, 6, 1], [0, 7, 1]])
    with pytest.raises(UserError, match="trains on 1 of 1 documents of evaluation set 'held_out'"):
        check_apart("a", {"data": data, "held_out": pack("same_id", [[0, 9, 1]])})
    other = pack("same_text", [[0, 50, 1], [0, 51, 1], [0, 52, 1], [0, 53, 1], [0, 7, 1]])
    with pytest.raises(UserError, match=r"trains on 4 of 5 .*\(d0, d1, d2, \.\.\.\)"):
        check_apart("a", {"data": data, "held_out": other})


def test_differences_are_taken_within_seeds() -> None:
    rows = [
        {"selection": label, "seed": seed, "set": "held_out", "metric": "bits_per_byte", "value": value}
        | {"step": 9, "tokens": 1000, "epochs": 0.5}
        for label, values in (("good", (1.9, 2.4, 2.9)), ("random", (2.0, 2.5, 3.0)))
        for seed, value in enumerate(values)
    ]
    text = table_of(pa.Table.from_pylist(rows, RESULTS), "random")
    assert "| good | 2.4000 ± 1.2421 | -0.1000 ± 0.0000 | 3 | 1,000 | 0.50 |" in text
    assert "| random | 2.5000 ± 1.2421 |  | 3 | 1,000 | 0.50 |" in text


def test_recipes_change_what_is_not_data_and_label_the_runs() -> None:
    recipes = {"adamw": {}, "frugal": {"methods": [{"method": "frugal"}], "optimizer": {"lr": 5e-4}}}
    train = TRAIN | {"optimizer": {"weight_decay": 0.2}}
    one = wanted(train=train, selections={"a": {"paths": ["a"]}}, recipes=recipes, seeds=[0], baseline="adamw")
    assert list(one.runs) == [("adamw", 0), ("frugal", 0)]
    assert one.runs["adamw", 0].methods == []
    assert one.runs["frugal", 0].methods == [{"method": "frugal"}]
    assert one.runs["frugal", 0].optimizer.model_dump()["lr"] == 5e-4
    assert one.runs["frugal", 0].optimizer.weight_decay == 0.2
    both = wanted(recipes=recipes, seeds=[0], baseline="b.adamw")
    assert [label for label, _ in both.runs] == ["a.adamw", "a.frugal", "b.adamw", "b.frugal"]


def test_recipes_cannot_change_data_or_budget() -> None:
    for key in ("tokens", "data", "seed"):
        with pytest.raises(UserError, match=f"recipes: x: {key}: recipes are compared on the same data"):
            wanted(selections={"a": {}}, recipes={"x": {key: 1}, "y": {}})
    with pytest.raises(ValueError, match="nothing to compare"):
        CompareSettings.model_validate({"name": "c", "train": TRAIN, "selections": {"a": {}}, "recipes": {"x": {}}})
