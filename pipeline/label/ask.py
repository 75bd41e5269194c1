"""Prompts through a judge: answers/<corpus>/<judge>-<hash8>/, one file and one ledger row per batch of prompts.

    prompt     int32, number of the prompt
    round      int32
    members    list<string>, ids of the documents in the order in which they were shown
    logprobs   list<float32>, log-probability of each answer (letter or grade) as the next token, over the vocabulary
    tokens     int32, tokens read

A judge runs in a worker, which opens it once; what is killed costs the batches that were in flight.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

import scorers.judge
from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, pending
from pipeline.label.judges import Voice, voice_of
from pipeline.label.settings import UNHASHED, Judge, JudgeSettings
from pipeline.preselect.sample import Sample
from pipeline.resident import check_gpu, on_gpu
from pipeline.shards import file_facts, read_narrow, write_narrow
from pipeline.stage import Stage, saved
from pipeline.workspace import shard_name
from scorers.judge.design import Groups
from scorers.judge.prompts import listwise, pointwise

VERSION = 1
SCHEMA = pa.schema(
    [
        ("prompt", pa.int32()),
        ("round", pa.int32()),
        ("members", pa.list_(pa.string())),
        ("logprobs", pa.list_(pa.float32())),
        ("tokens", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Excerpts:
    """What the judge reads of each document of a sample, in the sample's order. tokens: int64 (documents,)."""

    ids: pa.Array
    texts: pa.Array
    tokens: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Answers:
    """Answers in the order of the prompts. logprobs: float32 (prompts, answers); tokens: read by all of them."""

    groups: Groups
    logprobs: np.ndarray
    tokens: int

    @property
    def mass(self) -> np.ndarray:
        """float64 (prompts,): probability of all answers together."""
        return np.exp(self.logprobs.astype(np.float64)).sum(axis=1)


@dataclass(frozen=True)
class _Task:
    """A batch of prompts: texts of its documents one after the other, `slots` for each prompt."""

    judge: Judge
    settings: JudgeSettings
    first: int
    rounds: np.ndarray
    ids: pa.Array
    texts: pa.Array


def read_excerpts(sample: Sample, voice: Voice, settings: JudgeSettings) -> Excerpts:
    """Cut every document of a sample."""
    ids, texts, tokens = [], [], []
    for shard in sample.shards:
        table = sample.table(shard, ["id", "text"])
        for name, text in zip(table.column("id").to_pylist(), table.column("text").to_pylist(), strict=True):
            piece = voice.asker.excerpt(text, settings.excerpt, settings.place, name, settings.seed)
            ids.append(name)
            texts.append(piece)
            tokens.append(len(voice.asker.plain.encode(piece, add_special_tokens=False).ids))
    return Excerpts(pa.array(ids, pa.string()), pa.array(texts, pa.large_string()), np.array(tokens, np.int64))


def ask_stage(
    sample: Sample, judge: Judge, voice: Voice, settings: JudgeSettings, refines: dict[str, Any] | None = None
) -> Stage:
    """The stage of a judge's answers. refines: what a refinement's documents follow from."""
    fields: dict[str, Any] = {
        "sample": sample.hash,
        "version": [VERSION, scorers.judge.VERSION],
        "judge": voice.identity,
        "settings": settings.model_dump(mode="json", exclude=UNHASHED),
    }
    if refines is not None:
        fields["refines"] = refines
    return Stage(
        kind="answers",
        name=judge.name if refines is None else f"{judge.name}-refined",
        parent=f"answers/{sample.corpus}",
        fields=fields,
        info={"corpus": sample.corpus, "sample": sample.folder, "model": judge.model},
    )


def prompt_text(settings: JudgeSettings, texts: list[str], number: int) -> str:
    """The question of a prompt. number: its round."""
    if settings.way == "pointwise":
        return pointwise(settings.rubric, texts[0], settings.grades, falling=number % 2 == 1)
    return listwise(settings.rubric, texts)


