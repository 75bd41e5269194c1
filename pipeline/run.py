"""A config, step by step: what each step would make (`plan`), and making it (`run`).

config = load("configs/demo/demo.yaml")
for step in plan(config, workspace):
    print(step)
run(config, workspace, pool)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.classifier import MODEL, classifier_stage, model_file, train_classifier
from pipeline.config import Config, ConfiguredScore
from pipeline.errors import ShardsFailed
from pipeline.execute import Pool, jobs_to_do
from pipeline.export import export, export_stage
from pipeline.ingest import ingest, ingest_stage
from pipeline.label import steps as label_steps
from pipeline.near import near, search
from pipeline.near import takes as near_takes
from pipeline.near.keys import FILE as SIGNATURES
from pipeline.near.keys import signature_stage
from pipeline.near.settings import KEEPS
from pipeline.preselect import steps as preselect_steps
from pipeline.repeats import count_repeats, plan_repeats, takes
from pipeline.repeats.counts import REPORT, REPORT_SHARD
from pipeline.score import ScoreSpec, score, score_stage
from pipeline.select import select, select_stage
from pipeline.stage import Stage, differences, saved
from pipeline.tokens import steps as token_steps
from pipeline.workspace import Workspace

DONE, TODO, STALE, WAITS = "done", "to do", "stale", "waits"


@dataclass(frozen=True)
class Planned:
    """What would happen to one step.

    state: done, to do, stale (made before, from something that has changed since) or waits (for an earlier step).
    why: the fields that changed, the shards that failed, or the step that is waited for. total is None where the
    number of shards is not known before the step runs.
    """

    kind: str
    name: str
    state: str
    folder: str | None = None
    done: int = 0
    total: int | None = None
    why: tuple[str, ...] = ()


def plan(config: Config, workspace: Workspace) -> list[Planned]:
    """What `run` would do, step by step in order. Starts nothing, writes nothing."""
    steps: list[Planned] = []
    unfinished: dict[tuple[str, str], str] = {}

    def add(planned: Planned, key: tuple[str, str]) -> None:
        steps.append(planned)
        if planned.state != DONE:
            unfinished[key] = f"{planned.kind} {planned.name}"

    def waits(kind: str, name: str, needs: Sequence[tuple[str, str]], key: tuple[str, str]) -> bool:
        missing = tuple(dict.fromkeys(unfinished[need] for need in needs if need in unfinished))
        if missing:
            add(Planned(kind, name, WAITS, why=missing), key)
        return bool(missing)

    for name, settings in config.corpora.items():
        stage = ingest_stage(workspace, name, settings)
        add(_planned(workspace, stage, {stage.folder: _corpus_shards(workspace, stage)}), ("corpus", name))
    for name, trained in config.classifiers.items():
        stage = classifier_stage(name, trained)
        add(_planned(workspace, stage, {stage.folder: ["model"]}, MODEL), ("classifier", name))
    for name, made in (config.preselect | config.labels).items():
        section = "preselect" if name in config.preselect else "labels"
        if waits(section, name, [("corpus", made.corpus)], ("classifier", name)):
            continue
        needs: list[tuple[str, str]] = []
        for step in _taught(config, name).known_steps(workspace, name, made):
            key = ("classifier", name) if step.file == MODEL else (step.stage.kind, f"{name}/{step.stage.name}")
            if step.stage.kind in ("sample", "losses", "answers") or not waits(step.stage.kind, name, needs, key):
                add(_planned(workspace, step.stage, {step.stage.folder: step.shards}, step.file), key)
            needs.append(key)
        if section == "labels" and any(need in unfinished for need in needs):
            steps[-1] = replace(steps[-1], why=(*steps[-1].why, label_steps.price(workspace, config.labels[name])))
        if key[0] != "classifier":
            waits("preselect-train", name, needs, ("classifier", name))
    named: set[str] = set()
    selected: set[str] = set()
    for entry in config.scores:
        for corpus in entry.corpora:
            shown, key = f"{entry.spec.alias} of {corpus}", ("score", f"{corpus}/{entry.spec.alias}")
            needs = [("corpus", corpus)] + ([("classifier", entry.classifier)] if entry.classifier else [])
            if waits("score", shown, needs, key):
                continue
            there = workspace.corpus(corpus)
            stage = score_stage(there, _spec(config, workspace, entry))
            named.add(stage.folder)
            planned = _planned(workspace, stage, {stage.folder: there.shards})
            add(replace(planned, name=shown), key)
    for name, spans in config.repeats.items():
        if waits("repeats", name, [("corpus", c) for c in (*spans.corpora, *spans.against)], ("repeats", name)):
            continue
        counted = plan_repeats(workspace, name, spans)
        planned = _planned(workspace, counted.stage, {counted.stage.folder: [REPORT_SHARD]}, REPORT)
        if planned.state != DONE:
            planned = replace(planned, why=(*planned.why, takes(counted)))
        add(planned, ("repeats", name))
        for corpus, stage in counted.stages.items():
            planned = _planned(workspace, stage, {stage.folder: counted.shards(workspace.corpus(corpus))})
            add(replace(planned, kind="repeats", name=f"{name} of {corpus}"), ("repeats", name))
            named.add(stage.folder)
    for name, near_settings in config.near.items():
        needs = [("corpus", corpus) for corpus in near_settings.corpora]
        if near_settings.keep not in KEEPS:
            needs += [("score", f"{c}/{e.spec.alias}") for e in config.scores for c in e.corpora]
        if waits("near", name, needs, ("near", name)):
            continue
        found = search(workspace, name, near_settings, named)
        for corpus, stage in found.stages.items():
            there = workspace.corpus(corpus)
            signed = signature_stage(there, near_settings)
            add(_planned(workspace, signed, {signed.folder: there.shards}, SIGNATURES), ("signatures", corpus))
            planned = _planned(workspace, stage, {stage.folder: there.shards})
            if planned.state != DONE and corpus == found.corpora[0].name:
                planned = replace(planned, why=(*planned.why, near_takes(found, near_settings)))
            add(replace(planned, kind="near", name=f"{name} of {corpus}"), ("near", name))
            named.add(stage.folder)
    for name, tokens in config.tokens.items():
        if waits("tokens", name, [("corpus", tokens.corpus)], ("tokens", name)):
            continue
        known = token_steps.known_steps(workspace, name, tokens)
        for token_step in known:
            folder = token_step.stage.folder
            add(_planned(workspace, token_step.stage, {folder: token_step.shards}, token_step.file), ("tokens", name))
        for kind, others in (("token-selection", tokens.selections), ("token-export", tokens.exports)):
            for other in others.keys() - {one.stage.name for one in known if one.stage.kind == kind}:
                waits(kind, other, [("tokens", name)], (kind, other))
    for name, selection in config.selections.items():
        chosen = _over_config(config, selection)
        needs = [("corpus", corpus) for corpus in chosen.corpora]
        needs += [("repeats", name) for name, one in config.repeats.items() if set(one.corpora) & set(chosen.corpora)]
        needs += [("near", name) for name, one in config.near.items() if set(one.corpora) & set(chosen.corpora)]
        needs += [("score", f"{c}/{e.spec.alias}") for e in config.scores for c in e.corpora if c in chosen.corpora]
        if not waits("select", name, needs, ("selection", name)):
            stage = select_stage(workspace, name, chosen, named)
            selected.add(stage.folder)
            parts = {f"{stage.folder}/{c}": workspace.corpus(c).shards for c in chosen.corpora}
            add(_planned(workspace, stage, parts), ("selection", name))
    for name, exported in config.exports.items():
        needs = [("selection", exported.selection)] if exported.selection else []
        if not waits("export", name, needs, ("export", name)):
            stage = export_stage(workspace, name, exported, named | selected)
            record = saved(workspace.store, stage.folder)
            shards = [] if record is None else [str(s) for s in record["info"].get("shards", [])]
            add(_planned(workspace, stage, {stage.folder: shards or None}, ""), ("export", name))
    return steps


def run(config: Config, workspace: Workspace, pool: Pool, limit: int | None = None) -> None:
    """Do every step that is not done. The caller holds the lock.

    limit: only the first so many shards of each corpus, as for `score`. Raises ShardsFailed once all steps that do not
    need the failed shards are through.
    """
    failures: list[ShardsFailed] = []
    for name, settings in config.corpora.items():
        try:
            ingest(workspace, name, settings, pool)
        except ShardsFailed as failed:
            failures.append(failed)
    for name, trained in config.classifiers.items():
        train_classifier(workspace, name, trained)
    if config.preselect or config.labels:
        _raise(failures)  # a sample is drawn from the whole corpus
    for name, made in config.preselect.items():
        preselect_steps.make_preselect(workspace, name, made, pool)
    for name, judged in config.labels.items():
        label_steps.make_labelled(workspace, name, judged, pool)
    for corpora, entries in _passes(config).items():
        if failures and not all(workspace.corpus(name).cut for name in corpora):
            continue  # there is nothing to score, and why is in `failures`
        specs = [_spec(config, workspace, entry) for entry in entries]
        try:
            score(workspace, [workspace.corpus(name) for name in corpora], specs, pool, limit)
        except ShardsFailed as failed:
            failures.append(failed)
    _raise(failures)
    for name, spans in config.repeats.items():
        count_repeats(workspace, name, spans, pool, limit)
    named = score_stages(config, workspace, limit)
    for name, near_settings in config.near.items():
        near(workspace, name, near_settings, pool, named, limit)
    for name, tokens in config.tokens.items():
        token_steps.make_tokens(workspace, name, tokens, pool, limit)
    named = named_stages(config, workspace, limit)
    selected = set()
    for name, selection in config.selections.items():
        chosen = select(workspace, name, _over_config(config, selection), pool, named)
        selected.add(chosen["folder"])
    for name, exported in config.exports.items():
        export(workspace, name, exported, pool, named | selected)


def _raise(failures: Sequence[ShardsFailed]) -> None:
    if failures:
        shards = {shard: error for failed in failures for shard, error in failed.failed.items()}
        raise ShardsFailed("run", shards, sum(failed.total for failed in failures))


def named_stages(config: Config, workspace: Workspace, limit: int | None = None) -> set[str]:
    """Folders of the score stages that a config names, of all kinds: what views and selections show."""
    named = score_stages(config, workspace, limit)
    for name, spans in config.repeats.items():
        named |= {stage.folder for stage in plan_repeats(workspace, name, spans, limit).stages.values()}
    found = [search(workspace, name, settings, named, limit) for name, settings in config.near.items()]
    return named | {stage.folder for one in found for stage in one.stages.values()}


def score_stages(config: Config, workspace: Workspace, limit: int | None = None) -> set[str]:
    """Folders of the stages of a config's scorers."""
    return {
        score_stage(workspace.corpus(corpus), _spec(config, workspace, entry), limit).folder
        for entry in config.scores
        for corpus in entry.corpora
    }


