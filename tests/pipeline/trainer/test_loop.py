"""Interrupted and resumed is the same as never interrupted; what goes wrong leaves the last good checkpoint."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pipeline.errors import UserError  # noqa: E402
from pipeline.storage import Store  # noqa: E402
from pipeline.trainer import metrics  # noqa: E402
from pipeline.trainer.checkpoint import RECORD, checkpoints, local  # noqa: E402
from pipeline.trainer.hooks import Method  # noqa: E402
from pipeline.trainer.loop import Training, length_of, train  # noqa: E402
from pipeline.trainer.model import read_network  # noqa: E402
from pipeline.trainer.packed import Packed  # noqa: E402
from pipeline.trainer.step import TrainingFailed  # noqa: E402
from tests.pipeline.trainer.networks import LLAMA, network, settings  # noqa: E402
from tests.pipeline.trainer.packs import VOCABULARY, packed  # noqa: E402

RUN = "runs/test-12345678"
DROPOUT = LLAMA | {"attention_dropout": 0.1}


@pytest.fixture
def documents(tmp_path: Path) -> Packed:
    draw = np.random.default_rng(2)
    rows = [[0, *draw.integers(2, VOCABULARY, n).tolist(), 1] for n in draw.integers(1, 40, 60)]
    return packed(tmp_path, rows, draw.random(60).tolist())


def training(place: Path, documents: Packed, methods: tuple[Method, ...] = (), **changes: Any) -> Training:
    """A run of twenty steps in a workspace of its own."""
    tokenizer = place / "tokenizer"
    tokenizer.mkdir(parents=True, exist_ok=True)
    data = {"paths": ["x"], "weight": "weight"}
    chosen = settings(steps=20, data=data, keep=5, **changes)
    record = {"run": "test", "hash": "1", "fingerprint": documents.fingerprint}
    return Training(Store(str(place)), RUN, chosen, documents, {"all": documents}, methods, record, tokenizer)


def go_on(run: Training, stop_after: int | None = None) -> dict[str, Any]:
    """Train from where the run stands; the weights of its last checkpoint."""
    found = checkpoints(run.store, run.folder)
    if found:
        with local(run.store, found[-1].folder) as path:
            model = read_network(path, "sdpa")
    else:
        model = network(DROPOUT)
    train(run, model, torch.device("cpu"), stop_after)
    with local(run.store, checkpoints(run.store, run.folder)[-1].folder) as path:
        return read_network(path, "sdpa").state_dict()


@pytest.mark.parametrize("workers", [0, 2])
def test_twenty_steps_are_ten_and_ten_more_bit_for_bit(tmp_path: Path, documents: Packed, workers: int) -> None:
    whole = go_on(training(tmp_path / "whole", documents))
    run = training(tmp_path / "parts", documents, loader_workers=workers)
    go_on(run, stop_after=7)
    go_on(run, stop_after=10)
    parts = go_on(run)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    curves = [
        metrics.read(Store(str(tmp_path / name)), RUN, metrics.METRICS).select(["step", "loss", "tokens", "epoch"])
        for name in ("whole", "parts")
    ]
    assert curves[0].equals(curves[1])
    assert curves[0]["step"].to_pylist() == list(range(1, 21))


def test_a_crash_between_checkpoints_repeats_the_steps_after_the_last_one(tmp_path: Path, documents: Packed) -> None:
    whole = go_on(training(tmp_path / "whole", documents))

    def crash(step: int, model: Any, optimizer: Any) -> None:
        if step == 13:
            raise RuntimeError("pulled the plug")

    run = training(tmp_path / "parts", documents, (Method("crash", after_step=crash),), checkpoint_every=5)
    with pytest.raises(RuntimeError, match="plug"):
        go_on(run)
    assert [one.step for one in checkpoints(run.store, RUN)] == [5, 10]
    parts = go_on(training(tmp_path / "parts", documents, checkpoint_every=5))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    steps = metrics.read(run.store, RUN, metrics.METRICS)["step"].to_pylist()
    assert steps == list(range(1, 21))


def test_an_interrupt_saves_where_it_stopped(tmp_path: Path, documents: Packed) -> None:
    def press(step: int, model: Any, optimizer: Any) -> None:
        if step == 6:
            signal.raise_signal(signal.SIGINT)

    run = training(tmp_path, documents, (Method("press", after_step=press),))
    with pytest.raises(KeyboardInterrupt):
        go_on(run)
    assert checkpoints(run.store, RUN)[-1].step == 7


def test_a_loss_that_is_not_finite_leaves_the_last_good_checkpoint(tmp_path: Path, documents: Packed) -> None:
    def poison(step: int, model: Any, optimizer: Any) -> None:
        if step == 8:
            with torch.no_grad():
                model.model.norm.weight.fill_(float("inf"))

    run = training(tmp_path, documents, (Method("poison", after_step=poison),), checkpoint_every=4)
    with pytest.raises(TrainingFailed, match=r"step 9: the loss is nan.*step-00000008.*goes on from it"):
        go_on(run)


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: what a full disk does to a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("size", [60_000, 150_000], ids=["weights", "optimizer"])
def test_a_full_disk_leaves_the_last_good_checkpoint_and_no_rubbish(
    tmp_path: Path, documents: Packed, size: int
) -> None:
    run = training(tmp_path, documents, checkpoint_every=5)
    go_on(run, stop_after=5)
    with small_disk(size), pytest.raises(TrainingFailed, match="step 10: the checkpoint could not be written"):
        go_on(run)
    assert [one.step for one in checkpoints(run.store, RUN)] == [5]
    assert [path.name for path in (tmp_path / RUN / "checkpoints").iterdir()] == ["step-00000005"]
    go_on(run)
    assert checkpoints(run.store, RUN)[-1].record["final"]


def test_other_data_is_refused(tmp_path: Path, documents: Packed) -> None:
    go_on(training(tmp_path, documents), stop_after=3)
    other = Packed(documents.files, "something else", VOCABULARY, 0, 1)
    with pytest.raises(UserError, match="was trained on other data"):
        go_on(training(tmp_path, other))


def test_a_checkpoint_without_its_record_does_not_count(tmp_path: Path, documents: Packed) -> None:
    run = training(tmp_path, documents, checkpoint_every=5)
    go_on(run, stop_after=10)
    newest = checkpoints(run.store, RUN)[-1]
    (tmp_path / newest.folder / RECORD).unlink()
    assert [one.step for one in checkpoints(run.store, RUN)] == [5]


def test_a_token_budget_is_run_exactly(tmp_path: Path, documents: Packed) -> None:
    run = training(tmp_path, documents).settings.model_copy(update={"steps": None, "tokens": 1234})
    length = length_of(run, documents)
    inputs = sum(length.rows.rows(step * run.batch, (step + 1) * run.batch).num_inputs for step in range(length.steps))
    assert inputs == 1234


def test_evaluations_and_checkpoints_stand_in_the_workspace(tmp_path: Path, documents: Packed) -> None:
    run = training(tmp_path, documents, evaluate_every=10)
    go_on(run)
    rows = metrics.read(run.store, RUN, metrics.EVALUATIONS).to_pylist()
    assert [(row["step"], row["source"]) for row in rows] == [(s, x) for s in (10, 20) for x in (None, "a", "b")]
    whole = rows[0]
    assert whole["bytes"] == documents.bytes.sum()
    assert whole["scored"] == (documents.lengths - 2).sum()  # neither BOS, which nothing predicts, nor EOS
    assert whole["bits_per_byte"] == pytest.approx(whole["nll"] * whole["scored"] / whole["bytes"] / np.log(2))
    assert sum(row["bytes"] for row in rows[1:3]) == whole["bytes"]
