"""DITTO: train a finished model against repetition, on sentences that are made to repeat (arXiv 2206.02369).

With probability `share` a step is a DITTO step, otherwise a plain one. In a DITTO step every row is rebuilt from
itself: a sentence of one of its documents is drawn, the sentence before it stays as its prefix, and the sentence
follows again and again to the end of the row. With P(x) the probability of a token and P*(x) that of the same token one
copy earlier, without gradient, the loss of every token from the second copy on is

    nl         -log(1 - |P - lambda P*|)          the paper's
    nl_clip    -log(1 - max(0, P - lambda P*))    nothing for tokens that are improbable enough
    mse        3 (P - lambda P*)^2                of these tokens alone (the authors' code forgets the mask)

(1 - ... is at least 1e-20), the mean over these tokens: probabilities should fall by lambda with every copy. Prefix and
first copy are read and not learnt. A row without two neighbouring sentences stays a plain row with the plain loss (the
authors then make the whole step a plain one).

    model: {checkpoint: runs/best-4m-12345678/checkpoints/step-00005000}
    methods: [{method: ditto}]

Which steps and which sentences is a function of seed and step, the same for any number of processes. In DITTO steps
`loss` is the above and `nll` is that of the repeated text. A sentence ends with a token that ends in . ! or ? before
white space, or in a full stop of Chinese or Japanese; `end_tokens` names other ids.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.trainer.batches import Batch
    from pipeline.trainer.hooks import Method, Micro
    from pipeline.trainer.model import Trainee

NEEDS_TOKENIZER = True
LEAST = 1e-20
ENDS, OPENS, CLOSED = 1, 2, 4
"""What a token does: it ends in a sentence's end, begins with white space, ends a sentence whatever follows."""
KEYS = {"steps": 0xD1, "rows": 0xD2}


class Settings(BaseModel):
    """See the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """of the steps"""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.5
    """lambda"""
    loss: Literal["nl", "nl_clip", "mse"] = "nl"
    shortest: Annotated[int, Field(ge=1)] = 3
    """tokens of a sentence that may be drawn, at least"""
    end_tokens: tuple[int, ...] = ()
    """ids that end a sentence; none: by the text of the tokenizer's tokens"""


def make(settings: Settings, seed: int, tokenizer: str | None) -> Method:
    """The method for a run."""
    from pipeline.trainer import parallel
    from pipeline.trainer.hooks import Method

    marks = token_marks(settings, tokenizer)

    def batch(step: int, batches: list[Batch]) -> list[Batch]:
        if np.random.default_rng([seed, step, KEYS["steps"]]).random() >= settings.share:
            return batches
        first = parallel.rank_and_world()[0] * sum(len(one) for one in batches)
        made = []
        for one in batches:
            made.append(repeated(one, marks, settings.shortest, [seed, step, KEYS["rows"]], first))
            first += len(one)
        return made

    def losses(step: int, trainee: Trainee, micro: Micro) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return ditto_losses(trainee, micro, settings)

    return Method("ditto", batch=batch, losses=losses)


