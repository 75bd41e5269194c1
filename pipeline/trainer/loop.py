"""The loop: steps from where the last checkpoint ends, with evaluations and checkpoints on the way.

What a step does to the model depends on (settings, data, number of the step) alone, so a run that was interrupted and
resumed ends with the same bits as one that was not, whatever the number of loader workers (on one kind of machine and
number of threads: sums round by both).
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from pipeline.errors import UserError
from pipeline.membership import training as membership
from pipeline.storage import Store
from pipeline.trainer import checkpoint as checkpoints
from pipeline.trainer import metrics as curves
from pipeline.trainer import parallel
from pipeline.trainer.batches import batches
from pipeline.trainer.changed import changer, write_changed
from pipeline.trainer.evaluate import evaluate, first_micros
from pipeline.trainer.hooks import Method, Micro
from pipeline.trainer.model import Trainee, check_isolation, decoder_layers
from pipeline.trainer.optimizer import make_adamw
from pipeline.trainer.packed import Packed
from pipeline.trainer.plan import Rows
from pipeline.trainer.settings import TrainSettings
from pipeline.trainer.step import TrainingFailed, autocast, to_micro, update
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Training:
    """A run that is ready to begin or to go on.

    folder: of the run, relative to the workspace. record: what every checkpoint says of itself besides step and tokens
    (the run's hash, settings and the data's fingerprint). tokenizer: files to copy into checkpoints.
    """

    store: Store
    folder: str
    settings: TrainSettings
    packed: Packed
    evaluation: Mapping[str, Packed]
    methods: Sequence[Method]
    record: dict[str, Any]
    tokenizer: Path


@dataclass(frozen=True)
class Length:
    """How long a run is: its rows (with an end, if it has one) and steps."""

    rows: Rows
    steps: int


def length_of(settings: TrainSettings, packed: Packed) -> Length:
    """Rows and steps of a run over these documents."""
    weights = packed.weights if settings.data.weight_as == "resample" and settings.data.weight else None
    seed = settings.seed if settings.data_seed is None else settings.data_seed
    rows = Rows(packed.lengths, settings.context, seed, weights)
    tokens = settings.tokens
    if settings.epochs is not None:
        tokens = sum(rows.epoch(number).num_inputs for number in range(settings.epochs))
    if tokens is None:
        assert settings.steps is not None
        return Length(rows, settings.steps)
    rows = rows.until(rows.cut(tokens))
    assert rows.end is not None
    return Length(rows, -(-rows.end.rows // settings.batch))


def train(training: Training, network: Any, device: torch.device, stop_after: int | None = None) -> int:
    """Train from the last checkpoint to the end; the last step done.

    network: the model of that checkpoint, or the first one. stop_after: end after this step, with a checkpoint, as if
    interrupted. Raises TrainingFailed for a loss that is not finite, KeyboardInterrupt after Ctrl-C, when the
    checkpoint is written.
    """
    settings = training.settings
    length = length_of(settings, training.packed)
    rank, world = parallel.rank_and_world()
    if settings.batch % (settings.micro_batch * world):
        raise UserError(
            f"batch {settings.batch} does not divide into micro-batches of {settings.micro_batch} on {world} ranks"
        )
    for method in training.methods:
        if method.check is not None:
            method.check(network, world)
    trainee = Trainee(network).to(device).train()
    check_isolation(trainee, training.packed.vocabulary)
    if settings.compile:
        for layer in decoder_layers(network):
            layer.compile(dynamic=False)
    parallel.shard(trainee, settings.precision)
    maker = next((method.optimizer for method in training.methods if method.optimizer is not None), make_adamw)
    optimizer = maker(network, settings.optimizer)
    done, tokens = _resume(training, trainee, optimizer)
    for method in training.methods:
        if method.begin is not None:
            method.begin(trainee, optimizer)
    last = length.steps if stop_after is None else min(length.steps, stop_after)
    weights = training.packed.weights if settings.data.weight and not length.rows.resampled else None

    board = training.store.path(f"{training.folder}/tensorboard") if settings.tensorboard else None
    shown = curves.Metrics(training.store, training.folder, f"train {settings.name}", length.steps, done, board)
    with _interruptible() as asked, shown if rank == 0 else contextlib.nullcontext():
        if rank == 0:
            curves.forget(training.store, training.folder, done)
        if done:  # killed between a checkpoint and its test?
            _membership(training, trainee, optimizer, done, _checkpoint_every(settings, length), False, shown)
        loader = batches(
            training.packed,
            length.rows,
            range(done, last),
            settings.batch,
            settings.micro_batch,
            rank,
            world,
            settings.loader_workers,
        )
        begun = time.perf_counter()
        for step, made in enumerate(loader, done + 1):
            for method in training.methods:
                made = made if method.batch is None else method.batch(step, made)
            micros = [to_micro(batch, weights, device) for batch in made]
            try:
                outcome = update(
                    step, length.steps, trainee, optimizer, micros, training.methods, settings, asked.is_set()
                )
            except TrainingFailed as error:
                raise TrainingFailed(f"{error}{_way_back(training)}") from None
            tokens += outcome.inputs
            evaluates = step == length.steps or _every(step, settings.evaluate_every)
            probes = _probes(training, step, trainee, micros, evaluates)
            if rank == 0:
                seconds = time.perf_counter() - begun
                epoch, _ = length.rows.place(min(step * settings.batch, _rows_end(length)) - 1)
                shown.add(
                    {
                        "step": step,
                        "epoch": epoch,
                        "tokens": tokens,
                        "rows": step * settings.batch,
                        "loss": outcome.loss,
                        "nll": outcome.nll,
                        "log_z2": outcome.log_z2,
                        "grad_norm": outcome.grad_norm,
                        "lr": outcome.lr,
                        "scored": outcome.scored,
                        "padding": outcome.padding,
                        "seconds": seconds,
                        "tokens_per_second": outcome.inputs / seconds,
                        "probes": probes,
                    }
                )
            end = outcome.stop or step == last
            if evaluates:
                _evaluate(training, trainee, step, tokens, shown)
            every = _checkpoint_every(settings, length)
            if end or step % every == 0:
                _save(training, trainee, optimizer, step, tokens, shown, final=step == length.steps)
                if not outcome.stop:
                    _membership(training, trainee, optimizer, step, every, step == length.steps, shown)
            if outcome.stop and step < length.steps:
                raise KeyboardInterrupt
            begun = time.perf_counter()
    return max(done, last)


def _rows_end(length: Length) -> int:
    return length.rows.end.rows if length.rows.end is not None else length.steps * 2**40


def _checkpoint_every(settings: TrainSettings, length: Length) -> int:
    return settings.checkpoint_every or -(-length.steps // 10)


def _membership(
    training: Training,
    trainee: Trainee,
    optimizer: torch.optim.Optimizer,
    step: int,
    every: int,
    final: bool,
    shown: curves.Metrics,
) -> None:
    """Test the checkpoint of this step, if it is to be tested. One process: run._train has made sure."""
    tests = training.settings.membership
    if tests is None or not membership.due(tests, step, every, final):
        return
    folder = f"{training.folder}/{checkpoints.FOLDER}/{checkpoints.name_of(step)}"
    with membership.given_back(trainee, optimizer), checkpoints.local(training.store, folder) as path:
        workspace, name = Workspace(training.store.url), training.settings.name
        membership.checkpoint_tested(workspace, tests, name, str(path), step, shown.say)


def _every(step: int, count: int | None) -> bool:
    return count is not None and step % count == 0


def _probes(
    training: Training, step: int, trainee: Trainee, micros: Sequence[Micro], evaluates: bool
) -> dict[str, float]:
    found: dict[str, float] = {}
    settings, device = training.settings, micros[0].inputs.device
    for method in training.methods:
        if method.probe is None:
            continue
        with autocast(device, settings.precision):
            if method.probe_every is not None and step % method.probe_every == 0:
                found |= method.probe(step, trainee, micros)
            elif method.probe_every is None and evaluates:
                for name, packed in training.evaluation.items():
                    held = first_micros(packed, settings, device, method.probe_batches)
                    found |= {f"{column}/{name}": v for column, v in method.probe(step, trainee, held).items()}
    return found


def _evaluate(training: Training, trainee: Trainee, step: int, tokens: int, shown: curves.Metrics) -> None:
    rows = [
        {"step": step, "tokens": tokens} | row
        for name, packed in training.evaluation.items()
        for row in evaluate(trainee, packed, name, training.settings)
    ]
    if not all(method.likelihood for method in training.methods):
        rows = [row | {"nll": None, "bits_per_byte": None} for row in rows]
    if parallel.rank_and_world()[0] == 0:
        shown.evaluated(rows)


def _resume(training: Training, trainee: Trainee, optimizer: torch.optim.Optimizer) -> tuple[int, int]:
    """(steps, tokens) done. The weights are in the network already; the optimizer gets its state."""
    found = checkpoints.checkpoints(training.store, training.folder)
    if not found:
        return 0, 0
    latest = found[-1]
    if latest.record["fingerprint"] != training.packed.fingerprint:
        raise UserError(
            f"{training.store.shown(latest.folder)} was trained on other data "
            f"({latest.record['fingerprint'][:12]}, now {training.packed.fingerprint[:12]}); "
            "give the run another name, or bring the data back"
        )
    with checkpoints.local(training.store, latest.folder) as path:
        parallel.load_state(trainee, optimizer, checkpoints.read_optimizer(path))
    return latest.step, latest.record["tokens"]


def _save(
    training: Training,
    trainee: Trainee,
    optimizer: torch.optim.Optimizer,
    step: int,
    tokens: int,
    shown: curves.Metrics,
    final: bool,
) -> None:
    model, state = parallel.full_state(trainee, optimizer)
    if parallel.rank_and_world()[0] == 0:
        shown.flush()
        changes = changer(training.methods)
        weights = {name.removeprefix("network."): value for name, value in model.items()}

        def write(path: Path) -> None:
            if changes is None:
                trainee.network.save_pretrained(path, state_dict=weights)
            else:
                write_changed(path, trainee.network, weights, changes)
            for file in sorted(training.tokenizer.iterdir()):
                shutil.copyfile(file, path / file.name)

        record = training.record | {"step": step, "tokens": tokens, "final": final}
        try:
            checkpoints.save(training.store, training.folder, record, write, None if final else state)
        except (
            OSError,
            RuntimeError,
            SafetensorError,
        ) as error:  # torch and safetensors have their own for a full disk
            reason = f"step {step}: the checkpoint could not be written ({error})"
            raise TrainingFailed(f"{reason}{_way_back(training)}") from error
        checkpoints.prune(training.store, training.folder, training.settings.keep)
    parallel.barrier()


def _way_back(training: Training) -> str:
    found = checkpoints.checkpoints(training.store, training.folder)
    if not found:
        return "; there is no checkpoint yet, the run begins anew"
    return f"; the last good checkpoint is {training.store.shown(found[-1].folder)}, the same command goes on from it"


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set: the step is finished and saved first. A second one ends the run at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: Any) -> None:
        asked.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
