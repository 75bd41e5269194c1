"""The configs that ship can be read, and PreSelect is a part of a config like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.errors import UserError
from pipeline.preselect.panel import read_panel, scores
from pipeline.run import plan
from pipeline.workspace import Workspace

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("name", ["preselect", "dclm", "fineweb-edu"])
def test_a_released_classifier_has_a_config_with_a_hub_path(name: str) -> None:
    config = load(str(CONFIGS / "released" / f"{name}.yaml"))
    models = [entry.spec.settings.model for entry in config.scores if entry.spec.scorer != "lengths"]
    assert len(models) == 1
    assert models[0].startswith("hf://")
    assert config.selections["best"].by is not None


def test_the_papers_config_has_the_papers_values() -> None:
    config = load(str(CONFIGS / "preselect-paper.yaml"))
    entry = config.preselect["quality"]
    assert (entry.sample.domains, entry.sample.per_domain) == (3000, 300)
    assert (entry.train.lr, entry.train.dim, entry.train.epoch, entry.train.word_ngrams) == (0.1, 100, 5, 2)
    assert entry.labels.rule == "paper"
    assert [score.classifier for score in config.scores] == [None, "quality"]
    assert len(scores(read_panel(entry.panel))["average"]) == 6


def test_a_plan_before_ingest_waits_for_it(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_text('{"id": "a", "text": "one"}\n')
    (tmp_path / "c.yaml").write_text(
        "corpora: {web: {sources: [pool.jsonl]}}\npreselect: {q: {corpus: web, panel: panel.yaml}}\n"
        "scores: [{scorer: preselect, model: q}]\n"
    )
    steps = {(step.kind, step.name): step.state for step in plan(load(str(tmp_path / "c.yaml")), workspace)}
    assert steps[("preselect", "q")] == "waits"
    assert steps[("score", "preselect of web")] == "waits"


def test_a_preselect_entry_names_a_corpus_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("preselect: {q: {corpus: web, panel: panel.yaml}}\n")
    with pytest.raises(UserError, match=r"preselect\.q\.corpus: 'web' is not in this config"):
        load(str(tmp_path / "c.yaml"))
