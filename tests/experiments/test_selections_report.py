"""Differences are taken within seeds, source by source; what a run prints goes between the markers of its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.preselect_text import labelled_chunks
from experiments.selections_report import ARMS, by_source
from experiments.trainings import Size, fill


def test_differences_per_source_are_within_seeds():
    rows = [
        {"metric": "bits_per_byte", "set": name, "source": "manual", "selection": arm, "seed": seed, "value": value}
        for seed in (0, 1)
        for number, arm in enumerate(ARMS)
        for name, value in (("held_out", 2 + seed - 0.1 * number), ("target", 9.0))
    ]
    line = by_source(rows, "random").splitlines()[-1]
    assert "| manual | 2.2000 ± 6.3531 | +0.3000 ± 0.0000 |" in line  # t of one degree of freedom times 0.5


def test_the_parameters_are_those_of_the_model():
    pytest.importorskip("torch")
    from experiments.trainings import recipe
    from pipeline.trainer.model import open_network
    from pipeline.trainer.settings import ModelSettings

    config = recipe(100, Size(32, 2), {})["model"]["config"]
    network = open_network(ModelSettings(config=config), 4096, {"bos_token_id": 0, "eos_token_id": None}, 0)
    assert sum(one.numel() for one in network.parameters()) == Size(32, 2).parameters()[0]


def test_a_page_takes_what_a_run_printed(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- run -->\nold\n<!-- /run -->\nafter\n")
    fill(page, "    new \\1\n")
    assert page.read_text() == "before\n<!-- run -->\n    new \\1\n<!-- /run -->\nafter\n"


def test_the_targets_chapters_are_not_those_that_the_classifiers_know():
    pytest.importorskip("torch")
    from experiments.selections import TAUGHT

    chunks = labelled_chunks()
    known = {text for own in chunks.values() for text in own[:TAUGHT]}
    target = set(chunks[True][TAUGHT:])
    assert len(target) > 200
    assert not known & target
