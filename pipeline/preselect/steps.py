"""All stages of PreSelect as one entry of a config, which ends in a classifier that `scores` may name.

preselect:
  quality: {corpus: web, panel: panel.yaml, sample: {domains: 3000}, labels: {rule: paper}, train: {epoch: 5}}
scores:
  - {scorer: preselect, model: quality}
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from pydantic import BaseModel, ConfigDict

from pipeline.classifier import MODEL, model_file
from pipeline.execute import Compute, Pool, pending
from pipeline.preselect.losses import losses_stages, make_losses
from pipeline.preselect.matrix import make_pairs, pairs_stage
from pipeline.preselect.panel import read_panel
from pipeline.preselect.sample import Sample, find_sample, make_sample, sample_stage
from pipeline.preselect.settings import LabelSettings, PanelSettings, SampleSettings, StrengthSettings
from pipeline.preselect.strength import make_strength, strength_stage
from pipeline.preselect.train import LABELS, make_classifier, train_stage
from pipeline.shards import read_narrow
from pipeline.stage import Stage, saved
from pipeline.workspace import Corpus, Workspace, shard_name
from scorers.fasttext.train import TrainSettings


class PreselectSettings(BaseModel):
    """What every stage is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str
    panel: str
    """panel file, see settings.PanelSettings"""
    sample: SampleSettings = SampleSettings()
    strength: StrengthSettings = StrengthSettings()
    labels: LabelSettings = LabelSettings()
    train: TrainSettings = TrainSettings()


@dataclass(frozen=True)
class Step:
    """A stage, and the shards that its ledger should have; `file` is what each of them is called."""

    stage: Stage
    shards: list[str] | None
    file: str = "{shard}.parquet"


def known_steps(workspace: Workspace, name: str, settings: PreselectSettings) -> list[Step]:
    """The stages as far as they can be named: those after the sample need it to be there. Fetches the models."""
    corpus = workspace.corpus(settings.corpus)
    steps = [sample_step(corpus, settings.sample)]
    sample = find_sample(corpus, settings.sample)
    if sample is None:
        return steps
    panel = read_panel(settings.panel)
    losses = {key: stage for key, (stage, _) in losses_stages(sample, panel).items()}
    steps += [Step(stage, sample.shards) for stage in losses.values()]
    steps.append(Step(pairs_stage(sample, panel, losses), sample.shards))
    strengths = strength_stage(sample, panel, losses, settings.strength, name)
    trained = train_stage(sample, {"hash": strengths.hash}, settings.labels, settings.train, name)
    return [*steps, Step(strengths, sample.shards), Step(trained, ["model"], MODEL)]


def trained_model(workspace: Workspace, name: str, settings: PreselectSettings) -> str | None:
    """Path or URL of the classifier, None while it is not made."""
    last = known_steps(workspace, name, settings)[-1]
    return model_file(workspace, last.stage) if last.file == MODEL else None


def make_preselect(workspace: Workspace, name: str, settings: PreselectSettings, pool: Pool) -> str:
    """Make what is not made yet; the path or URL of the classifier. The caller holds the lock.

    The panel runs in workers of its own: one on this machine, or those with the resource GPU of the run's cluster.
    """
    sample = make_sample(workspace.corpus(settings.corpus), settings.sample, pool)
    panel = read_panel(settings.panel)
    losses = {key: stage for key, (stage, _) in losses_stages(sample, panel).items()}
    if any(pending(workspace, stage.folder, sample.shards) for stage in losses.values()):
        with Pool(panel_compute(panel, pool.compute), workspace) as own:
            make_losses(sample, panel, own)
    make_pairs(sample, panel, losses, pool)
    strengths = make_strength(sample, panel, losses, settings.strength, name)
    return teach(sample, strengths, settings.labels, settings.train, name)


def teach(sample: Sample, strengths: Stage, labels: LabelSettings, settings: TrainSettings, name: str) -> str:
    """Train a classifier on strengths and evaluate it on the held-out domains; its path or URL."""
    from pipeline.preselect.evaluate import evaluate

    workspace = sample.workspace
    stage = make_classifier(sample, strengths.folder, labels, settings, name)
    path = model_file(workspace, stage)
    assert path is not None, "a classifier was just trained"
    report = f"{stage.folder}/evaluation.json"
    if labels.held_out and not workspace.store.exists(report):
        values = evaluate(sample, read_narrow(workspace.store, f"{stage.folder}/{LABELS}"), path)
        workspace.store.write_bytes(report, orjson.dumps(values, option=orjson.OPT_INDENT_2))
    return path


def sample_step(corpus: Corpus, settings: SampleSettings) -> Step:
    """The sample, with its shards once they are known."""
    drawn = sample_stage(corpus, settings)
    record = saved(corpus.workspace.store, drawn.folder)
    count = None if record is None else record["info"]["num_shards"]
    return Step(drawn, None if count is None else [shard_name(i, count) for i in range(count)])


def panel_compute(panel: PanelSettings, compute: Compute) -> Compute:
    """Where a panel runs: one worker on this machine, which offers a GPU if the panel asks for one."""
    offers = {"GPU": 1.0} if panel.device.startswith("cuda") else None
    return Compute(1, compute.scheduler, None if compute.scheduler is None else compute.memory, offers)
