"""Fixtures that several folders share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from pipeline.execute import Compute, Pool
from pipeline.workspace import Workspace

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Before torch is loaded, here and in workers: some virtual machines name AMX but do not have it, and torch's bfloat16
# then dies of an illegal instruction.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")

# The first example of a kernel compiles it, and neighbours may have the core: no test here is about time.
hypothesis.settings.register_profile("tamis", deadline=None)
hypothesis.settings.load_profile("tamis")


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Two real Dask worker processes, shared by all tests (any workspace on disk)."""
    with Pool(Compute(workers=2), Workspace(str(tmp_path_factory.mktemp("pool")))) as made:
        yield made


@pytest.fixture
def workspace(tmp_path: os.PathLike[str]) -> Workspace:
    """An empty workspace on disk."""
    return Workspace(f"{tmp_path}/workspace")


@pytest.fixture(scope="session")
def vllm_python() -> str:
    """An interpreter with vLLM: `make test-vllm` names it; elsewhere what needs one is skipped."""
    named = os.environ.get("TAMIS_VLLM_PYTHON")
    if not named:
        pytest.skip("needs vLLM; run by `make test-vllm`")
    return named
