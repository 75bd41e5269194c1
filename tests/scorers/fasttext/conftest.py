"""Small models of every kind, made by the library itself in a process with clean memory, and text to try them on."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAINED: dict[str, dict] = {
    "softmax2": {"labels": 2},
    "sharp": {"labels": 2, "epoch": 12},  # large weights: rounding shows
    "softmax7": {"labels": 7, "lr": 1.0},
    "softmax100": {"labels": 2, "dim": 100, "minCount": 3},
    "ova7": {"labels": 7, "loss": "ova"},
    "ns7": {"labels": 7, "loss": "ns"},
    "hs2": {"labels": 2, "loss": "hs"},
    "hs7": {"labels": 7, "loss": "hs"},
    "subwords": {"labels": 2, "minn": 2, "maxn": 4},
    "subwords_ova7": {"labels": 7, "minn": 3, "maxn": 6, "loss": "ova"},
    "trigrams": {"labels": 3, "wordNgrams": 3},
    "unigrams": {"labels": 3, "wordNgrams": 1, "bucket": 0},
    "wide": {"labels": 30, "dim": 16},  # more labels than dimensions: not folded
    "wide_ova": {"labels": 30, "dim": 16, "loss": "ova"},
    "many": {"labels": 300, "dim": 8, "bucket": 3000, "epoch": 1},
}
QUANTISED: dict[str, tuple[str, dict]] = {
    "qnorm": ("softmax7", {"qnorm": True}),
    "dsub3": ("ova7", {"qnorm": True, "dsub": 3}),
    "dsub1": ("hs7", {"dsub": 1}),
    "pruned": ("softmax100", {"cutoff": 500, "qnorm": True}),
    "pruned_subwords": ("subwords", {"cutoff": 3000}),
    "pruned_wide": ("wide", {"cutoff": 700, "qnorm": True}),
    "pruned_trigrams": ("trigrams", {"cutoff": 400}),
    "qout": ("many", {"qout": True, "qnorm": True}),
}

PROGRAM = """
import json, sys
import fasttext
folder, trained, quantised = json.loads(sys.argv[1])
for name, options in trained.items():
    labels = options.pop("labels")
    with open(f"{folder}/docs.json") as file, open(f"{folder}/rows.txt", "w") as rows:
        for i, text in enumerate(json.load(file)):
            rows.write(f"__label__{(i // 3 if labels < 11 else i) % labels} {text}\\n")
    options = {"dim": 10, "epoch": 4, "lr": 0.5, "bucket": 20000, "wordNgrams": 2, "thread": 1, "verbose": 0} | options
    model = fasttext.train_supervised(f"{folder}/rows.txt", **options)
    model.save_model(f"{folder}/{name}.bin")
    for made, (source, how) in quantised.items():
        if source == name:
            model = fasttext.load_model(f"{folder}/{name}.bin")
            model.quantize(**how)
            model.save_model(f"{folder}/{made}.ftz")
"""


@pytest.fixture(scope="session")
def documents() -> list[str]:
    """1,500 pieces of real English: the standard library's docstrings, newlines as spaces."""
    found = []
    for name in ("argparse", "ast", "asyncio", "collections", "decimal", "difflib", "email", "fractions", "heapq",
                 "inspect", "logging", "pathlib", "pickle", "random", "shutil", "statistics", "string", "subprocess",
                 "tarfile", "threading", "typing", "unittest", "urllib.parse", "zipfile"):  # fmt: skip
        module = importlib.import_module(name)
        found.append(inspect.getdoc(module) or "")
        for _, item in inspect.getmembers(module):
            found.append(inspect.getdoc(item) or "")
            if inspect.isclass(item):
                found += [inspect.getdoc(method) or "" for _, method in inspect.getmembers(item)]
    unique = sorted({" ".join(text.split()) for text in found if len(text) > 60})
    return unique[:: max(1, len(unique) // 1500)][:1500]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, documents: list[str]) -> Path:
    """A folder of ``<name>.bin`` for TRAINED and ``<name>.ftz`` for QUANTISED."""
    from scorers.fasttext.train import clean_environment

    folder = tmp_path_factory.mktemp("fasttext")
    (folder / "docs.json").write_text(json.dumps(documents[:600]))
    arguments = json.dumps([str(folder), TRAINED, QUANTISED])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, arguments], env=clean_environment(os.environ), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder
