"""From answers to the quality of every document of the sample: strengths/<corpus>/<name>-<hash8>/.

    stage = make_labels(sample, settings, pool, "judge")

    id, source, domain   strings
    weight               float64, see the sample
    chars, tokens        int64, of the excerpt that the first judge read
    prompts              int32, how many prompts it was in
    reason               string, why there is no quality: judges_disagree; null if there is one
    judge                float64, the quality: a Plackett-Luce utility in nats, or the expected grade; of two judges the
                         mean of both after each is brought to mean 0 and deviation 1
    <name of a judge>    float64, its own quality, where there are two
    se                   float64, standard error of `judge`

and evidence.json: what the answers say about the judges, what they cost, how far the judges agree. The rows are those
of a strength (pipeline.preselect.strength), so `tamis preselect train --strength NAME` takes them, with `by=judge` and
`rule=quantile`. A judge that does not answer (scorers.judge.evidence) stops the run, after its first batches if it
shows at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline import ledger
from pipeline.errors import UserError
from pipeline.execute import Counts, Pool, pending, write_row
from pipeline.label.ask import Answers, Excerpts, ask, ask_stage, batch_names, close_engine, read_answers, read_excerpts
from pipeline.label.cost import check, cost, near_count
from pipeline.label.judges import Voice, voice_of
from pipeline.label.settings import UNHASHED, Judge, JudgeSettings
from pipeline.preselect.sample import Sample
from pipeline.shards import file_facts, write_narrow
from pipeline.stage import Stage, saved
from pipeline.workspace import checked_name
from scorers.judge.design import Groups, design
from scorers.judge.evidence import Evidence, complaint, evidence, graded
from scorers.judge.fit import expectation, fit
from scorers.preselect.diagnostics import rank_correlation

VERSION = 1
EVIDENCE = "evidence.json"
PROBE = 4
"""Batches after which a judge that does not answer is stopped."""
FRAME = 64
"""Tokens that a prompt has besides rubric and texts, about."""
DISAGREE = "judges_disagree"


@dataclass(frozen=True)
class Judged:
    """What one judge makes of a sample: quality and standard error (documents,), and the evidence."""

    judge: Judge
    quality: np.ndarray
    error: np.ndarray
    shown: np.ndarray
    evidence: Evidence
    tokens: int


def labels_stage(sample: Sample, settings: JudgeSettings, voices: list[Voice], name: str) -> Stage:
    """The stage that the answers of all judges end in."""
    shaping = settings.model_dump(mode="json", exclude=UNHASHED - {"refine"})
    if len(voices) > 1:
        shaping["agree"] = settings.agree
    return Stage(
        kind="strength",
        name=checked_name(name, "labels"),
        parent=f"strengths/{sample.corpus}",
        fields={
            "sample": sample.hash,
            "version": VERSION,
            "answers": [ask_stage(sample, j, v, settings).hash for j, v in zip(settings.judges, voices, strict=True)],
            "settings": shaping,
        },
        info={"corpus": sample.corpus, "sample": sample.folder, "judges": [judge.name for judge in settings.judges]},
    )


def first_groups(documents: int, settings: JudgeSettings) -> Groups:
    """The prompts of the first rounds."""
    if settings.way == "pointwise":
        rows = np.tile(np.arange(documents, dtype=np.int32), settings.rounds)[:, None]
        return Groups(rows, np.repeat(np.arange(settings.rounds, dtype=np.int32), documents))
    try:
        return design(documents, settings.slots, settings.rounds, settings.fixed, settings.seed)
    except ValueError as error:
        raise UserError(f"labels: {error}; take a larger sample or a smaller `group`") from None


def make_labels(sample: Sample, settings: JudgeSettings, pool: Pool, name: str = "judge") -> Stage:
    """Ask and fit what is not there yet. The caller holds the lock. Raises UserError for a judge without answers."""
    voices = [voice_of(judge, settings) for judge in settings.judges]
    stage = labels_stage(sample, settings, voices, name)
    workspace, store = sample.workspace, sample.workspace.store
    todo = pending(workspace, stage.folder, sample.shards)
    if not todo and store.exists(f"{stage.folder}/{EVIDENCE}"):
        return stage
    begun = time.time()
    read = [read_excerpts(sample, voice, settings) for voice in voices]
    for voice, excerpts in zip(voices, read, strict=True):
        overhead = len(voice.asker.ids(settings.rubric)) + FRAME
        check(cost(len(excerpts), settings, overhead, float(excerpts.tokens.mean())), len(excerpts), settings)
    judged = [
        _judged(sample, judge, voice, settings, excerpts, pool)
        for judge, voice, excerpts in zip(settings.judges, voices, read, strict=True)
    ]
    table = _table(sample, judged, read[0], settings)
    store.sweep(stage.folder)
    if saved(store, stage.folder) is None:
        stage.save(store)
    store.write_bytes(f"{stage.folder}/{EVIDENCE}", orjson.dumps(_record(judged, table), option=orjson.OPT_INDENT_2))
    start, attempts = 0, dict(todo)
    for shard in sample.shards:
        rows = sample.rows[shard].rows_out
        if shard in attempts:
            part = table.slice(start, rows)
            with store.writing(f"{stage.folder}/{shard}.parquet") as path:
                write_narrow(path, part)
                facts = file_facts(path)
            write_row(workspace, stage.folder, shard, attempts[shard], begun, Counts(rows, rows, **facts))
        start += rows
    ledger.compact(store, stage.folder)
    return stage


def _judged(
    sample: Sample, judge: Judge, voice: Voice, settings: JudgeSettings, excerpts: Excerpts, pool: Pool
) -> Judged:
    """All rounds of one judge."""
    groups = first_groups(len(excerpts), settings)
    stage = ask_stage(sample, judge, voice, settings)
    try:
        if len(batch_names(len(groups), settings)) > PROBE:
            ask(stage, sample, judge, settings, excerpts, groups, pool, upto=PROBE)
            early = read_answers(sample, stage, groups, settings, upto=PROBE)
            _refuse(sample, stage, judge, settings, _evidence(early, len(excerpts), settings), early=True)
        ask(stage, sample, judge, settings, excerpts, groups, pool)
        answers = read_answers(sample, stage, groups, settings)
        found = _evidence(answers, len(excerpts), settings)
        _refuse(sample, stage, judge, settings, found)
        if settings.way == "pointwise":
            return _graded(judge, settings, answers, found, len(excerpts))
        if settings.refine is not None:
            answers = _refined(sample, judge, voice, settings, excerpts, pool, stage, answers)
    finally:
        if pool.started:
            pool.client.run(close_engine)  # the workers of a cluster live on, and a model is memory
    quality = fit(answers.groups.members, answers.logprobs, len(excerpts))
    shown = np.bincount(answers.groups.members.reshape(-1), minlength=len(excerpts))
    return Judged(judge, quality.utility, quality.error, shown, found, answers.tokens)


def _graded(judge: Judge, settings: JudgeSettings, answers: Answers, found: Evidence, documents: int) -> Judged:
    grades = expectation(answers.logprobs).reshape(settings.rounds, documents)
    error = np.full(documents, np.nan)
    if settings.rounds > 1:
        error = np.abs(grades[0] - grades[1]) / 2
    return Judged(judge, grades.mean(axis=0), error, np.full(documents, settings.rounds), found, answers.tokens)


def _refined(
    sample: Sample,
    judge: Judge,
    voice: Voice,
    settings: JudgeSettings,
    excerpts: Excerpts,
    pool: Pool,
    first: Stage,
    answers: Answers,
) -> Answers:
    """The answers with those of further rounds over the documents next to the cut."""
    assert settings.refine is not None
    quality = fit(answers.groups.members, answers.logprobs, len(excerpts)).utility
    distance = np.abs(quality - np.quantile(quality, 1 - settings.refine.cut))
    near = np.sort(np.argsort(distance, kind="stable")[: near_count(len(excerpts), settings)])
    rounds, fixed, seed = settings.refine.rounds, settings.fixed, settings.seed
    more = design(len(excerpts), settings.slots, rounds, fixed, seed, near, first_round=settings.rounds)
    stage = refine_stage(sample, judge, voice, settings, first)
    ask(stage, sample, judge, settings, excerpts, more, pool)
    added = read_answers(sample, stage, more, settings)
    groups = Groups(
        np.concatenate([answers.groups.members, more.members]), np.concatenate([answers.groups.rounds, more.rounds])
    )
    return Answers(groups, np.concatenate([answers.logprobs, added.logprobs]), answers.tokens + added.tokens)


def refine_stage(sample: Sample, judge: Judge, voice: Voice, settings: JudgeSettings, first: Stage) -> Stage:
    """The answers about documents next to the cut, which follow from the first answers."""
    assert settings.refine is not None
    return ask_stage(sample, judge, voice, settings, {"answers": first.hash} | settings.refine.model_dump())


def _evidence(answers: Answers, documents: int, settings: JudgeSettings) -> Evidence:
    if settings.way == "pointwise":
        return graded(answers.groups, answers.logprobs, answers.mass)
    return evidence(answers.groups, answers.logprobs, answers.mass, documents)


def _refuse(
    sample: Sample, stage: Stage, judge: Judge, settings: JudgeSettings, found: Evidence, early: bool = False
) -> None:
    """Stop at a judge that does not answer; its evidence stays beside its answers."""
    store = sample.workspace.store
    place = f"{stage.folder}/{EVIDENCE}"
    if not early:
        store.write_bytes(place, orjson.dumps(found.record(), option=orjson.OPT_INDENT_2))
    # One round shows each document once: nothing can agree with itself yet.
    wrong = complaint(replace(found, reliability=float("nan")) if early else found, settings.least_reliability)
    if wrong is None or settings.insist:
        return
    if early:
        store.write_bytes(place, orjson.dumps(found.record(), option=orjson.OPT_INDENT_2))
    raise UserError(
        f"judge {judge.name!r}: {wrong}; its answers and evidence are in {store.shown(stage.folder)}; take another "
        "model, rubric or way of asking, or set `insist: true`"
    )


def _table(sample: Sample, judged: list[Judged], excerpts: Excerpts, settings: JudgeSettings) -> pa.Table:
    parts = [sample.table(shard, ["id", "source", "domain", "weight"]) for shard in sample.shards]
    documents = pa.concat_tables(parts)
    columns: dict[str, Any] = {name: documents.column(name) for name in documents.column_names}
    columns["chars"] = pa.array([len(text) for text in excerpts.texts.to_pylist()], pa.int64())
    columns["tokens"] = pa.array(excerpts.tokens)
    columns["prompts"] = pa.array(sum(one.shown for one in judged).astype(np.int32))  # type: ignore[union-attr]
    quality, error = judged[0].quality, judged[0].error
    split = np.zeros(len(excerpts), bool)
    if len(judged) == 2:
        quality, error, split = _both(judged, settings.agree)
    columns["reason"] = pa.array([DISAGREE if one else None for one in split], pa.string())
    columns["judge"] = pa.array(np.where(split, np.nan, quality), pa.float64(), from_pandas=True)
    if len(judged) == 2:
        for one in judged:
            columns[one.judge.name] = pa.array(one.quality, pa.float64(), from_pandas=True)
    columns["se"] = pa.array(error, pa.float64(), from_pandas=True)
    return pa.table(columns)


def _both(judged: list[Judged], agree: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean quality, standard error, whether the two judges' ranks lie further apart than `agree`)."""
    values, errors, places = [], [], []
    for one in judged:
        deviation = float(np.nanstd(one.quality)) or 1.0
        values.append((one.quality - np.nanmean(one.quality)) / deviation)
        errors.append(one.error / deviation)
        places.append(np.argsort(np.argsort(one.quality, kind="stable"), kind="stable") / max(len(one.quality) - 1, 1))
    return (
        (values[0] + values[1]) / 2,
        np.sqrt(errors[0] ** 2 + errors[1] ** 2) / 2,
        np.abs(places[0] - places[1]) > agree,
    )


def _record(judged: list[Judged], table: pa.Table) -> dict[str, Any]:
    record: dict[str, Any] = {
        "documents": table.num_rows,
        "tokens": sum(one.tokens for one in judged),
        "judges": {one.judge.name: one.evidence.record() | {"tokens": one.tokens} for one in judged},
    }
    if len(judged) == 2:
        record["agreement"] = rank_correlation(judged[0].quality, judged[1].quality)
        record["disagree"] = table.column("judge").null_count
    return record
