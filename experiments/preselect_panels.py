"""Recovery on language models that were really trained: six that differ in their data, anew for every seed.

    python -m experiments.preselect_panels                 # trains what is missing, then prints the tables
    python -m experiments.preselect_panels --first-seed 2 --seeds 1 --train-only

Needs the extra `lm`. All six are one architecture (tiny Llamas of configs/preselect-small); what differs is how much of
their text explains things and how much text they see. Seeds differ in the first weights and in the order of the data.
The text (experiments/preselect_text.py) is parted by blocks into text for training, a benchmark and the pool to judge.

The order of the models is measured, not assumed: ``pairs`` is how often (%) a model prefers a passage of a held-out
explaining chapter to the same passage with two neighbouring words exchanged; half is chance. ``bits`` are bits per byte
of those chapters with a minus sign. What was measured is kept in --out per model and seed, so a run that was stopped
goes on where it was. The question is whether strengths find the explaining documents of the pool, which no model saw.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import xxhash

from experiments.preselect_classifier import judged, table
from experiments.preselect_recovery import ESTIMATORS, estimate, mean_and_half_width
from experiments.preselect_text import BANDS, BLOCK, LONGER, Chunks, Documents, cut, labelled_chunks
from scorers.preselect.diagnostics import rank_correlation
from tests.scorers.preselect.recovery import World

ROOT = Path(__file__).parents[1]
RECIPE = {  # name: (share of explaining text, share of the steps)
    "listings": (0.0, 1.0),
    "a quarter explains": (0.25, 1.0),
    "half, brief": (0.5, 0.4),
    "half explains": (0.5, 1.0),
    "explaining, brief": (1.0, 0.4),
    "explaining": (1.0, 1.0),
}
WIDTH, STEPS = 128, 300
BENCHMARK, TRAINING = 96, 288
"""explaining chunks of the benchmark; chunks of each kind to train on"""
PAIRS = 800
EACH = {"short": 2, "medium": 1}  # documents of a chunk
VERSION = 1


def parted(chunks: Chunks) -> tuple[Chunks, list[str], Chunks]:
    """Chunks to train on, the benchmark's, and the pool's; blocks of neighbours stay on one side."""
    random = np.random.default_rng(0)
    training, rest = {}, {}
    for kind, own in chunks.items():
        blocks = [own[start : start + BLOCK] for start in range(0, len(own), BLOCK)]
        dealt = [chunk for block in random.permutation(len(blocks)) for chunk in blocks[block]]
        training[kind], rest[kind] = dealt[:TRAINING], dealt[TRAINING:]
    benchmark, rest[True] = rest[True][:BENCHMARK], rest[True][BENCHMARK:]
    return training, benchmark, rest


def minimal_pairs(chunks: list[str]) -> list[str]:
    """PAIRS times a passage of 24 words as it stands, then the same with two neighbouring words exchanged."""
    random = np.random.default_rng(1)
    found: list[str] = []
    while len(found) < 2 * PAIRS:
        words = chunks[random.integers(len(chunks))].split()
        start, place = random.integers(len(words) - 24), random.integers(4, 20)
        passage = words[start : start + 24]
        other = passage.copy()
        other[place], other[place + 1] = passage[place + 1], passage[place]
        if other != passage:
            found += [" ".join(passage), " ".join(other)]
    return found


def small_panel() -> ModuleType:
    """configs/preselect-small/make_panel.py, which knows how to train."""
    spec = importlib.util.spec_from_file_location("make_panel", ROOT / "configs" / "preselect-small" / "make_panel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train_and_measure(name: str, seed: int, chunks: Chunks, pools: dict[str, Documents], target: Path) -> None:
    """Train one model; write its scores and the token losses of the pools."""
    from transformers.utils import logging

    from scorers.lm.losses import token_losses
    from scorers.lm.model import open_model

    training, benchmark, _ = parted(chunks)
    panel = small_panel()
    panel.torch.set_num_threads(1)
    logging.disable_progress_bar()
    tokenizer = panel.tokenizer_with_bos()
    share, part = RECIPE[name]
    by_label = {"1": training[True], "0": training[False]}
    own_seed = 1000 * seed + list(RECIPE).index(name)
    trained = panel.train(by_label, share, WIDTH, int(part * STEPS), own_seed, tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        trained.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        with open_model(folder) as model:
            pairs = token_losses(model, minimal_pairs(benchmark)).sums
            chapters = token_losses(model, benchmark)
            arrays = {
                "pairs": 100 * (pairs[::2] < pairs[1::2]).mean(),
                "bits": -chapters.sums.sum() / chapters.bytes.sum() / np.log(2),
            }
            for band, documents in pools.items():
                found = token_losses(model, documents.texts)
                arrays |= {f"{band} values": found.values, f"{band} offsets": found.offsets}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".part", delete=False) as file:
        np.savez(file, **arrays)
    Path(file.name).replace(target)


def world(files: list[Path], band: str, documents: Documents, benchmark: str) -> World:
    """What the six models of a seed say about a band of the pool."""
    models = [np.load(file) for file in files]
    offsets = models[0][f"{band} offsets"]
    values = np.stack([model[f"{band} values"] for model in models])
    sums = np.add.reduceat(values.astype(np.float64), offsets[:-1], axis=1).T
    scores = np.array([float(model[benchmark]) for model in models])
    return World(documents.explaining, documents.domain, values, offsets, sums, scores)


def agreement(worlds: list[World]) -> tuple[np.ndarray, np.ndarray]:
    """Per estimator, the rank correlation of the strengths that two seeds give the same documents: mean and spread."""
    found = [estimate(one) for one in worlds]
    pairs = [(i, j) for i in range(len(found)) for j in range(i)]
    values = [[rank_correlation(found[i][name], found[j][name]) for name in ESTIMATORS] for i, j in pairs]
    return np.mean(values, axis=0), np.std(values, axis=0)


def scores_table(files: dict[int, list[Path]]) -> str:
    """Scores per model, mean +- half the width of the 95 % interval over seeds, and the orders that were measured."""
    lines = [f"{'model':22}{'minimal pairs, %':>20}{'- bits per byte':>20}"]
    scores = {
        key: np.array([[float(np.load(f)[key]) for f in own] for own in files.values()]) for key in ("pairs", "bits")
    }
    means = {key: mean_and_half_width(values) for key, values in scores.items()}
    for n, name in enumerate(RECIPE):
        cells = "".join(f"{mean[n]:>12.3f} +-{width[n]:.3f}" for mean, width in means.values())
        lines.append(f"{name:22}{cells}")
    for key, values in scores.items():
        orders = {tuple(np.argsort(row)) for row in values}
        lines.append(f"{key}: {len(orders)} different orders of the models over {len(values)} seeds")
    return "\n".join(lines)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="Recovery of explaining documents with really trained models.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "experiments" / ".panels")
    parser.add_argument("--train-only", action="store_true")
    given = parser.parse_args()
    chunks = labelled_chunks()
    _, _, rest = parted(chunks)
    pools = {band: cut(rest, BANDS[band], EACH[band], np.random.default_rng(2)) for band in BANDS}
    made_of = json.dumps([VERSION, RECIPE, WIDTH, STEPS, PAIRS, [documents.texts for documents in pools.values()]])
    key = xxhash.xxh3_64_hexdigest(made_of.encode())[:8]
    files: dict[int, list[Path]] = {}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        files[seed] = [given.out / f"{key}-{seed}-{n}.npz" for n in range(len(RECIPE))]
        for name, file in zip(RECIPE, files[seed], strict=True):
            if not file.exists():
                begun = time.time()
                train_and_measure(name, seed, chunks, pools, file)
                print(f"seed {seed}, {name}: {time.time() - begun:.0f} s", file=sys.stderr, flush=True)
    if given.train_only:
        return
    print(f"{scores_table(files)}\n")
    for band, documents in pools.items():
        for benchmark in ("pairs", "bits"):
            worlds = {seed: world(own, band, documents, benchmark) for seed, own in files.items()}
            found = [judged(one, documents, seed, (LONGER,)) for seed, one in worlds.items()]
            print(
                f"{band}, benchmark {benchmark}: {len(documents.texts)} documents, {documents.explaining.mean():.0%} "
                f"explaining, {given.seeds} seeds\n\n{table(*map(np.array, zip(*found, strict=True)))}"
            )
            mean, spread = agreement(list(worlds.values()))
            told = ", ".join(
                f"{name} {mean[n]:.2f} +-{spread[n]:.2f}" for n, name in enumerate(ESTIMATORS) if n in (0, 4)
            )
            print(f"rank correlation of two seeds' strengths: {told}\n", flush=True)


if __name__ == "__main__":
    main()
