"""Token selection while training: only the tokens that score best carry loss, by the model as it is now.

    methods: [{method: tokens, select: sstoken, other: models/base, rho: 0.6, gamma: 0.5}]

    sstoken      gamma x normalised (loss of the history - loss now) + (1 - gamma) x attention on the prompt
                 (arXiv 2510.18250); the history is `other`, frozen, or with `alpha` its exponential average with the
                 model: history = alpha x history + (1 - alpha) x model after every step
    loss         the loss difference of sstoken alone; attention: the attention alone
    rho1         loss now - loss of the reference `other` (arXiv 2404.07965)
    random       as many tokens at random

Which side of the difference the model in training is on is the whole difference between ssToken and Rho-1: ssToken
keeps what the model has learnt already, Rho-1 what it has still to learn. Scores come from the forward pass that
trains: its losses, and the queries and keys of one layer, whose attention is taken again for the answers alone. The
history or reference costs a forward pass without gradient.

An answer is a run of tokens with a weight; its prompt is everything before it in the document. The last token of a
piece is predicted and never read, so that its own attention is not there: that of the token before it stands in.

    scope: sample   tokens of a document segment compete, k = ceil(rho x tokens)
    scope: micro    those of a micro-batch; step: those of all micro-batches of a step, for a further forward pass. Each
                    process for itself, if there are several
    per: token      what a micro-batch counts stays as it was; sample: what each sample counts. As `loss.per` says.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

if TYPE_CHECKING:
    import torch

    from pipeline.trainer.hooks import Method, Micro
    from pipeline.trainer.model import Trainee

Share = Annotated[float, Field(ge=0, le=1)]
STATE = "token_history"
"""Key of an averaged history in the optimizer's state of each parameter."""


class Settings(BaseModel):
    """See the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    select: Literal["sstoken", "loss", "attention", "rho1", "random"] = "sstoken"
    other: str | None = None
    """folder of the other model: the history of sstoken and loss, the reference of rho1"""
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    """the history follows the model; None: it is frozen"""
    rho: Annotated[float, Field(gt=0, le=1)] = 0.6
    gamma: Share = 0.5
    normalise: Literal["minmax", "rank"] = "minmax"
    scope: Literal["sample", "micro", "step"] | None = None
    """None: micro for rho1, else sample"""
    layer: int = -1
    """whose attention is measured"""
    sinks: Annotated[int, Field(ge=0)] = 0
    """first tokens of a document on which attention does not count"""
    attention_steps: Annotated[int, Field(ge=0)] = 0
    """of sstoken: so many first steps by attention alone, while the model has moved too little from its history"""
    per: Literal["token", "sample"] = "token"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def other_model(self) -> str | None:
        """What a run's hash knows of the other model: its files, not its place."""
        from pathlib import Path

        from pipeline.tokens.passes import model_identity

        return model_identity(self.other) if self.other is not None and Path(self.other).is_dir() else None

    @model_validator(mode="after")
    def _complete(self) -> Settings:
        if self.uses_losses and self.other is None:
            raise ValueError(f"{self.select} needs `other`: the folder of the history or reference")
        if self.alpha is not None and self.select not in ("sstoken", "loss"):
            raise ValueError("`alpha` makes a history follow the model: that is for sstoken and loss")
        return self

    @property
    def uses_losses(self) -> bool:
        """Whether another model's losses are needed."""
        return self.select in ("loss", "rho1") or (self.select == "sstoken" and self.gamma > 0)

    @property
    def uses_attention(self) -> bool:
        """Whether attention is needed."""
        return self.select == "attention" or (self.select == "sstoken" and (self.gamma < 1 or self.attention_steps > 0))

    @property
    def among(self) -> str:
        """Which tokens compete."""
        return self.scope or ("micro" if self.select == "rho1" else "sample")


def make(settings: Settings, seed: int) -> Method:
    """The method for a run."""
    from pipeline.trainer.hooks import Method

    state = _State(settings, seed)
    return Method(
        "tokens",
        begin=state.begin,
        losses=state.losses if settings.uses_attention else None,
        shares=state.shares,
        whole_step=settings.among == "step",
        after_step=state.after_step if settings.alpha is not None else None,
        probe=state.probe,
        check=state.check,
    )


