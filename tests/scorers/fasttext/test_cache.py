"""Folded tables are kept for the next process: the same scores without folding, and none of a damaged or old file."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from scorers.fasttext import cache, classifier
from scorers.fasttext.classifier import load_classifier

KINDS = ["softmax2.bin", "hs7.bin", "ova7.bin", "subwords.bin", "wide.bin", "pruned.ftz", "unigrams.bin"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tables are kept, of models of any size."""
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "LEAST", 0)
    return tmp_path / "cache" / "folded"


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were folded."""
    seen: list[str] = []
    fold = classifier._fold

    def counted(model):
        seen.append(model.path)
        return fold(model)

    monkeypatch.setattr(classifier, "_fold", counted)
    return seen


def scores(path: Path, documents: list[str]) -> pa.Table:
    return load_classifier(path).probabilities(pa.array(documents[:200]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_folded_once_and_scores_the_same_ever_after(models, documents, folder, folds, kind):
    first = scores(models / kind, documents)
    assert scores(models / kind, documents).equals(first)
    assert folds == [str(models / kind)]
    assert len(list(folder.iterdir())) == 1


def test_a_damaged_file_of_tables_is_made_again(models, documents, folder, folds):
    path = models / "softmax2.bin"
    first = scores(path, documents)
    (file,) = folder.iterdir()
    whole, rng = file.read_bytes(), random.Random(1)
    damages: list[Callable[[bytearray], object]] = [lambda b: b.clear(), lambda b: b.__delitem__(slice(-1, None))]
    for at in [0, 15, 16, 24, *(rng.randrange(len(whole)) for _ in range(6))]:
        damages.append(lambda b, at=at: b.__setitem__(at, b[at] ^ 1 << rng.randrange(8)))
    for number, damage in enumerate(damages, 1):
        damaged = bytearray(whole)
        damage(damaged)
        file.write_bytes(damaged)
        assert scores(path, documents).equals(first)
        assert len(folds) == 1 + number
        assert file.read_bytes() == whole


def test_another_model_under_the_same_name_gets_tables_of_its_own(models, documents, folder, folds, tmp_path):
    path = tmp_path / "model.bin"
    shutil.copyfile(models / "softmax2.bin", path)
    first = scores(path, documents)
    shutil.copyfile(models / "sharp.bin", path)
    assert not scores(path, documents).equals(first)
    assert len(folds) == 2


def test_a_model_that_changes_while_it_is_folded_is_not_kept(models, folder, tmp_path, monkeypatch):
    path, fold = tmp_path / "model.bin", classifier._fold
    shutil.copyfile(models / "softmax2.bin", path)

    def changed(model):
        made = fold(model)
        os.utime(path, ns=(1, 1))
        return made

    monkeypatch.setattr(classifier, "_fold", changed)
    load_classifier(path)
    assert not folder.exists()


def test_where_nothing_can_be_kept_a_model_is_folded_each_time(models, documents, folds, folder, monkeypatch):
    monkeypatch.setenv("TAMIS_CACHE", "/proc/nowhere")
    assert scores(models / "softmax2.bin", documents).equals(scores(models / "softmax2.bin", documents))
    assert len(folds) == 2


def test_the_tables_used_last_are_kept(models, folder, folds, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 2)
    paths = [tmp_path / f"{i}.bin" for i in range(3)]
    for i, path in enumerate(paths):
        shutil.copyfile(models / "softmax2.bin", path)
        load_classifier(path)
        for file in folder.iterdir():  # a clock of coarse grain must not decide
            os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns - (2 - i) * 10**9))
    assert len(list(folder.iterdir())) == 2
    load_classifier(paths[2])
    assert len(folds) == 3
    load_classifier(paths[0])
    assert len(folds) == 4


def test_small_models_leave_nothing_behind(models, tmp_path, monkeypatch):
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    load_classifier(models / "softmax2.bin")
    assert not (tmp_path / "cache").exists()
