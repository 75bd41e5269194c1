"""Token scores beside a bare forward pass with loss, on one core: make bench-lm.

A Llama of 12 layers (28M parameters, 16,384 tokens of vocabulary), random weights, float32, rows of 1,024 and 2,048
tokens of the benchmark's text, the first half of each row a prompt and the second half an answer. Three sides take
turns, row by row, each time in another order:

    bare        `model(input_ids=ids, labels=ids).loss`, without gradient
    losses      the loss of every token, aligned (scorers.lm.sequences.score_sequences, layer=None)
    attention   the same with the attention masses of the last layer for every answer token

Ratios are of the times of one row: losses / bare, and attention / losses. Memory: the peak of a process of its own that
runs one side over one row, less its peak with the model open and one short row run.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import corpus, lm_models
from benchmarks.common import DOCUMENTS, NotReady, line, measured_cores, needed, pinned, say

MODEL = "28M-16k"
LENGTHS = (1024, 2048)
ROWS = 6
MEMORY_LENGTHS = (512, 1024, 2048)
SIDES = ("bare", "losses", "attention")
CHECKED = 1e-4
"""Mean losses of both sides agree within this."""


def measure(full: bool, repeats: int) -> dict[str, Any]:
    """Ratios and peaks. full: False for a trial."""
    needed(DOCUMENTS, "bench-data")
    try:
        import torch
        import transformers
    except ImportError:
        raise NotReady("it needs torch and transformers; `make bench-lm` runs it where they are") from None
    [place] = [one for one in lm_models.make() if one.name == MODEL]
    request = {"model": str(place), "rows": ROWS if full else 2, "repeats": repeats if full else 1}
    cores = measured_cores(1)
    run = pinned("benchmarks.tokens", cores, request)
    lines = []
    for length in LENGTHS:
        times = run["times"][str(length)]
        pairs = {side: np.array(times[side]) for side in SIDES}
        lines += [
            line(f"T = {length}: losses, time against the bare pass", "times", _ratios(pairs, "losses", "bare")),
            line(f"T = {length}: attention, time against losses", "times", _ratios(pairs, "attention", "losses")),
            line(f"T = {length}: the bare pass", "tokens/s", (length / pairs["bare"]).tolist()),
        ]
        say(f"{length}: {lines[-3]['value']:.3f} losses, {lines[-2]['value']:.3f} attention")
    for side in SIDES:
        for length in MEMORY_LENGTHS:
            own = pinned("benchmarks.tokens", cores, {"model": str(place), "memory": side, "length": length})
            lines.append(line(f"T = {length}: {side}, peak memory of one row", "MB", [own["megabytes"]]))
    rows, heads = lm_models.SHAPES[MODEL]["vocab_size"], lm_models.SHAPES[MODEL]["heads"]
    about = (
        f"{request['rows']} rows of each length, {request['repeats']} rounds, one core, one thread. In float32 at "
        f"T = 2048, tokens x vocabulary is {2048 * rows * 4 / 1e6:.0f} MB, T x T over {heads} heads "
        f"{2048**2 * heads * 4 / 1e6:.0f} MB. torch {torch.__version__}, transformers {transformers.__version__}.\n"
    )
    return {"lines": lines, "runs": [run], "about": about}


def _ratios(pairs: dict[str, np.ndarray], side: str, base: str) -> list[float]:
    return (pairs[side] / pairs[base]).tolist()


def _rows(folder: Path, length: int, count: int) -> np.ndarray:
    """int64 (count, length): text of the benchmark as rows of tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids: list[int] = []
    for text in corpus.first_megabytes(2).column("text").to_pylist():
        ids += tokenizer.encode(text).ids
        if len(ids) >= length * count:
            break
    return np.array(ids[: length * count], np.int64).reshape(count, length)


def _sequences(row: np.ndarray) -> Any:
    from scorers.lm.attention import SYSTEM, USER
    from scorers.lm.sequences import Sequences

    classes = np.full(len(row), USER, np.int8)
    classes[: len(row) // 8] = SYSTEM
    return Sequences(row, np.array([0, len(row)]), np.array([[len(row) // 2, len(row)]]), classes)


def _side(model: Any, side: str, row: np.ndarray) -> float:
    """Run one side over one row; the mean loss."""
    import torch

    from scorers.lm.sequences import score_sequences

    if side == "bare":
        ids = torch.from_numpy(row)[None]
        with torch.inference_mode():
            return float(model.network(input_ids=ids, labels=ids, use_cache=False).loss)
    found = score_sequences(model, _sequences(row), layer=-1 if side == "attention" else None)
    return float(np.nanmean(found.nll))


def _child(request: dict[str, Any]) -> dict[str, Any]:
    import torch

    from scorers.lm.model import open_model

    torch.set_num_threads(1)
    with open_model(request["model"]) as model:
        if "memory" in request:
            [row] = _rows(Path(request["model"]), request["length"], 1)
            _side(model, request["memory"], row[:64])
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            _side(model, request["memory"], row)
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return {"megabytes": (after - before) * 1024 / 1e6}
        times: dict[str, dict[str, list[float]]] = {}
        for length in LENGTHS:
            rows = _rows(Path(request["model"]), length, request["rows"])
            means = [_side(model, side, rows[0]) for side in SIDES]
            assert max(means) - min(means) < CHECKED, means
            own: dict[str, list[float]] = {side: [] for side in SIDES}
            for number in range(request["repeats"]):
                for i, row in enumerate(rows):
                    for turn in range(len(SIDES)):
                        side = SIDES[(turn + number + i) % len(SIDES)]
                        begun = time.perf_counter()
                        _side(model, side, row)
                        own[side].append(time.perf_counter() - begun)
            times[str(length)] = own
    return {"times": times}


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]))))
