"""Held-out loss in bits per byte, of a whole set and of each source in it.

Every document of the set is read once, packed like training rows; the end-of-text token is predicted but not counted,
for it stands for no byte of the text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pipeline.trainer import parallel
from pipeline.trainer.batches import batches
from pipeline.trainer.hooks import Micro
from pipeline.trainer.loss import bits_per_byte
from pipeline.trainer.model import Trainee
from pipeline.trainer.packed import Packed
from pipeline.trainer.plan import Rows
from pipeline.trainer.settings import TrainSettings
from pipeline.trainer.step import autocast, losses_of, to_micro


def evaluate(trainee: Trainee, packed: Packed, name: str, settings: TrainSettings) -> list[dict[str, Any]]:
    """Rows (set, source, documents, scored, bytes, nll, bits_per_byte); the first, of no source, is the whole set."""
    device = next(trainee.parameters()).device
    rank, world = parallel.rank_and_world()
    rows, steps = _once(packed, settings, world)
    per_step = settings.micro_batch * world
    found = torch.zeros(2, len(packed.lengths), dtype=torch.float64)
    was = trainee.training
    trainee.eval()
    with torch.no_grad():
        for (batch,) in batches(packed, rows, steps, per_step, settings.micro_batch, rank, world):
            micro = to_micro(batch, None, device)
            with autocast(device, settings.precision):
                nll = losses_of(trainee, micro)[0].double().cpu()
            documents = torch.from_numpy(micro.documents)[micro.samples.cpu()]
            counted = (micro.labels.cpu() != (-1 if packed.eos is None else packed.eos)).double()
            found[0].index_add_(0, documents, nll * counted)
            found[1].index_add_(0, documents, counted)
    trainee.train(was)
    nats, scored = parallel.summed(found.to(device)).cpu().numpy()
    made = [_row(name, None, np.ones(len(nats), bool), nats, scored, packed.bytes)]
    if len(packed.sources) > 1:
        for number, source in enumerate(packed.sources):
            made.append(_row(name, source, packed.source_of == number, nats, scored, packed.bytes))
    return made


def first_micros(packed: Packed, settings: TrainSettings, device: torch.device, count: int) -> list[Micro]:
    """The first micro-batches of a set, the same at every evaluation: for probes."""
    rank, world = parallel.rank_and_world()
    rows, steps = _once(packed, settings, world)
    per_step = settings.micro_batch * world
    made = batches(packed, rows, steps[:count], per_step, settings.micro_batch, rank, world)
    return [to_micro(batch, None, device) for (batch,) in made]


def _once(packed: Packed, settings: TrainSettings, world: int) -> tuple[Rows, range]:
    """Rows that hold every document once, and the steps that read them."""
    rows = Rows(packed.lengths, settings.context, seed=0)
    rows = rows.until(rows.cut(rows.epoch(0).num_inputs))
    return rows, range(-(-rows.epoch(0).num_rows // (settings.micro_batch * world)))


def _row(
    name: str, source: str | None, mine: np.ndarray, nats: np.ndarray, scored: np.ndarray, num_bytes: np.ndarray
) -> dict[str, Any]:
    loss, tokens, size = float(nats[mine].sum()), int(scored[mine].sum()), int(num_bytes[mine].sum())
    return {
        "set": name,
        "source": source,
        "documents": int(mine.sum()),
        "scored": tokens,
        "bytes": size,
        "nll": loss / tokens if tokens else None,
        "bits_per_byte": bits_per_byte(loss, size) if size else None,
    }