class _State:
    """The other model, and what the passes of the present step have shown. What must last is in the optimizer."""

    def __init__(self, settings: Settings, seed: int):
        self.settings, self.seed = settings, seed
        self.other: Trainee | None = None
        self.prompt: dict[int, np.ndarray] = {}
        self.kept = [0, 0]

    def check(self, network: Any, world: int) -> None:
        """Raises UserError where the method cannot run."""
        from pipeline.errors import UserError
        from scorers.lm.attention import layer_index

        if self.settings.alpha is not None and world > 1:
            raise UserError("methods: tokens: `alpha` needs one process: the history is not sharded; leave it out")
        if self.settings.uses_attention:
            layer_index(network, self.settings.layer)

    def begin(self, trainee: Trainee, optimizer: torch.optim.Optimizer) -> None:
        """Read the other model, or take an averaged one out of the optimizer's state."""
        import torch

        from pipeline.errors import UserError
        from pipeline.trainer.model import Trainee as Other
        from pipeline.trainer.model import read_network
        from scorers.lm.files import check_folder, model_folder

        if not self.settings.uses_losses:
            return
        assert self.settings.other is not None
        folder = model_folder(self.settings.other)
        check_folder(folder)
        network = read_network(folder, trainee.network.config._attn_implementation)
        own, theirs = (n.get_input_embeddings().weight.shape for n in (trainee.network, network))
        if own[0] != theirs[0]:
            raise UserError(
                f"methods: tokens: {folder} has {theirs[0]} embeddings, the model {own[0]}: another tokenizer"
            )
        device = next(trainee.parameters()).device
        self.other = Other(network.requires_grad_(False)).to(device).eval()
        if self.settings.alpha is None:
            return
        pairs = self._pairs(trainee.network)
        if any(one.shape != two.shape for one, two in pairs):
            raise UserError(f"methods: tokens: {folder} is no copy of the model, which `alpha` averages it with")
        with torch.no_grad():
            for parameter, history in pairs:
                kept = optimizer.state.get(parameter, {}).get(STATE)
                if kept is not None:
                    history.copy_(kept)

    def _pairs(self, network: Any) -> list[tuple[Any, Any]]:
        """(parameter, that of the history)."""
        assert self.other is not None
        theirs = dict(self.other.network.named_parameters())
        own = dict(network.named_parameters())
        return [(parameter, theirs[name]) for name, parameter in own.items() if name in theirs]

    def after_step(self, step: int, network: Any, optimizer: torch.optim.Optimizer) -> None:
        """Let the history follow, and leave it where checkpoints find it."""
        import torch

        alpha = self.settings.alpha
        assert alpha is not None
        with torch.no_grad():
            for parameter, history in self._pairs(network):
                history.lerp_(parameter, 1 - alpha)
                if parameter in optimizer.state:
                    optimizer.state[parameter][STATE] = history.data

    def losses(self, step: int, trainee: Trainee, micro: Micro) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The plain pass, in which the queries and keys of one layer are kept."""
        from scorers.lm.attention import watched

        with watched(trainee.network, self.settings.layer) as seen:
            nll, lse = trainee(micro.inputs, micro.positions, micro.where, micro.labels)
        self.prompt[id(micro)] = prompt_masses(micro, seen.states, self.settings.sinks)
        return nll, nll, lse

    def shares(self, step: int, micros: Sequence[Micro], nll: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Nothing for what is dropped, and more for what is kept."""
        import torch

        scores = [self._scores(step, micro, own) for micro, own in zip(micros, nll, strict=True)]
        kept = self._kept(micros, scores)
        self.prompt.clear()
        self.kept = [sum(int(one.sum()) for one in kept), sum(len(one) for one in kept)]
        found = []
        for micro, keep in zip(micros, kept, strict=True):
            device = micro.shares.device
            chosen = micro.shares * torch.from_numpy(keep).to(device)
            groups = micro.samples if self.settings.per == "sample" else torch.zeros_like(micro.samples)
            count = len(micro.documents) if self.settings.per == "sample" else 1
            before, after = (
                torch.zeros(count, device=device).index_add_(0, groups, one) for one in (micro.shares, chosen)
            )
            found.append(chosen * (before / after.clamp_min(1e-30))[groups])
        return found

    def _scores(self, step: int, micro: Micro, nll: torch.Tensor) -> np.ndarray:
        """float32, of each scored position."""
        import torch

        from scorers.sstoken.scores import difference, mix, normalised

        settings = self.settings
        if settings.select == "random":
            return np.zeros(len(nll), np.float32)
        prompt = self.prompt.get(id(micro))
        first = settings.select == "sstoken" and step <= settings.attention_steps
        if settings.select == "attention" or first or not settings.uses_losses:
            assert prompt is not None
            return prompt
        assert self.other is not None
        with torch.no_grad():
            theirs = self.other(micro.inputs, micro.positions, micro.where, micro.labels)[0].float().cpu().numpy()
        own = nll.float().cpu().numpy()
        if settings.select == "rho1":
            return difference(own, theirs)
        found = difference(theirs, own)
        if settings.select == "loss":
            return found
        normal = normalised(found, _offsets(micro), settings.normalise)
        return normal if prompt is None else mix(normal, prompt, settings.gamma)

    def _kept(self, micros: Sequence[Micro], scores: list[np.ndarray]) -> list[np.ndarray]:
        """bool, of each scored position."""
        from scorers.sstoken.choose import best_of_samples, shares
        from scorers.sstoken.keys import orders, ties

        per_sample = self.settings.among == "sample"
        sizes = [np.diff(_offsets(micro)) for micro in micros]
        names = [[str(document) for document in micro.documents] for micro in micros]
        places = [micro.where.cpu().numpy() for micro in micros]
        tie = [ties(*parts, self.seed, "tie") for parts in zip(names, sizes, places, strict=True)]
        every = np.nan_to_num(np.concatenate(scores), nan=-np.inf)
        counts = np.concatenate(sizes) if per_sample else np.array([len(every)])
        wanted = shares(counts, self.settings.rho, "ceil")
        kept = best_of_samples(orders(every), np.concatenate(tie), np.append(0, np.cumsum(counts)), wanted)
        return np.split(kept, np.cumsum([len(one) for one in scores])[:-1])

    def probe(self, step: int, trainee: Trainee, micros: Sequence[Micro]) -> dict[str, float]:
        """The share of tokens kept in the last pass."""
        return {"tokens_kept": self.kept[0] / max(self.kept[1], 1)}


