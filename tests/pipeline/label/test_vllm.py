"""A judge through vLLM gives the labels that it gives through transformers. Run by `make test-vllm`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pipeline.execute import Compute, Pool  # noqa: E402
from pipeline.label.label import make_labels  # noqa: E402
from pipeline.preselect.sample import make_sample  # noqa: E402
from pipeline.preselect.settings import SampleSettings  # noqa: E402
from pipeline.preselect.strength import read_strength  # noqa: E402
from pipeline.workspace import Workspace  # noqa: E402
from tests.pipeline.label.test_label import judge_folder, settings  # noqa: E402
from tests.pipeline.preselect.helpers import web  # noqa: E402


def test_vllm_and_transformers_give_the_same_labels(workspace: Workspace, vllm_python: str, tmp_path: Path) -> None:
    judge_folder(tmp_path / "a", seed=0, heads=32)
    values = {}
    with Pool(Compute(workers=1), workspace) as pool:
        sample = make_sample(web(workspace, domains=5, per_domain=4), SampleSettings(), pool)
        for engine in ("vllm", "transformers"):
            judge = {"name": "a", "engine": engine, "model": str(tmp_path / "a"), "python": vllm_python}
            stage = make_labels(sample, settings(tmp_path, judges=[judge]), pool, engine)
            values[engine] = read_strength(sample, stage.folder).column("judge").to_numpy()
    assert np.ptp(values["vllm"]) > 0.1
    np.testing.assert_allclose(values["vllm"], values["transformers"], atol=1e-3)