def batch_names(prompts: int, settings: JudgeSettings) -> list[str]:
    """Names of the batches of a stage of so many prompts."""
    count = -(-prompts // settings.batch)
    return [shard_name(i, count) for i in range(count)]


def ask(
    stage: Stage,
    sample: Sample,
    judge: Judge,
    settings: JudgeSettings,
    excerpts: Excerpts,
    groups: Groups,
    pool: Pool,
    upto: int | None = None,
) -> None:
    """Answer what is not answered yet. upto: only the first so many batches. Raises ShardsFailed."""
    workspace, store = sample.workspace, sample.workspace.store
    names = batch_names(len(groups), settings)
    numbers = {name: i for i, name in enumerate(names)}
    todo = pending(workspace, stage.folder, names[:upto])
    if not todo:
        return
    store.sweep(stage.folder)
    if saved(store, stage.folder) is None:
        stage.save(store, prompts=len(groups))
    jobs = []
    for name, attempt in todo:
        rows = slice(numbers[name] * settings.batch, (numbers[name] + 1) * settings.batch)
        members = pa.array(groups.members[rows].reshape(-1))
        task = _Task(
            judge, settings, rows.start, groups.rounds[rows], excerpts.ids.take(members), excerpts.texts.take(members)
        )
        jobs.append(Job(workspace, name, ((stage.folder, attempt),), task))
    gpu = {"GPU": 1.0} if on_gpu(judge.device) else None
    if gpu:
        check_gpu(pool)
    rows_done = pool.run(jobs, answer, f"ask {judge.name}", unit="batches", resources=gpu, slow=True)
    if failed := {row.shard: row.error or "" for row in rows_done if not row.done}:
        raise ShardsFailed(f"label: judge {judge.name}", failed, len(rows_done))


def read_answers(
    sample: Sample, stage: Stage, groups: Groups, settings: JudgeSettings, upto: int | None = None
) -> Answers:
    """The answers of a stage, all batches or the first `upto`."""
    store = sample.workspace.store
    names = batch_names(len(groups), settings)[:upto]
    table = pa.concat_tables([read_narrow(store, f"{stage.folder}/{name}.parquet") for name in names])
    flat = table.column("logprobs").combine_chunks().flatten().to_numpy()
    count = table.num_rows
    assert table.column("prompt").to_pylist() == list(range(count)), stage.folder
    asked = Groups(groups.members[:count], groups.rounds[:count])
    return Answers(asked, flat.reshape(count, settings.symbols), int(np.sum(table.column("tokens").to_numpy())))


_open: tuple[Any, Any, Voice] | None = None
"""(judge and settings, engine, voice) of this worker process."""
_turn = threading.Lock()


def _opened(task: _Task) -> tuple[Any, Voice]:
    """The engine of a task, opened once per process; another one is closed first."""
    from scorers.lm.engines import open_engine

    global _open
    key = (task.judge, task.settings.model_dump_json())
    if _open is not None and _open[0] != key:
        close_engine()
    if _open is None:
        voice = voice_of(task.judge, task.settings)
        _open = (key, open_engine(task.judge), voice)
    return _open[1], _open[2]


def close_engine() -> None:
    """Let go of the engine of this process, if it has one."""
    global _open
    if _open is not None:
        _open[1].close()
        _open = None


def answer(job: Job) -> dict[str, Counts | Exception]:
    """Ask one batch of prompts."""
    task: _Task = job.task
    [(target, _)] = job.outputs
    slots = task.settings.slots
    texts, ids = task.texts.to_pylist(), task.ids.to_pylist()
    count = len(task.rounds)
    with _turn:
        engine, voice = _opened(task)
        prompts = [
            voice.asker.ids(prompt_text(task.settings, texts[n * slots : (n + 1) * slots], int(task.rounds[n])))
            for n in range(count)
        ]
        longest = max(map(len, prompts))
        if engine.context is not None and longest + 1 > engine.context:
            raise UserError(
                f"judge {task.judge.name!r}: a prompt of {slots} excerpts has {longest} tokens and the model reads "
                f"{engine.context}; set a smaller `excerpt` or `group`, or the judge's `context`"
            )
        logprobs = engine.choices(prompts, voice.asker.answers)
    if not np.isfinite(logprobs).all():
        raise ValueError(f"the engine gave log-probabilities that are not finite for prompts from {task.first} on")
    arrays = [
        pa.array(np.arange(task.first, task.first + count, dtype=np.int32)),
        pa.array(task.rounds.astype(np.int32)),
        pa.array([ids[n * slots : (n + 1) * slots] for n in range(count)], pa.list_(pa.string())),
        pa.array(list(logprobs.astype(np.float32)), pa.list_(pa.float32())),
        pa.array([len(prompt) for prompt in prompts], pa.int32()),
    ]
    store = job.workspace.store
    with store.writing(f"{target}/{job.shard}.parquet") as path:
        write_narrow(path, pa.table(arrays, schema=SCHEMA))
        facts = file_facts(path)
    return {target: Counts(rows_in=count, rows_out=count, bytes_in=sum(len(t.encode()) for t in texts), **facts)}
