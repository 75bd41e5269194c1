"""Cost per byte of documents that are made to hurt, beside the median cost of real ones: fastText, repetition, lengths.

One core, in memory, in batches as a stage makes them; CPU time, since one shape is not measured beside another. Each
shape is scored as one document of several MB and again cut into documents of 2 KB. 1 means: as cheap per byte as the
median batch of the real documents.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from benchmarks import corpus, model
from benchmarks.common import DOCUMENTS, MODEL, line, measured_cores, needed, pinned
from benchmarks.sides.batches import arrow_batches
from benchmarks.statistics import median

SCORERS = ["preselect", "repetition", "lengths"]
MILLION = 1_000_000
SMALL = 2048


def shapes() -> Iterator[tuple[str, str]]:
    """(name, text) of each shape."""
    draw = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    yield "one word a million times", "word " * MILLION
    yield "a million distinct words", " ".join(f"w{number}" for number in range(MILLION))
    yield "a million one-letter words", " ".join(draw.choices(letters, k=MILLION))
    yield "no spaces: random letters", "".join(draw.choices(letters, k=10 * MILLION))
    yield "no spaces: one letter", "a" * (10 * MILLION)
    yield "10 MB of CJK", "".join(map(chr, draw.choices(range(0x4E00, 0x9FFF), k=10 * MILLION // 3)))
    yield "10 MB of one CJK character", "字" * (10 * MILLION // 3)
    yield "newlines alone", "\n" * (10 * MILLION)
    yield "spaces alone", " " * (10 * MILLION)
    yield "punctuation alone", "".join(draw.choices(".,;:!?-()\"'", k=5 * MILLION))
    yield "a million short sentences", "It is. " * MILLION
    yield "a million short lines", "".join(f"{number % 7}\n" for number in range(MILLION))
    yield "loop of 13 words", " ".join(f"w{number % 13}" for number in range(MILLION))
    yield "words of a Fibonacci string", " ".join(_fibonacci(MILLION))
    yield "combining marks alone", "́" * (2 * MILLION)
    for count in (2, 4, 8):
        yield f"a million words of {count} letters", " ".join(draw.choices(letters[:count], k=MILLION))
    han = [chr(0x4E00 + number) for number in range(6000)]
    weights = [1 / (rank + 1) for rank in range(len(han))]
    yield "5 MB of Han as frequent as in a language", "".join(draw.choices(han, weights, k=5 * MILLION // 3))


def _fibonacci(length: int) -> str:
    """Repeats at every scale and in every place, yet no period."""
    before, text = "b", "a"
    while len(text) < length:
        before, text = text, text + before
    return text[:length]


def measure(megabytes: float, repeats: int) -> dict[str, Any]:
    """Every shape, every scorer, in a pinned process."""
    needed(DOCUMENTS, "bench-data")
    needed(MODEL, "bench-model")
    found = pinned("benchmarks.linear", measured_cores(1), {"mb": megabytes, "repeats": repeats})
    usual = found["usual"]
    lines = [line("real documents: all three", "ns/byte", [sum(usual.values()) * 1e9])]
    lines += [line(f"real documents: {name}", "ns/byte", [usual[name] * 1e9]) for name in SCORERS]
    for shape, costs in found["shapes"].items():
        ratios = {name: costs[name] / usual[name] for name in SCORERS}
        worst = max(ratios, key=lambda name: ratios[name])
        unit = f"times; worst scorer: {worst} {ratios[worst]:.2f}"
        lines.append(line(shape, unit, [sum(costs.values()) / sum(usual.values())]))
    about = "Medians of repeats, in CPU time; times: cost per byte against the median batch of real documents.\n"
    return {"megabytes": megabytes, "model": model.facts(), "lines": lines, **found, "about": about}


def _child(request: dict[str, Any]) -> dict[str, Any]:
    from scorers import scorer_module
    from scorers.texts import Texts

    loaded = {}
    for name in SCORERS:
        module = scorer_module(name)
        files = {"model": str(MODEL)} if name == "preselect" else {}
        loaded[name] = module.load(module.Settings(**files), files, name)

    def cost(batches: list[pa.Array]) -> dict[str, float]:
        """Seconds per byte of each scorer; the word split counts for the first scorer that asks for it."""
        seconds = dict.fromkeys(SCORERS, 0.0)
        size = 0
        for batch in batches:
            texts = Texts.from_arrow(batch)
            size += texts.num_bytes
            for name, scorer in loaded.items():
                begun = time.process_time()
                scorer.score(texts)
                seconds[name] += time.process_time() - begun
        return {name: value / size for name, value in seconds.items()}

    def typical(runs: list[dict[str, float]]) -> dict[str, float]:
        return {name: median([run[name] for run in runs]) for name in SCORERS}

    batches = arrow_batches(corpus.first_megabytes(request["mb"]).column("text").to_pylist())
    cost(batches[:1])
    usual = typical([cost([batch]) for batch in batches])
    found = {}
    for shape, text in shapes():
        for how, texts in ((", one document", [text]), (", cut to 2 KB", _small(text))):
            cut = arrow_batches(texts)
            found[shape + how] = typical([cost(cut) for _ in range(request["repeats"])])
            total = sum(found[shape + how].values()) / sum(usual.values())
            print(f"{shape}{how}: {total:.2f} times", file=sys.stderr, flush=True)
    return {"usual": usual, "shapes": found}


def _small(text: str) -> list[str]:
    step = max(SMALL * len(text) // len(text.encode()), 1)
    return [text[start : start + step] for start in range(0, len(text), step)]


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]))))
