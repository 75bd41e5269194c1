"""`tamis train`: settings to packs to a trained model, as a stage of the workspace.

    settings, place = read_config("train.yaml")
    train_run(Workspace("workspace"), settings, Compute())       # the folder of the last checkpoint

    runs/<name>-<hash8>/stage.json, checkpoints/, metrics/, evaluations/

The hash is over settings, packs, model and engine. A run that is not finished goes on; if its settings or data have
changed since, that is refused with the fields that differ, for a resumed run must be one run.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline import ledger
from pipeline.config_errors import parsed
from pipeline.errors import UserError
from pipeline.execute import Compute, Counts, Pool, next_attempt, write_row
from pipeline.lock import held
from pipeline.membership import training as membership
from pipeline.stage import Stage, differences
from pipeline.trainer import parallel
from pipeline.trainer.changed import changer, read_changed
from pipeline.trainer.checkpoint import Checkpoint, checkpoints, local
from pipeline.trainer.loop import Training, train
from pipeline.trainer.methods import make_methods, method_settings
from pipeline.trainer.model import model_fields, open_network, read_network
from pipeline.trainer.pack import pack
from pipeline.trainer.packed import Packed
from pipeline.trainer.settings import UNHASHED, TrainSettings
from pipeline.trainer.tokenizer import tokenizer_folder, vocabulary_of
from pipeline.workspace import Workspace, checked_name
from pipeline.yaml_file import changed, placed, read_yaml

VERSION = 1
RUNS = "runs"
SHARD = "run"
"""What the one row of a run's ledger speaks of."""


def read_config(path: str, changes: Iterable[str] = ()) -> tuple[TrainSettings, str | None]:
    """Settings and workspace of a training config; paths in it are relative to its folder. Raises UserError.

    changes: KEY=VALUE, set before the values are checked.
    """
    values = changed(read_yaml(path, "config"), changes, "--set")
    base = Path(path).absolute().parent
    workspace = values.pop("workspace", None)
    settings = placed_settings(parsed(TrainSettings, values, f"config {path}"), base)
    method_settings(settings.methods, f"config {path}")
    return settings, None if workspace is None else placed(str(workspace), base)


def placed_settings(settings: TrainSettings, base: Path) -> TrainSettings:
    """The settings with all paths as seen from a folder, and the data's tokenizer for sets without their own."""
    checked_name(settings.name, "run")
    data = _placed_data(settings.data, base)
    sets = {checked_name(name, "evaluation set"): _placed_data(one, base) for name, one in settings.evaluation.items()}
    sets = {
        n: one if one.tokenizer else one.model_copy(update={"tokenizer": data.tokenizer}) for n, one in sets.items()
    }
    model = {
        key: _there(value, base)
        for key, value in (("config", settings.model.config), ("checkpoint", settings.model.checkpoint))
        if isinstance(value, str)
    }
    changes = {"data": data, "evaluation": sets, "model": settings.model.model_copy(update=model)}
    if settings.membership is not None:
        registry = placed(settings.membership.registry, base)
        changes["membership"] = settings.membership.model_copy(update={"registry": registry})
    return settings.model_copy(update=changes)


def _placed_data(data: Any, base: Path) -> Any:
    changes: dict[str, Any] = {"paths": [placed(path, base) for path in data.paths]}
    if data.tokenizer is not None:
        changes["tokenizer"] = _there(data.tokenizer, base)
    return data.model_copy(update=changes)


def _there(value: str, base: Path) -> str:
    """A path beside the config if there is one, else as it stands (a hub name)."""
    path = placed(value, base)
    return path if Path(path).exists() or value.startswith(".") else value


def device_of(settings: TrainSettings) -> str:
    """cpu or cuda. Raises UserError for cuda where torch sees none."""
    import torch

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: torch sees no GPU; use device: cpu, or install a CUDA build of torch")
    if settings.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return settings.device


def run_stage(settings: TrainSettings, packs: Mapping[str, Packed], device: str) -> Stage:
    """The stage of a run. packs: of the data (under "data") and of the evaluation sets."""
    chosen = settings.model_dump(mode="json", exclude=UNHASHED | {"data", "evaluation", "model", "device", "methods"})
    chosen["weight_as"] = settings.data.weight_as
    return Stage(
        kind="run",
        name=settings.name,
        parent=RUNS,
        fields={
            "version": VERSION,
            "settings": chosen,
            "methods": {
                name: one.model_dump(mode="json") for name, one in method_settings(settings.methods, "methods").items()
            },
            "model": model_fields(settings.model),
            "data": packs["data"].fingerprint,
            "engine": {
                "torch": metadata.version("torch"),
                "transformers": metadata.version("transformers"),
                "device": device,
            },
        },
        info={"data": settings.data.paths},
    )


