"""Where attention goes: the mass that a token's attention puts on classes of tokens, without the T x T matrix.

    with watched(network, layer=-1) as seen:
        network(input_ids=ids, use_cache=False)
    masses = attention_masses(seen.states, spans, classes)       # float32 (queries, CLASSES)

The states are the queries and keys as the layer's own attention gets them: after the input norm, the projections, their
norms and the rotation, whatever the architecture has of these. They are taken where transformers hands them to the
attention kernel, so that nothing is computed twice and every architecture that goes through its attention interface is
right by construction.

The softmax is taken for a block of queries at a time, over the keys that the block can see: causal, within its own
document, within the sliding window of the layer, with soft-capped logits and learnt sinks where the model has them. Key
heads are not expanded for grouped queries, and no mask tensor is made: who sees whom follows from positions. The mean
is over all query heads.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

SYSTEM, USER, EARLIER, OWN, SINK = range(5)
"""Classes of keys as a response token sees them: system, user (and tools), the assistant's earlier turns, its own
response up to and with itself, and the sinks: the first tokens of a document, or what a model adds to the softmax."""
CLASSES = 5
_BLOCK = {"cpu": 2**19, "cuda": 2**26}
"""Floats of one block of attention weights: on a CPU what stays in the cache of a core."""
_QUERIES = (16, 256)
"""Least and most queries of a block."""


@dataclass
class States:
    """What one layer's attention was given. query: (rows, heads, T, size); key: (rows, key heads, T, size)."""

    query: torch.Tensor
    key: torch.Tensor
    scaling: float
    window: int | None = None
    softcap: float | None = None
    sinks: torch.Tensor | None = None
    """learnt logits, one per head, that take part in the softmax"""


@dataclass
class Seen:
    """Filled by a forward pass."""

    found: list[States] = field(default_factory=list)

    @property
    def states(self) -> States:
        """Of the pass. Raises ValueError if the layer's attention does not go through transformers' interface."""
        if len(self.found) != 1:
            raise ValueError(
                f"the layer's attention was seen {len(self.found)} times in a pass, expected once; this architecture "
                "does not hand its queries and keys to transformers' attention interface"
            )
        return self.found[0]


@dataclass(frozen=True)
class Span:
    """The tokens first..last-1 of a row that are one response; `begin` is where their document begins in the row."""

    row: int
    begin: int
    first: int
    last: int


def layer_index(network: Any, layer: int) -> int:
    """The layer counted from the first, for one that may be counted from the last (-1). Raises ValueError."""
    count = network.config.get_text_config().num_hidden_layers
    if not -count <= layer < count:
        raise ValueError(f"layer {layer}: the model has {count} layers; expected {-count} to {count - 1}")
    return layer % count


@contextlib.contextmanager
def watched(network: Any, layer: int) -> Iterator[Seen]:
    """Keep the queries and keys of one layer of the passes within the block, one pass at a time.

    The attention kernel stays the one that the model has; it is only called through here.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    name = network.config.get_text_config()._attn_implementation
    wanted, seen = layer_index(network, layer), Seen()
    known = ALL_ATTENTION_FUNCTIONS.get(name)

    def attention(module: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> Any:
        if getattr(module, "layer_idx", None) == wanted:
            scaling = named.get("scaling")
            seen.found.append(
                States(
                    query.detach(),
                    key.detach(),
                    query.shape[-1] ** -0.5 if scaling is None else float(scaling),
                    named.get("sliding_window"),
                    named.get("softcap"),
                    named.get("s_aux"),
                )
            )
        # The eager kernel is each architecture's own and not in the interface.
        kernel = known or sys.modules[type(module).__module__].eager_attention_forward  # type: ignore[attr-defined]
        return kernel(module, query, key, value, *rest, **named)

    ALL_ATTENTION_FUNCTIONS[name] = attention
    try:
        yield seen
    finally:
        del ALL_ATTENTION_FUNCTIONS[name]


def attention_masses(states: States, spans: Sequence[Span], classes: torch.Tensor) -> torch.Tensor:
    """float32 (queries, CLASSES): the queries of all spans, one after the other; each row sums to 1.

    classes: int64 (rows, T), the class of each token for the responses after it (EARLIER for those of the assistant).
    Within a span, tokens from its first on are OWN, unless they are sinks.
    """
    import torch

    parts = [_span_masses(states, span, classes) for span in spans]
    return torch.cat(parts) if parts else torch.zeros((0, CLASSES), device=states.query.device)


def _span_masses(states: States, span: Span, classes: torch.Tensor) -> torch.Tensor:
    """float32 (last - first, CLASSES)."""
    import torch

    heads, key_heads = states.query.shape[1], states.key.shape[1]
    query = states.query[span.row, :, span.first : span.last]
    key = states.key[span.row, :, span.begin : span.last].float()
    own = classes[span.row, span.begin : span.last].clone()
    response = own[span.first - span.begin :]
    response[response != SINK] = OWN
    onehot = torch.zeros((len(own), CLASSES), device=key.device)
    onehot[torch.arange(len(own), device=key.device), own] = 1
    found = torch.empty((span.last - span.first, CLASSES), device=key.device)
    for first, last, lowest in _blocks(span, states.window, heads, _BLOCK[key.device.type]):
        begin, end = lowest - span.begin, last - span.begin
        block = query[:, first - span.first : last - span.first].float()
        size = block.shape[1]
        block = block.reshape(key_heads, heads // key_heads * size, -1) * states.scaling
        logits = (block @ key[:, begin:end].transpose(1, 2)).view(heads, size, end - begin)
        if states.softcap is not None:
            logits = logits.div_(states.softcap).tanh_().mul_(states.softcap)
        _hide(logits, first, last, lowest, states.window)
        top = logits.amax(dim=-1, keepdim=True)
        if states.sinks is not None:
            top = torch.maximum(top, states.sinks.float().view(-1, 1, 1))
        sums = logits.sub_(top).exp_() @ onehot[begin:end]
        if states.sinks is not None:
            sums[..., SINK] += (states.sinks.float().view(-1, 1) - top[..., 0]).exp()
        found[first - span.first : last - span.first] = (sums / sums.sum(dim=-1, keepdim=True)).mean(dim=0)
    return found


def _blocks(span: Span, window: int | None, heads: int, floats: int) -> Iterator[tuple[int, int, int]]:
    """(first query, end, lowest key that one of them sees) of each block of a span."""
    least, most = _QUERIES
    first = span.first
    while first < span.last:
        lowest = span.begin if window is None else max(span.begin, first - window + 1)
        # size x (keys before + size) x heads floats: the positive root.
        before = first - lowest
        size = int((math.sqrt(before * before + 4 * floats / heads) - before) / 2)
        last = min(first + int(np.clip(size, least, most)), span.last)
        yield first, last, lowest
        first = last


def _hide(logits: torch.Tensor, first: int, last: int, lowest: int, window: int | None) -> None:
    """Set to minus infinity what a query cannot see: later keys, and those that its window has left behind."""
    import torch

    size = last - first
    later = torch.ones((size, size), dtype=torch.bool, device=logits.device).triu_(1)
    logits[..., first - lowest :].masked_fill_(later, -math.inf)
    if window is not None and last - 1 - window >= lowest:
        queries = torch.arange(first, last, device=logits.device)[:, None]
        keys = torch.arange(lowest, last, device=logits.device)[None]
        logits.masked_fill_(keys <= queries - window, -math.inf)
