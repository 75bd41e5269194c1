"""Exports loaded with the code of the trainers they are for: every token and its weight arrive as they were selected.

`make peers-tokens` makes the environments; where one is not there, its test is skipped.
"""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import python_of
from benchmarks.trainers import STEPS, installed
from pipeline.execute import Pool
from pipeline.workspace import Workspace
from tests.pipeline.tokens.test_export import TAKING, exported, selected

__all__ = ["selected"]
READERS = {
    "axolotl": {"prepared", "packed"},
    "llamafactory": {"tokenized_path", "v1"},
    "olmo-core": {"rows", "packed"},
    "skyrl": {"pretokenized"},
    "torchtune": {"sft"},
}


def read(name: str, folder: str, place: Path) -> dict[str, list[tuple[list[int], list[bool]]]]:
    """{reader: [(ids, which carry loss)]}"""
    if not installed(name):
        pytest.skip(f"benchmarks/.venvs/{name} is not there; `make peers-tokens` makes it")
    place.mkdir()
    program = Path(__file__).parent / "readers" / f"read_{name.replace('-', '_')}.py"
    command = [str(python_of(name)), str(program), folder, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = defaultdict(list)
    for line in done.stdout.splitlines():
        if line.startswith('{"reader"'):
            row = json.loads(line)
            assert {float(weight) for weight in row["weights"]} <= {0.0, 1.0}
            found[row["reader"]].append((row["ids"], [weight != 0 for weight in row["weights"]]))
    return dict(found)


def test_every_trainer_has_its_reader() -> None:
    assert set(READERS) == set(STEPS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", READERS)
def test_masks_labels_and_weights_arrive_token_for_token(
    workspace: Workspace, pool: Pool, selected: dict[str, list[bool]], tmp_path: Path, name: str
) -> None:
    record, _ = exported(workspace, pool, name.removesuffix("-core"))
    found = read(name, record["folder"], tmp_path / "reader")
    assert set(found) == READERS[name]
    samples = [(TAKING[document]["input_ids"], learn) for document, learn in selected.items()]
    for reader, rows in found.items():
        if reader == "rows":  # cut anywhere, of each file the full rows; the first token of a row has no label
            ids = [token for tokens, _ in rows for token in tokens]
            assert all(not learn[0] for _, learn in rows)
            assert len(ids) > 0.5 * sum(len(tokens) for tokens, _ in samples)
            _check_rows(rows, samples)
        else:
            assert sorted(rows) == sorted(samples), reader


def _check_rows(rows: list[tuple[list[int], list[bool]]], samples: list[tuple[list[int], list[bool]]]) -> None:
    ids = [token for tokens, _ in samples for token in tokens]
    learns = [keep for _, learn in samples for keep in learn]
    at = 0
    for tokens, learn in rows:
        while ids[at : at + len(tokens)] != tokens:
            at += 1
            assert at < len(ids)
        assert learn[1:] == learns[at + 1 : at + len(tokens)]
        at += len(tokens)
