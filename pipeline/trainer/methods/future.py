"""The parts of multi_token: gated adapters, new weights, and the pass with masks behind the text of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.trainer.hooks import Micro


class GatedLinear(nn.Module):
    """A linear layer with a low-rank part for chosen positions. Without a gate it is the layer, bit for bit."""

    def __init__(self, linear: nn.Linear, rank: int, generator: torch.Generator):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        down = torch.empty(rank, linear.in_features).normal_(0, linear.in_features**-0.5, generator=generator)
        self.down, self.up = nn.Parameter(down), nn.Parameter(torch.zeros(linear.out_features, rank))
        self.gate: int | None = None
        """places of a row from here on are masks; None: there are none"""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x + b, and B A x more from the gate on."""
        found = F.linear(x, self.weight, self.bias)
        if self.gate is None:
            return found
        if x.ndim != 3:
            raise UserError(
                "method multi_token: a linear layer sees flattened rows (a mixture of experts?); not supported"
            )
        more = F.linear(F.linear(x[:, self.gate :], self.down), self.up)
        return torch.cat([found[:, : self.gate], found[:, self.gate :] + more], dim=1)


class Future(nn.Module):
    """Embeddings (k, width) of the masks, and the sampler. It begins by changing nothing: a state stays what it is."""

    def __init__(self, embedding: torch.Tensor, masks: int, generator: torch.Generator):
        super().__init__()
        width = embedding.shape[1]
        drawn = torch.empty(masks, width).normal_(0, float(embedding.detach().std()), generator=generator)
        self.embeddings = nn.Parameter(drawn)
        first = nn.Linear(2 * width, width)
        last = nn.Linear(width, width)
        with torch.no_grad():
            first.weight.normal_(0, (2 * width) ** -0.5, generator=generator)
            for zero in (first.bias, last.weight, last.bias):
                zero.zero_()
        self.sampler = nn.Sequential(first, nn.SiLU(), nn.LayerNorm(width), last)

    def sample(self, states: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """States for the head, of masks whose token before has the embedding `before`."""
        return states + self.sampler(torch.cat([states, before], dim=-1))


@dataclass(frozen=True)
class Layout:
    """Where the masks of a micro-batch stand. m masks in all, w a row (some of them unused), all on the device.

    offsets: int64 (m,), number of each mask in its block. anchors: int64 (blocks,), flat places of the anchors.
    targets, before: int64 (m,), token that the mask predicts, and the token before it.
    scored: int64 (m,), which of the scored positions the anchor is. alike: int64 (m,), flat place that predicts the
    same token. rows, columns: int64 (m,), place of the mask. positions: int64 (b, w). seen: bool (b, T + w, T + w).
    """

    offsets: torch.Tensor
    anchors: torch.Tensor
    targets: torch.Tensor
    before: torch.Tensor
    scored: torch.Tensor
    alike: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    positions: torch.Tensor
    seen: torch.Tensor


def layout(micro: Micro, masks: int, anchors: int, draw: np.random.Generator, whole: bool = False) -> Layout:
    """Draw anchors among the scored positions of each row. whole: only those whose masks all stand before the end of
    their document; otherwise masks end with it."""
    device = micro.inputs.device
    inputs, positions, where = (one.cpu().numpy() for one in (micro.inputs, micro.positions, micro.where))
    labels = np.zeros(inputs.size, np.int64)
    labels[where] = micro.labels.cpu().numpy()
    known = np.zeros(inputs.size, bool)
    known[where] = True
    rows, context = inputs.shape
    flat, width = positions.reshape(-1), anchors * masks
    # Inputs that follow within the same document, up to `masks` of them: the label of place p is input p + 1.
    room = np.zeros(inputs.size, np.int64)
    for j in range(1, masks + 1):
        on = np.zeros(inputs.size, bool)
        if j < context:
            on[:-j] = (flat[j:] == flat[:-j] + j) & (np.arange(inputs.size)[:-j] % context < context - j) & known[j:]
        room += on & (room == j - 1)
    usable = known & (room >= (masks if whole else 1))
    found: dict[str, list[int]] = {key: [] for key in ("anchor", "offset", "row", "column")}
    own_positions = np.zeros((rows, width), np.int64)
    seen = np.zeros((rows, context + width, context + width), bool)
    segment = np.cumsum(np.diff(positions, axis=1, prepend=positions[:, :1] - 1) != 1, axis=1)
    seen[:, :context, :context] = np.tril(segment[:, :, None] == segment[:, None, :])
    seen[:, np.arange(context + width), np.arange(context + width)] = True  # unused places see themselves
    firsts = []
    for row in range(rows):
        there = np.flatnonzero(usable[row * context : (row + 1) * context])
        chosen = np.sort(draw.permutation(there)[:anchors])
        for block, place in enumerate(chosen.tolist()):
            flat_place, column = row * context + place, block * masks
            firsts.append(flat_place)
            for j in range(masks):
                at = context + column + j
                seen[row, at, : place + 1] = seen[row, place, : place + 1]
                seen[row, at, context + column : at + 1] = True
                own_positions[row, column + j] = positions[row, place] + 1 + j
                if j < room[flat_place]:
                    for key, value in (("anchor", flat_place), ("offset", j), ("row", row), ("column", column + j)):
                        found[key].append(value)
    anchor, offset = (np.array(found[key], np.int64) for key in ("anchor", "offset"))
    alike = anchor + 1 + offset

    def there_(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(device)

    return Layout(
        offsets=there_(offset),
        anchors=there_(np.array(firsts, np.int64)),
        targets=there_(labels[alike]),
        before=there_(inputs.reshape(-1)[alike]),
        scored=there_(np.searchsorted(where, anchor)),
        alike=there_(alike),
        rows=there_(np.array(found["row"], np.int64)),
        columns=there_(np.array(found["column"], np.int64)),
        positions=there_(own_positions),
        seen=there_(seen),
    )


def run_body(
    network: Any, micro: Micro, plan: Layout, embedded: torch.Tensor, gated: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """States of the text (b, T, width) and of the places behind it (m, width). embedded: (m, width), what is put there.

    gated: whether the places behind the text go through the adapters.
    """
    text = network.get_input_embeddings()(micro.inputs)
    behind = text.new_zeros(len(text), plan.positions.shape[1], text.shape[2])
    behind = behind.index_put((plan.rows, plan.columns), embedded.to(text.dtype))
    shut = torch.zeros(plan.seen.shape, dtype=text.dtype, device=text.device)
    shut = shut.masked_fill(~plan.seen, torch.finfo(text.dtype).min)[:, None]
    gates = [module for module in network.modules() if isinstance(module, GatedLinear)]
    try:
        for module in gates:
            module.gate = text.shape[1] if gated else None
        states = network.base_model(
            inputs_embeds=torch.cat([text, behind], dim=1),
            position_ids=torch.cat([micro.positions, plan.positions], dim=1),
            attention_mask=shut,
            use_cache=False,
        )[0]
    finally:
        for module in gates:
            module.gate = None
    context = text.shape[1]
    return states[:, :context], states[plan.rows, context + plan.columns]