def _passes(config: Config) -> dict[tuple[str, ...], list[ConfiguredScore]]:
    """Scorers that go over the same corpora share one pass over the text."""
    passes: dict[tuple[str, ...], list[ConfiguredScore]] = {}
    for entry in config.scores:
        passes.setdefault(entry.corpora, []).append(entry)
    return passes


def _spec(config: Config, workspace: Workspace, entry: ConfiguredScore) -> ScoreSpec:
    """The entry's spec, with the model file of its classifier in place."""
    if entry.classifier is None:
        return entry.spec
    name = entry.classifier
    taught = config.preselect | config.labels
    if name in taught:
        path = _taught(config, name).trained_model(workspace, name, taught[name])
    else:
        path = model_file(workspace, classifier_stage(name, config.classifiers[name]))
    assert path is not None, f"classifier {entry.classifier} is not trained"
    return replace(entry.spec, settings=entry.spec.settings.model_copy(update={"model": path}))


def _taught(config: Config, name: str) -> Any:
    """The module with the steps that teach a classifier: from a panel, or from a judge."""
    return preselect_steps if name in config.preselect else label_steps


def _over_config(config: Config, selection: Any) -> Any:
    """A selection that names no corpus means those of the config, whatever else the workspace holds."""
    if selection.corpora:
        return selection
    return selection.model_copy(update={"corpora": list(config.corpora)})


