"""Panel files: typed scores, scores of lm-evaluation-harness, and what is refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import yaml

from pipeline.errors import UserError
from pipeline.execute import Pool
from pipeline.preselect.losses import make_losses
from pipeline.preselect.panel import read_panel, scores
from pipeline.preselect.sample import make_sample
from pipeline.preselect.settings import SampleSettings
from pipeline.workspace import Workspace
from tests.pipeline.preselect.helpers import panel, web


def _panel(tmp_path: Path, **values: object) -> str:
    file = tmp_path / "panel.yaml"
    file.write_text(yaml.safe_dump(values))
    return str(file)


def _results(folder: Path, accuracy: float, name: str = "results_2026-01-01.json") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "results": {
            "hellaswag": {
                "alias": "hellaswag",
                "acc,none": 0.1,
                "acc_norm,none": accuracy,
                "acc_norm_stderr,none": 0.01,
            },
            "wikitext": {"bits_per_byte,none": 0.9},
        },
        "higher_is_better": {"hellaswag": {"acc_norm": True}, "wikitext": {"bits_per_byte": False}},
    }
    (folder / name).write_text(json.dumps(content))


def test_scores_are_read_from_the_newest_results_of_the_harness(tmp_path: Path) -> None:
    _results(tmp_path / "a" / "org__model", 0.2, "results_2025-01-01.json")
    _results(tmp_path / "a" / "org__model", 0.4)
    _results(tmp_path / "b", 0.6)
    models = [{"name": name, "model": name, "results": name} for name in "ab"]
    path = _panel(tmp_path, models=models, benchmarks={"hellaswag": "acc_norm", "wikitext": "bits_per_byte"})
    assert scores(read_panel(path)) == {"hellaswag": [0.4, 0.6], "wikitext": [-0.9, -0.9]}
    assert scores(read_panel(path), ["hellaswag"]) == {"hellaswag": [0.4, 0.6]}


@pytest.mark.parametrize(
    ("models", "more", "message"),
    [
        ([{"name": "a", "model": "a", "scores": {"x": 1}}], {}, "models"),
        ([{"name": "a", "model": "a", "scores": {"x": 1}}] * 2, {}, "two models are called 'a'"),
        (
            [{"name": "a", "model": "a"}, {"name": "b", "model": "b", "scores": {"x": 1}}],
            {},
            "give `scores` or `results`",
        ),
        ([{"name": n, "model": n, "scores": {"x": 1}} for n in "ab"], {"dtyp": "float32"}, "did you mean 'dtype'"),
    ],
)
def test_a_wrong_panel_is_one_clear_line(tmp_path: Path, models: list, more: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_panel(_panel(tmp_path, models=models, **more))


def test_every_model_needs_the_same_benchmarks(tmp_path: Path) -> None:
    models = [{"name": "a", "model": "a", "scores": {"quiz": 1}}, {"name": "b", "model": "b", "scores": {"quizz": 1}}]
    with pytest.raises(UserError, match="model 'a' has none on 'quizz'; did you mean 'quiz'"):
        scores(read_panel(_panel(tmp_path, models=models)))


def test_a_metric_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in "ab":
        _results(tmp_path / name, 0.5)
    models = [{"name": name, "model": name, "results": name} for name in "ab"]
    with pytest.raises(UserError, match="'hellaswag' has no metric 'acc_nrm'; did you mean"):
        scores(read_panel(_panel(tmp_path, models=models, benchmarks={"hellaswag": "acc_nrm"})))


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_a_panel_says_what_to_install(workspace: Workspace, pool: Pool) -> None:
    sample = make_sample(web(workspace), SampleSettings(domains=1, per_domain=2), pool)
    with pytest.raises(UserError, match=r"pip install 'tamis\[lm\]'"):
        make_losses(sample, panel(), pool)
