"""Suspect documents: a committed split gives a p-value, nothing else does."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.membership import documents
from pipeline.membership.documents import compare_documents, make_split, read_split, read_texts, shown
from tests.pipeline.membership.ngram import NgramEngine, settings

NOUNS = "river stone winter market letter garden engine table window forest captain island music paper"


def write(path: Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


@pytest.fixture
def split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    generator = np.random.default_rng(0)
    monkeypatch.setattr("pipeline.membership.documents.secrets.randbits", random.Random(0).getrandbits)
    texts = [" ".join(generator.choice(NOUNS.split(), 20)) + "." for _ in range(80)]
    made = make_split(write(tmp_path / "all.jsonl", [*texts, texts[0]]), str(tmp_path / "s"))
    assert len(made.published) == len(made.held_out) == 40
    return str(tmp_path / "s")


def sides(split: str) -> tuple[list[str], list[str]]:
    return read_texts(f"{split}-published.jsonl"), read_texts(f"{split}-held-out.jsonl")


def reader_of(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "open_engine", lambda chosen: NgramEngine(texts))


def test_a_model_that_has_read_the_published_side_is_found(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    published, held_out = sides(split)
    reader_of(published, monkeypatch)
    found = compare_documents(published, held_out, settings(), split=read_split(f"{split}.json"))
    assert found.p is not None
    assert found.p < 0.001
    assert found.auc > 0.9
    assert "p-value: 0.0001" in shown(found, "mean_nll")


def test_a_model_that_has_read_neither_is_not(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    published, held_out = sides(split)
    reader_of(["nothing of this"], monkeypatch)
    found = compare_documents(published, held_out, settings(), "min_k", split=read_split(f"{split}.json"))
    assert found.p is not None
    assert found.p > 0.05


def test_without_a_split_there_is_a_score_and_no_p_value(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    published, held_out = sides(split)
    reader_of(published, monkeypatch)
    found = compare_documents(published, held_out, settings())
    assert found.p is None
    assert found.auc > 0.9
    assert "p-value: none" in shown(found, "mean_nll")
    assert "no p-value can be given" in shown(found, "mean_nll")


def test_a_split_holds_for_its_own_documents_alone(split: str, tmp_path: Path) -> None:
    published, held_out = sides(split)
    known = read_split(f"{split}.json")
    wrong: list[tuple[Any, Any, str]] = [
        (held_out, published, "40 of 40 suspect documents are not on that side"),
        (published[1:], held_out, "1 documents of the split's suspect side are missing"),
        ([*published, published[0]], held_out, "the same text twice"),
    ]
    for a, b, message in wrong:
        with pytest.raises(UserError, match=message):
            compare_documents(a, b, settings(), split=known)
    with pytest.raises(UserError, match="a split is made once"):
        make_split(write(tmp_path / "b.jsonl", published), split)
    values = json.loads(Path(f"{split}.json").read_text())
    values["published"][0] = values["held_out"][0]
    Path(f"{split}.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="its commitment does not follow from its content"):
        read_split(f"{split}.json")


def test_files_that_hold_no_texts_are_one_clear_line(tmp_path: Path) -> None:
    for content, message in (
        ('{"text": 5}\n', "row 1: 'text' is 5; expected a text"),
        ('{"body": "x"}\n', "row 1: 'text' is None"),
        ("{", "cannot be read as documents"),
    ):
        (tmp_path / "x.jsonl").write_text(content)
        with pytest.raises(UserError, match=message):
            read_texts(str(tmp_path / "x.jsonl"))
    with pytest.raises(UserError, match="cannot be read as documents"):
        read_texts(str(tmp_path / "none.jsonl"))
    with pytest.raises(UserError, match="at least 5 for either side"):
        make_split(write(tmp_path / "few.jsonl", ["a", "b", "c"]), str(tmp_path / "few"))
