"""`tamis tokens evolve`: Token Cleaning that goes on while a model is trained (arXiv 2502.01968, self-evolving).

    name: cleaned
    corpus: chat
    parts: 5
    rho: 0.6
    score: {threads: 2}                                # of `tamis tokens score`: context, dtype, device, template, ...
    train: {model: {checkpoint: models/base}, context: 1024, epochs: 1, optimizer: {lr: 1e-4}}

The documents are dealt into parts by a hash of their ids. Part 0 is trained on whole, from the base. For every later
part t, base and newest checkpoint read that part alone; of its response tokens the share `rho` is kept that the newest
holds so much likelier than the base; and the newest is trained on them. `train` is a training config without name and
data, which says how long each part is trained on.

Every step is one of `tamis tokens` or `tamis train` by the name <name>-<part>, to be looked at as theirs are; what is
done is not done again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from pipeline.config_errors import parsed
from pipeline.errors import UserError
from pipeline.execute import Compute, Pool
from pipeline.lock import held
from pipeline.tokens.export import export_tokens
from pipeline.tokens.settings import Share, TokensSettings
from pipeline.tokens.steps import export_settings, for_models, make_tokens
from pipeline.trainer.settings import TrainSettings
from pipeline.workspace import Workspace, checked_name
from pipeline.yaml_file import changed, placed, read_yaml

OURS = ("corpus", "earlier", "later", "reference", "attention", "layer", "part", "seed")
"""Settings of scoring that the parts decide."""
THEIRS = ("tokenizer", "bos", "eos")
"""Settings of the training data that the user may give."""


class EvolveSettings(BaseModel):
    """See the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    corpus: str
    parts: Annotated[int, Field(ge=2)] = 5
    """how many parts the documents are dealt into; the first is trained on whole"""
    rho: Share = 0.6
    """share of a later part's response tokens that is kept"""
    seed: Annotated[int, Field(ge=0)] = 0
    """of the parts, and of ties between tokens"""
    score: dict[str, Any] = {}
    train: dict[str, Any]


@dataclass(frozen=True)
class Evolution:
    """A run's settings, checked. parts: what is scored, selected and exported of each, without its checkpoints."""

    settings: EvolveSettings
    train: TrainSettings
    tokenizer: str

    def label(self, part: int) -> str:
        """What all that is made of a part is called."""
        return f"{self.settings.name}-{part}"

    def tokens(self, part: int, newest: str | None) -> TokensSettings:
        """What is scored, selected and exported of a part. newest: folder of the checkpoint that reads it."""
        one = self.settings
        base = {"model": self.train.model.checkpoint, "revision": self.train.model.revision}
        dealt = {"part": (part, one.parts), "seed": one.seed}
        chosen = {"method": "random", "rho": 1.0} if newest is None else {"method": "cleaning", "rho": one.rho}
        values = {"tokenizer": self.tokenizer, "trust_remote_code": self.train.model.trust_remote_code} | one.score
        values |= {"corpus": one.corpus, "earlier": base, "layer": None} | dealt
        values |= {} if newest is None else {"reference": newest}
        values |= {"selections": {self.label(part): chosen | dealt}}
        values |= {"exports": {self.label(part): {"selection": self.label(part), "to": "parquet"}}}
        return parsed(TokensSettings, values, "score")

    def training(self, part: int, newest: str | None, folder: str) -> TrainSettings:
        """What is trained on a part that was exported to a folder, from the newest checkpoint."""
        data = self.train.data.model_copy(update={"paths": [folder]})
        model = self.train.model
        if newest is not None:
            model = model.model_copy(update={"checkpoint": newest, "revision": None})
        return self.train.model_copy(update={"name": self.label(part), "data": data, "model": model})


def read_evolution(path: str, changes: list[str]) -> tuple[Evolution, str | None]:
    """A file's settings and its workspace; paths are relative to its folder. Raises UserError."""
    values = changed(read_yaml(path, "config"), changes, "--set")
    base = Path(path).absolute().parent
    workspace = values.pop("workspace", None)
    settings = parsed(EvolveSettings, values, f"config {path}")
    return evolution(settings, base, f"config {path}"), None if workspace is None else placed(str(workspace), base)


def evolution(settings: EvolveSettings, base: Path, where: str) -> Evolution:
    """Check the settings; paths in them are relative to `base`. Raises UserError."""
    from pipeline.trainer.methods import method_settings
    from pipeline.trainer.run import placed_settings

    checked_name(settings.name, where)
    if not isinstance(model := settings.train.get("model"), dict) or not model.get("checkpoint"):
        raise UserError(f"{where}: train.model.checkpoint: expected the model before fine-tuning, a folder or hub name")
    data = settings.train.get("data", {})
    decided = [f"score.{key}" for key in settings.score if key in OURS]
    decided += [f"train.{key}" for key in ("name",) if key in settings.train]
    decided += [f"train.data.{key}" for key in data if key not in THEIRS]
    if decided:
        raise UserError(f"{where}: {decided[0]}: the parts decide this; take it out")
    ready = {"paths": ["-"], "tokens": "input_ids", "token_weights": "token_weights"}
    data = {"tokenizer": model["checkpoint"]} | data | ready
    values = settings.train | {"name": settings.name, "data": data}
    train = placed_settings(parsed(TrainSettings, values, f"{where}: train"), base)
    method_settings(train.methods, f"{where}: train")
    score = {k: placed(v, base) if k == "template" else v for k, v in settings.score.items()}
    assert train.data.tokenizer is not None
    made = Evolution(settings.model_copy(update={"score": score}), train, train.data.tokenizer)
    made.tokens(0, None)
    return made


def evolve(
    workspace: Workspace,
    wanted: Evolution,
    compute: Compute,
    say: Callable[[str], None] = lambda text: None,
    anew: bool = False,
) -> str:
    """Clean and train part after part; the folder of the last checkpoint, relative to the workspace.

    say: gets a line per part. anew: as `train_run` has it. Takes the workspace's lock by itself.
    """
    from pipeline.trainer.run import train_run

    if not workspace.store.is_local:
        raise UserError(f"{workspace.url}: parts are read with checkpoints on this machine; use a local workspace")
    newest: str | None = None
    folder = ""
    for part in range(wanted.settings.parts):
        tokens, label = wanted.tokens(part, newest), wanted.label(part)
        with held(workspace.store), Pool(for_models(tokens.device, compute), workspace) as pool:
            make_tokens(workspace, label, tokens, pool)
            record = export_tokens(workspace, label, export_settings(tokens, label), pool)
        say(
            f"part {part} of {wanted.settings.parts}: {record['samples']:,} samples, {record['learnt']:,} tokens learnt"
        )
        last = train_run(workspace, wanted.training(part, newest, record["folder"]), compute, anew=anew)
        folder, newest = last.folder, workspace.store.path(last.folder)
        say(f"part {part} of {wanted.settings.parts}: trained, {workspace.store.shown(folder)}")
    return folder
