"""A short campaign: one fault of each kind of file, and nothing is lost."""

import pytest

from tests.faults.campaign import main


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["truncated", "flipped", "swapped"])
def test_damaged_files_are_made_again_or_named(kind: str) -> None:
    assert main(["--each", "1", "--only", kind]) == 0
