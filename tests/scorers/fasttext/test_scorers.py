"""The two scorer modules: preselect and fasttext."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

import scorers.fasttext
from scorers.fasttext import labels, preselect
from scorers.texts import Texts

ARRAY = pa.array(["the list of returns", "", None, "a file object"])
TEXTS = Texts.from_arrow(ARRAY)


def files(path: Path) -> dict[str, str]:
    return {"model": str(path)}


@pytest.mark.parametrize("kind", ["softmax2.bin", "softmax7.bin", "ova7.bin", "hs2.bin", "hs7.bin", "ns7.bin"])
@pytest.mark.parametrize("label", ["0", "1"])
def test_the_score_is_the_probability_of_the_label_and_the_logit_its_logit(models: Path, kind: str, label: str) -> None:
    scorer = preselect.load(preselect.Settings(model="m", label=label), files(models / kind), "q")
    assert scorer.schema == pa.schema([("q_score", pa.float32()), ("q_logit", pa.float32())])
    score, logit = scorer.score(TEXTS)
    assert score.equals(
        scorers.fasttext.load(models / kind).probabilities(pa.array(ARRAY.fill_null("")))[label].chunk(0)
    )
    p = score.to_numpy().astype(float)
    assert np.allclose(1 / (1 + np.exp(-logit.to_numpy().astype(float))), p, atol=1e-6)


def test_the_logit_still_tells_documents_apart_where_the_score_is_one(models: Path) -> None:
    from dataclasses import replace

    scorer = preselect.load(preselect.Settings(model="m"), files(models / "softmax2.bin"))
    table = scorer.model.rows.table * np.float32(1e8)
    scorer = replace(scorer, model=replace(scorer.model, rows=scorer.model.rows._replace(table=table)))
    texts = Texts.from_arrow(pa.array(["the list of returns", "a file object", "return the value"]))
    score, logit = scorer.score(texts)
    assert set(score.to_pylist()) <= {0.0, 1.0}
    assert len(set(logit.to_pylist())) == 3


def test_a_missing_label_is_an_error_that_lists_the_labels(models: Path) -> None:
    with pytest.raises(ValueError, match="no label 'good'; its labels are 0, 1;"):
        preselect.load(preselect.Settings(model="m", label="good"), files(models / "softmax2.bin"))


def test_zero_eos_takes_the_weight_of_eos_and_nothing_else(models: Path) -> None:
    path = models / "softmax2.bin"
    plain = preselect.load(preselect.Settings(model="m"), files(path))
    zeroed = preselect.load(preselect.Settings(model="m", zero_eos=True), files(path))
    table, eos = plain.model.rows.table, plain.model.tables.eos
    texts = Texts.from_arrow(pa.array(["the list of returns", "</s>"]))
    counts = plain.model.logits(texts)[1]
    difference = plain.model.logits(texts)[0] - zeroed.model.logits(texts)[0]
    assert np.allclose(difference[:, 0], table[eos] / counts, rtol=1e-6)
    assert table[eos] != 0
    assert zeroed.score(texts)[1][1].as_py() == 0


def test_zero_eos_holds_where_rows_are_summed_exactly(models: Path) -> None:
    model = scorers.fasttext.load(models / "softmax7.bin").without_eos()
    text = "the list of returns " * 300  # above the limit of repeats: the library's own sums
    folded, counts = model.logits(Texts.from_arrow(pa.array([text[:2000]])))
    exact, _ = model.logits(Texts.from_arrow(pa.array([text])))
    assert counts[0] > 0
    assert np.isfinite(folded).all()
    with_eos, _ = scorers.fasttext.load(models / "softmax7.bin").logits(Texts.from_arrow(pa.array([text])))
    assert not np.array_equal(exact, with_eos)


def test_a_column_per_label_in_the_order_of_the_file(models: Path) -> None:
    scorer = labels.load(labels.Settings(model="m"), files(models / "softmax7.bin"), "topic")
    expected = scorers.fasttext.load(models / "softmax7.bin").probabilities(ARRAY.fill_null(""))
    assert scorer.schema.names == [f"topic_{label}" for label in expected.column_names]
    assert [column.to_pylist() for column in scorer.score(TEXTS)] == [c.to_pylist() for c in expected.columns]
    assert [len(column) for column in scorer.score(Texts.from_arrow(pa.array([], pa.string())))] == [0] * 7


@pytest.mark.parametrize("kind", ["softmax7.bin", "many.bin", "qout.ftz"])
@pytest.mark.parametrize("top", [1, 3, 1000])
def test_top_lists_the_most_probable_labels_first_and_ties_by_name(models: Path, kind: str, top: int) -> None:
    scorer = labels.load(labels.Settings(model="m", top=top), files(models / kind), "topic")
    assert scorer.schema.names == ["topic_labels", "topic_probabilities"]
    found = scorer.score(TEXTS)
    assert [column.type for column in found] == scorer.schema.types
    table = scorers.fasttext.load(models / kind).probabilities(ARRAY.fill_null(""))
    for i, row in enumerate(table.to_pylist()):
        expected = sorted(row.items(), key=lambda item: (-item[1], item[0]))[:top]
        assert found[0][i].as_py() == [name for name, _ in expected]
        assert found[1][i].as_py() == [value for _, value in expected]


def test_top_of_no_documents_is_two_empty_lists(models: Path) -> None:
    scorer = labels.load(labels.Settings(model="m", top=2), files(models / "softmax7.bin"))
    found = scorer.score(Texts.from_arrow(pa.array([], pa.string())))
    assert [len(column) for column in found] == [0, 0]
    assert [column.type for column in found] == scorer.schema.types


def test_many_labels_without_top_are_an_error_that_tells_of_top(models: Path) -> None:
    with pytest.raises(ValueError, match=r"300 labels are too many .* top"):
        labels.load(labels.Settings(model="m"), files(models / "many.bin"))


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValidationError):
        preselect.Settings(model="m", colour="red")
    with pytest.raises(ValidationError):
        labels.Settings(model="m", top=0)


def test_settings_import_neither_numba_nor_numpy_nor_the_library() -> None:
    program = (
        "import sys, scorers, scorers.fasttext, scorers.fasttext.preselect, scorers.fasttext.labels\n"
        "found = {'numba', 'numpy', 'pyarrow', 'fasttext'} & set(sys.modules)\n"
        "assert not found, found"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
