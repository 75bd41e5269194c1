"""Labels by a judge as one entry of a config, which ends in a classifier that `scores` may name.

labels:
  taught: {corpus: web, judge: judge.yaml, sample: {domains: 500}, labels: {positive: 0.2, negative: 0.4}}
scores:
  - {scorer: preselect, model: taught}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipeline.classifier import MODEL, model_file
from pipeline.config_errors import parsed
from pipeline.execute import Compute, Pool
from pipeline.label.ask import ask_stage, batch_names
from pipeline.label.cost import Cost, cost, measured_rate, prompts, refine_prompts, shown
from pipeline.label.judges import voice_of
from pipeline.label.label import FRAME, labels_stage, make_labels, refine_stage
from pipeline.label.settings import JudgeSettings
from pipeline.preselect.sample import count_sample, find_sample, make_sample
from pipeline.preselect.settings import LabelSettings, SampleSettings
from pipeline.preselect.steps import Step, sample_step, teach
from pipeline.preselect.train import train_stage
from pipeline.workspace import Workspace
from pipeline.yaml_file import changed, placed, read_yaml
from scorers.fasttext.train import TrainSettings


class JudgedLabels(LabelSettings):
    """Utilities have no natural cut as strengths have at 1: shares from both ends."""

    by: str = "judge"
    rule: Literal["paper", "quantile"] = "quantile"


class LabelsSettings(BaseModel):
    """What every stage is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str
    judge: str
    """judge file, see settings.JudgeSettings"""
    sample: SampleSettings = SampleSettings()
    labels: JudgedLabels = JudgedLabels()
    train: TrainSettings = TrainSettings()


def read_judge(path: str, changes: Sequence[str] = ()) -> JudgeSettings:
    """A judge file with KEY=VALUE texts set in it; folders of models are relative to it. Raises UserError."""
    values = changed(read_yaml(path, "judge"), changes, "--set")
    settings = parsed(JudgeSettings, values, f"judge {path}")
    base = Path(path).absolute().parent
    judges = []
    for judge in settings.judges:
        values = {key: getattr(judge, key) for key in ("model", "tokenizer", "python")}
        there = {k: placed(v, base) for k, v in values.items() if v is not None and Path(placed(v, base)).exists()}
        judges.append(judge.model_copy(update=there))
    return settings.model_copy(update={"judges": judges})


def expected_cost(
    workspace: Workspace, corpus: str, sample: SampleSettings, settings: JudgeSettings
) -> tuple[Cost, float | None]:
    """Prompts and tokens, with every excerpt as long as it may be, and tokens per second if known; starts nothing."""
    voices = [voice_of(judge, settings) for judge in settings.judges]
    rates = [measured_rate(workspace, voice.identity) or settings.tokens_per_second for voice in voices]
    rate = None if None in rates else len(rates) / sum(1 / one for one in rates if one)
    overhead = max(len(voice.asker.ids(settings.rubric)) + FRAME for voice in voices)
    return cost(count_sample(workspace.corpus(corpus), sample), settings, overhead), rate


def known_steps(workspace: Workspace, name: str, settings: LabelsSettings) -> list[Step]:
    """The stages as far as they can be named: those after the sample need it to be there. Fetches the models."""
    corpus = workspace.corpus(settings.corpus)
    steps = [sample_step(corpus, settings.sample)]
    sample = find_sample(corpus, settings.sample)
    if sample is None:
        return steps
    judge = read_judge(settings.judge)
    voices = [voice_of(one, judge) for one in judge.judges]
    documents = sum(row.rows_out for row in sample.rows.values())
    for one, voice in zip(judge.judges, voices, strict=True):
        first = ask_stage(sample, one, voice, judge)
        steps.append(Step(first, batch_names(prompts(documents, judge), judge)))
        if judge.refine is not None:
            more = refine_stage(sample, one, voice, judge, first)
            steps.append(Step(more, batch_names(refine_prompts(documents, judge), judge)))
    made = labels_stage(sample, judge, voices, name)
    trained = train_stage(sample, {"hash": made.hash}, settings.labels, settings.train, name)
    return [*steps, Step(made, sample.shards), Step(trained, ["model"], MODEL)]


def price(workspace: Workspace, settings: LabelsSettings) -> str:
    """One line on what the answers will cost."""
    return shown(*expected_cost(workspace, settings.corpus, settings.sample, read_judge(settings.judge)))


def trained_model(workspace: Workspace, name: str, settings: LabelsSettings) -> str | None:
    """Path or URL of the classifier, None while it is not made."""
    last = known_steps(workspace, name, settings)[-1]
    return model_file(workspace, last.stage) if last.file == MODEL else None


def make_labelled(workspace: Workspace, name: str, settings: LabelsSettings, pool: Pool) -> str:
    """Make what is not made yet; the path or URL of the classifier. The caller holds the lock."""
    sample = make_sample(workspace.corpus(settings.corpus), settings.sample, pool)
    judge = read_judge(settings.judge)
    with Pool(judge_compute(judge, pool.compute), workspace) as own:
        labels = make_labels(sample, judge, own, name)
    return teach(sample, labels, settings.labels, settings.train, name)


def judge_compute(settings: JudgeSettings, compute: Compute) -> Compute:
    """Where judges run: one worker on this machine, for the engine keeps the cores or the GPU busy; or the cluster's
    workers, each with an engine of its own. Judges on `device: cuda` ask for a worker with the resource GPU."""
    offers = {"GPU": 1.0} if any(judge.device == "cuda" for judge in settings.judges) else None
    return Compute(1, compute.scheduler, None if compute.scheduler is None else compute.memory, offers)
