"""What a causal language model does when its context repeats, and how it writes (DITTO, arXiv 2206.02369).

    curves = repeated_curves(model, pairs, copies=32)         # TP, IP and WR over the copies of a sentence
    forced = teacher_forced(model, documents)                 # probability and first choice at every position
    texts = continuations(model, prefixes, 100, top_p=0.9)    # what it writes

A sentence stands behind the sentence before it and is repeated. With P_n,l the probability of its token l in copy n,
copy 0 being the first,

    TP_n   mean of P_n,l over the tokens of all sentences
    IP_n   share of tokens with P_n,l > P_0,l
    WR_n   share of tokens that are the model's first choice

All l tokens of every copy count, the first one too, which is predicted from the end of the copy before. (The authors'
code reads one place further on: the tokens from the second to the first of the next copy.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorers.lm.batching import make_batches
from scorers.lm.model import LanguageModel

PIECE = {"cpu": 2**24, "cuda": 2**27}
"""Floats of logits at once."""


@dataclass(frozen=True)
class Curves:
    """Arrays over copies, copy 0 first. tp, ip, wr: float64; ip of copy 0 is NaN. tokens, sentences: int64, counted."""

    tp: np.ndarray
    ip: np.ndarray
    wr: np.ndarray
    tokens: np.ndarray
    sentences: np.ndarray


@dataclass(frozen=True)
class Forced:
    """Of sequences one after the other: logp (float32) and choice (int64) of each token; NaN and -1 of a first one."""

    logp: np.ndarray
    choice: np.ndarray
    offsets: np.ndarray


def repeated_curves(
    model: LanguageModel, pairs: Sequence[tuple[np.ndarray, np.ndarray]], copies: int, token_budget: int = 8192
) -> Curves:
    """The curves over pairs (prefix, sentence) of token ids. As many whole copies as the model's context holds.

    copies: repeats after the first occurrence, at most.
    """
    context = model.context or 1 << 30
    lead = [] if model.bos is None else [model.bos]
    sequences, counts = [], []
    for prefix, sentence in pairs:
        room = (context - len(lead) - len(prefix)) // len(sentence)
        count = min(copies + 1, room)
        counts.append(count)
        sequences.append(np.concatenate([lead, prefix, *[sentence] * max(count, 0)]).astype(np.int64))
    forced = teacher_forced(model, sequences, token_budget)
    sums = np.zeros((5, copies + 1))
    for number, ((prefix, sentence), count) in enumerate(zip(pairs, counts, strict=True)):
        if count < 2:
            continue
        begin = forced.offsets[number] + len(lead) + len(prefix)
        place = slice(begin, begin + count * len(sentence))
        p = np.exp(forced.logp[place].astype(np.float64)).reshape(count, -1)
        right = forced.choice[place].reshape(count, -1) == sentence
        told = [p.sum(1), (p > p[0]).sum(1), right.sum(1), np.full(count, len(sentence)), np.ones(count)]
        sums[:, :count] += np.array(told)
    counted = sums[:, sums[3] > 0]
    tp, ip, wr = counted[:3] / counted[3]
    if len(ip):
        ip[0] = np.nan
    return Curves(tp, ip, wr, counted[3].astype(np.int64), counted[4].astype(np.int64))


def teacher_forced(model: LanguageModel, sequences: Sequence[np.ndarray], token_budget: int = 8192) -> Forced:
    """The probability of every token but the first of each sequence, and what the model would rather say.

    Raises ValueError for a sequence that is longer than the model's context.
    """
    import torch

    lengths = np.array([len(one) for one in sequences], np.int64)
    if model.context is not None and len(lengths) and lengths.max() > model.context:
        raise ValueError(f"a sequence of {lengths.max()} tokens; {model.folder} has at most {model.context} positions")
    offsets = np.cumsum(np.append(0, lengths))
    logp = np.full(int(offsets[-1]), np.nan, np.float32)
    choice = np.full(int(offsets[-1]), -1, np.int64)
    whole = np.flatnonzero(lengths > 1)
    with torch.inference_mode():
        for batch in make_batches(lengths[whole] - 1, token_budget):
            chosen = whole[batch]
            width = int(lengths[chosen].max()) - 1
            ids, real = np.zeros((2, len(chosen), width), np.int64)
            targets = []
            for row, number in enumerate(chosen):
                own = np.asarray(sequences[number])
                ids[row, : len(own) - 1], real[row, : len(own) - 1] = own[:-1], 1
                targets.append(own[1:])
            values, best = _score(model, ids, real, np.concatenate(targets))
            first = 0
            for number in chosen:
                size = int(lengths[number]) - 1
                place = slice(int(offsets[number]) + 1, int(offsets[number]) + 1 + size)
                logp[place], choice[place] = values[first : first + size], best[first : first + size]
                first += size
    return Forced(logp, choice, offsets)


def _score(model: LanguageModel, ids: np.ndarray, real: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, ...]:
    import torch

    device = model.device
    mask = torch.from_numpy(real).to(device)
    inputs: dict[str, Any] = {
        "input_ids": torch.from_numpy(ids).to(device),
        "attention_mask": mask,
        "use_cache": False,
    }
    keep, wanted = mask.bool(), torch.from_numpy(targets).to(device)
    head: Any = torch.nn.Identity()
    if model.split_head:
        states, head = model.network.base_model(**inputs)[0][keep], model.network.get_output_embeddings()
    else:
        states = model.network(**inputs).logits[keep]
    size = max(1, PIECE[device.type] // model.rows)
    values, best = [], []
    for some, own in zip(states.split(size), wanted.split(size), strict=True):
        logits = head(some).float()
        values.append(logits.gather(1, own[:, None])[:, 0] - torch.logsumexp(logits, dim=-1))
        best.append(logits.argmax(-1))
    return torch.cat(values).cpu().numpy(), torch.cat(best).cpu().numpy()


def continuations(
    model: LanguageModel,
    prefixes: Sequence[np.ndarray],
    count: int,
    top_p: float | None = None,
    seed: int = 0,
    batch: int = 32,
) -> list[np.ndarray]:
    """`count` tokens after each prefix: the first choice at every step, or drawn from the nucleus of mass top_p.

    All prefixes have one length. The end of the text is never drawn, so that all texts are as long. Nothing of the
    model's own generation settings is used (a penalty on repetition would hide what is measured).
    """
    import torch
    from transformers import GenerationConfig

    if not len(prefixes):
        return []
    told: dict[str, Any] = {"max_new_tokens": count, "min_new_tokens": count, "use_cache": True}
    told |= {"do_sample": False} if top_p is None else {"do_sample": True, "top_p": top_p, "top_k": 0}
    network = model.network
    config = GenerationConfig(
        **told, eos_token_id=network.config.get_text_config().eos_token_id, pad_token_id=0, bos_token_id=model.bos
    )
    lead = [] if model.bos is None else [model.bos]
    found = []
    state = torch.get_rng_state()
    own = network.generation_config
    try:
        network.generation_config = GenerationConfig()  # generate() would take from it what ours leaves open
        for number, first in enumerate(range(0, len(prefixes), batch)):
            torch.manual_seed(seed + number)
            ids = np.stack([np.append(lead, one).astype(np.int64) for one in prefixes[first : first + batch]])
            inputs = torch.from_numpy(ids).to(model.device)
            with torch.inference_mode():
                made = network.generate(inputs, attention_mask=torch.ones_like(inputs), generation_config=config)
            found += list(made[:, ids.shape[1] :].cpu().numpy())
    finally:
        network.generation_config = own
        torch.set_rng_state(state)
    return found