def train_run(
    workspace: Workspace,
    settings: TrainSettings,
    compute: Compute,
    stop_after: int | None = None,
    anew: bool = False,
) -> Checkpoint:
    """Pack what is not packed, and train from where the run stands; its last checkpoint.

    anew: begin beside an unfinished run of the same name that has other settings. Holds the workspace's lock (rank 0).
    """
    import torch

    device = device_of(settings)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    parallel.start(device)
    rank, _ = parallel.rank_and_world()
    try:
        with held(workspace.store) if rank == 0 else nullcontext():
            if rank == 0:
                with Pool(compute, workspace) as pool:
                    packs = make_packs(workspace, settings, pool)
            parallel.barrier()
            if rank != 0:
                packs = make_packs(workspace, settings, None)
            stage = run_stage(settings, packs, device)
            if rank == 0:
                _check_unfinished(workspace, stage, anew)
                stage.save(workspace.store, paths=settings.data.paths)
            parallel.barrier()
            return _train(workspace, settings, stage, packs, torch.device(device), stop_after, rank)
    finally:
        parallel.stop()


def make_packs(workspace: Workspace, settings: TrainSettings, pool: Pool | None) -> dict[str, Packed]:
    """Packs of the data and of the evaluation sets; without a pool they must be there."""
    sets = {"data": settings.data} | settings.evaluation
    packs = {name: pack(workspace, _pack_name(one), one, pool) for name, one in sets.items()}
    for name, packed in packs.items():
        if packed.vocabulary != packs["data"].vocabulary:
            raise UserError(f"evaluation.{name}: another tokenizer than the data's; expected the same vocabulary")
    return packs


def _pack_name(data: Any) -> str:
    stem = Path(data.paths[0].rstrip("/")).name.partition(".")[0]
    words = re.findall(r"[A-Za-z0-9_]+", stem.replace("*", ""))
    return "-".join(words)[:60] or "data"


def _check_unfinished(workspace: Workspace, stage: Stage, anew: bool) -> None:
    for folder, record in workspace.stages(RUNS).items():
        if anew or record["name"] != stage.name or folder == stage.folder:
            continue
        row = workspace.rows(folder).get(SHARD)
        if (row is None or not row.done) and checkpoints(workspace.store, folder):
            fields = "; ".join(differences(record["fields"], stage.fields))
            raise UserError(
                f"run {stage.name!r} is not finished and was begun with something else: {fields}. Bring that back to "
                "go on, give this run another `name`, or use --anew to begin beside it"
            )


def _tested_last(workspace: Workspace, settings: TrainSettings, last: Checkpoint) -> None:
    assert settings.membership is not None
    with local(workspace.store, last.folder) as path:
        membership.checkpoint_tested(
            workspace,
            settings.membership,
            settings.name,
            str(path),
            last.step,
            lambda text: print(f"train {settings.name} step {last.step}: {text}", file=sys.stderr),
        )


def _train(
    workspace: Workspace,
    settings: TrainSettings,
    stage: Stage,
    packs: Mapping[str, Packed],
    device: Any,
    stop_after: int | None,
    rank: int,
) -> Checkpoint:
    import torch

    store, packed = workspace.store, packs["data"]
    if device.type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    found = checkpoints(store, stage.folder)
    if settings.membership is not None and rank == 0:
        membership.check(settings.membership, parallel.rank_and_world()[1])
    if found and found[-1].record["final"]:
        if settings.membership is not None and rank == 0:  # killed between the last checkpoint and its test?
            _tested_last(workspace, settings, found[-1])
        return found[-1]
    vocabulary = max(packed.vocabulary, vocabulary_of(settings.data.tokenizer))
    with tempfile.TemporaryDirectory(prefix="tamis-") as place:
        tokenizer = tokenizer_folder(settings.data.tokenizer, packed.bos, packed.eos, Path(place))
        methods = make_methods(method_settings(settings.methods, "methods"), settings.seed, settings.data.tokenizer)
        changes = changer(methods)
        if found:
            with local(store, found[-1].folder) as path:
                attention = settings.model.attention
                network = read_changed(path, attention, changes) if changes else read_network(path, attention)
        else:
            specials = {"bos_token_id": packed.bos, "eos_token_id": packed.eos}
            network = open_network(settings.model, vocabulary, specials, settings.seed)
            if changes is not None and changes.prepare is not None:
                changes.prepare(network, True)
        training = Training(
            store=store,
            folder=stage.folder,
            settings=settings,
            packed=packed,
            evaluation={name: one for name, one in packs.items() if name != "data"},
            methods=methods,
            record={
                "run": stage.name,
                "hash": stage.hash,
                "fingerprint": packed.fingerprint,
                "settings": settings.model_dump(mode="json"),
            },
            tokenizer=tokenizer,
        )
        begun, number = time.time(), next_attempt(workspace, stage.folder, SHARD)
        try:
            train(training, network, device, stop_after)
        except Exception as error:
            if rank == 0:
                write_row(workspace, stage.folder, SHARD, number, begun, error)
            raise
    last = checkpoints(store, stage.folder)[-1]
    if rank == 0 and last.record["final"]:
        counts = Counts(rows_in=len(packed), rows_out=len(packed), bytes_in=int(packed.bytes.sum()))
        write_row(workspace, stage.folder, SHARD, number, begun, counts)
        ledger.compact(store, stage.folder)
    return last