def _offsets(micro: Micro) -> np.ndarray:
    """int64: scored positions before each sample."""
    counts = np.bincount(micro.samples.cpu().numpy(), minlength=len(micro.documents))
    return np.append(0, np.cumsum(counts))


def prompt_masses(micro: Micro, states: Any, sinks: int = 0) -> np.ndarray:
    """float32, of each scored position: how much the token that it predicts attends to the prompt of its answer."""
    import torch

    from scorers.lm.attention import SINK, USER, Span, attention_masses

    context = micro.inputs.shape[1]
    positions = micro.positions.reshape(-1).cpu().numpy()
    where = micro.where.cpu().numpy()
    # A new answer begins where places are not neighbours, or where the document does.
    follows = np.append(True, (np.diff(where) != 1) | (positions[where[1:]] == 0))
    begins = np.flatnonzero(follows[: len(where)])
    found = np.ones(len(where), np.float32)
    spans, targets = [], []
    for first, end in itertools.pairwise([*begins.tolist(), len(where)]):
        row, start = divmod(int(where[first]), context)
        begin = start - int(positions[where[first]])
        last = int(where[end - 1]) + 1  # the place of the last token that is predicted, if it is read
        read = last % context != 0 and positions[last] == positions[last - 1] + 1
        stop = start + 1 + (end - first) - (0 if read else 1)
        if stop > start + 1:
            spans.append(Span(row, begin, start + 1, stop))
            targets.append((first, end, bool(read)))
    classes = torch.full((len(micro.inputs), context), USER, device=micro.inputs.device)
    if sinks:
        classes[micro.positions < sinks] = SINK
    with torch.no_grad():
        masses = attention_masses(states, spans, classes).cpu().numpy()
    at = 0
    for first, end, read in targets:
        count = end - first - (0 if read else 1)
        found[first : first + count] = masses[at : at + count, USER]
        if not read:
            found[end - 1] = found[end - 2]
        at += count
    return found
