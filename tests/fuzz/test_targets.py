"""Every reader and parser takes hostile input or refuses it in a line: mutated files, and all that ever broke one.

tests/fuzz/found holds inputs that broke a target once, by target; `make fuzz` looks for more.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

FOUND = Path(__file__).parent / "found"
FOUND_FILES = sorted(path for path in FOUND.glob("*/*") if path.is_file())


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_is_read_and_every_seed_is_read_or_refused(name: str) -> None:
    target = TARGETS[name]
    assert sum(map(target.attempt, target.seeds)) > 0


@pytest.mark.parametrize("path", FOUND_FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_broke_a_reader_once_does_not_again(path: Path) -> None:
    TARGETS[path.parent.name].attempt(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_mutations_are_read_or_refused(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    content = bytearray(data.draw(st.sampled_from(target.seeds)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        kind = data.draw(st.sampled_from(("flip", "cut", "insert", "word", "repeat")))
        if kind == "flip" and at < len(content):
            content[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del content[at : at + data.draw(st.integers(1, 40))]
        elif kind == "insert":
            content[at:at] = data.draw(st.binary(max_size=8))
        elif kind == "word" and target.words:
            content[at:at] = data.draw(st.sampled_from(target.words))
        elif kind == "repeat":
            content[at:at] = content[at : at + 20] * data.draw(st.integers(1, 20))
    target.attempt(bytes(content))