def _corpus_shards(workspace: Workspace, stage: Stage) -> list[str] | None:
    record = saved(workspace.store, stage.folder)
    return workspace.corpus(stage.name).shards if record and workspace.corpus(stage.name).cut else None


def _planned(
    workspace: Workspace, stage: Stage, parts: Mapping[str, list[str] | None], file: str = "{shard}.parquet"
) -> Planned:
    """State of one stage. parts: {folder with ledger rows: shards expected, None if not known}.

    file: how the shards' files are called, "" if they do not lie in the folder.
    """
    step = Planned(stage.kind, stage.name, DONE, stage.folder)
    record = saved(workspace.store, stage.folder)
    if record is not None and record["hash"] != stage.hash:  # a corpus: its folder has no hash
        changed = differences(record["fields"], stage.fields)
        return replace(step, state=STALE, why=(*changed, "documents never change: choose another name"))
    if record is None:
        known = [shards for shards in parts.values() if shards is not None]
        step = replace(step, state=TODO, total=sum(map(len, known)) if known else None)
        others = workspace.stages(stage.parent).values()
        older = [r for r in others if r["name"] == stage.name and r["kind"] == stage.kind]
        if not older:
            return step
        return replace(step, state=STALE, why=tuple(differences(older[-1]["fields"], stage.fields)))
    done = total = 0
    why: list[str] = []
    for folder, shards in parts.items():
        rows = workspace.rows(folder)
        expected = sorted(rows) if shards is None else shards
        sizes = workspace.store.sizes(folder) if file else None
        todo = jobs_to_do(rows, expected, sizes, file)
        total += len(expected)
        done += len(expected) - len(todo)
        failed = [f"{s} failed: {rows[s].error}" for s, _ in todo if s in rows and not rows[s].done]
        why += failed[:5] + ([f"and {len(failed) - 5} more failed"] if len(failed) > 5 else [])
        gone = [s for s, _ in todo if s in rows and rows[s].done]
        why += [f"{len(gone)} files are gone or cut short, such as {gone[0]}"] if gone else []
    return replace(step, state=DONE if total == done > 0 else TODO, done=done, total=total or None, why=tuple(why))