def ditto_losses(trainee: Trainee, micro: Micro, settings: Settings) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What each scored position adds to the loss; its nll and lse."""
    if micro.marks is None:
        nll, lse = trainee(micro.inputs, micro.positions, micro.where, micro.labels)
        return nll, nll, lse
    # The first copy is not scored, but it is compared with: all places go through the head.
    places = torch.arange(micro.inputs.numel(), device=micro.inputs.device)
    labels = torch.cat([micro.inputs.flatten()[1:], micro.inputs.new_zeros(1)])
    labels[micro.where] = micro.labels
    nll, lse = trainee(micro.inputs, micro.positions, places, labels)
    lag = micro.marks.flatten()[micro.where]
    now, before = torch.exp(-nll[micro.where]), torch.exp(-nll.detach()[micro.where - lag])
    apart = now - settings.decay * before
    if settings.loss == "mse":
        against = 3 * apart.square()
    else:
        size = apart.abs() if settings.loss == "nl" else apart.clamp_min(0)
        against = -torch.log((1 - size).clamp_min(LEAST))
    own = nll[micro.where]
    return torch.where(lag > 0, against, own), own, lse[micro.where]


def repeated(batch: Batch, marks: np.ndarray, shortest: int, key: list[int], first: int) -> Batch:
    """The rows made of repeated sentences. first: number of the first row in the step, for its draw.

    `marks` of the result is the length of the sentence where a token is compared with the copy before, 0 elsewhere.
    """
    inputs, labels, weights = batch.inputs.copy(), batch.labels.copy(), batch.weights.copy()
    positions, segments, documents = batch.positions.copy(), batch.segments.copy(), batch.documents.copy()
    lags = np.zeros_like(batch.inputs)
    context = inputs.shape[1]
    for row in range(len(batch)):
        found = sentences(batch, row, marks, shortest)
        if not len(found):
            continue
        start, begin, end = found[np.random.default_rng([*key, first + row]).integers(len(found))]
        prefix, sentence = batch.labels[row, start:begin], batch.labels[row, begin:end]
        whole = np.concatenate([prefix, np.resize(sentence, context + 1 - len(prefix))])
        inputs[row], labels[row] = whole[:-1], whole[1:]
        scored = np.arange(1, context + 1) >= len(prefix) + len(sentence)
        weights[row] = np.where(scored, batch.weights[row, begin:end].mean(), 0)
        lags[row] = np.where(scored, len(sentence), 0)
        positions[row], segments[row], documents[row] = np.arange(context), 0, batch.documents[row, begin]
    return replace(
        batch,
        inputs=inputs,
        labels=labels,
        weights=weights,
        positions=positions,
        segments=segments,
        documents=documents,
        marks=lags,
    )


def sentences(batch: Batch, row: int, marks: np.ndarray, shortest: int) -> np.ndarray:
    """int64 (n, 3): sentences of a row that can be repeated, as places whose labels they are.

    start: of the sentence before; begin: of the sentence; end: behind it. A third copy begins within the row.
    """
    segments, labels = batch.segments[row], batch.labels[row]
    kinds = marks[labels]
    following = np.append(marks[labels[1:]], 0)
    same = np.append(segments[1:] == segments[:-1], False)
    ends = (segments >= 0) & ((kinds & CLOSED > 0) | ((kinds & ENDS > 0) & same & (following & OPENS > 0)))
    # Where a document ends within the row a sentence ends too, if its last token says so.
    ends |= (segments >= 0) & ~same & (kinds & (ENDS | CLOSED) > 0)
    stops = np.flatnonzero(ends) + 1
    found = []
    for before, begin, end in zip([0, *stops[:-2]], stops[:-1], stops[1:], strict=False):
        room = len(labels) + 1 - 3 * (end - begin)
        learnt = (batch.weights[row, begin:end] > 0).all()
        if segments[end - 1] == segments[begin - 1] and end - begin >= shortest and room > 0 and learnt:
            own = np.flatnonzero(segments == segments[begin - 1])[0]
            found.append((max(before, own, begin - room), begin, end))  # a long prefix is cut from its front
    return np.array(found, np.int64).reshape(-1, 3)


def token_marks(settings: Settings, tokenizer: str | None) -> np.ndarray:
    """uint8 per token id: ENDS, OPENS and CLOSED or-ed. Raises UserError without a tokenizer or end_tokens."""
    if settings.end_tokens:
        marks = np.zeros(1 << 22, np.uint8)
        marks[list(settings.end_tokens)] = CLOSED
        return marks
    if tokenizer is None:
        raise UserError(
            "method ditto: the data has token ids and no tokenizer; give `end_tokens`, ids that end a sentence"
        )
    from pipeline import models
    from scorers.lengths import load_tokenizer

    plain = load_tokenizer(str(models.local_file(tokenizer, "tokenizer")))
    size = plain.get_vocab_size(with_added_tokens=True)
    marks = np.zeros(max(size, 1) + (1 << 16), np.uint8)  # models round their vocabulary up
    for number, text in enumerate(plain.decode_batch([[i] for i in range(size)], skip_special_tokens=False)):
        spelt = _spelt(plain.id_to_token(number) or "", text)
        bare = spelt.rstrip().rstrip("\"')]”’»」』）")
        if bare.endswith(("。", "！", "？", "｡")) or (bare.endswith((".", "!", "?")) and spelt != spelt.rstrip()):
            marks[number] |= CLOSED
        elif bare.endswith((".", "!", "?")):
            marks[number] |= ENDS
        if spelt[:1].isspace():
            marks[number] |= OPENS
    return marks


def _spelt(token: str, text: str) -> str:
    """The token's text with its leading space, which decoders of single tokens may drop."""
    return f" {text.lstrip(' ')}" if token[:1] in ("Ġ", "▁", " ") else text
