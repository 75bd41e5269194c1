"""configs/preselect-small.yaml, shortened: real models are trained and measured; their losses become a selection."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch")
pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(900)
def test_the_small_config_goes_from_a_measured_panel_to_a_dataset(tmp_path: Path) -> None:
    script = ROOT / "configs" / "preselect-small" / "run.sh"
    command = ["bash", str(script), str(tmp_path), "8", "200"]
    place = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | place, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    models = yaml.safe_load((tmp_path / "panel.yaml").read_text())["models"]
    assert len(models) == 6
    assert len({model["scores"]["bits"] for model in models}) > 1  # measured, so hardly ever equal
    states = [line.split()[0] for line in done.stdout.splitlines() if " shards" in line and "/" in line]
    assert states
    assert set(states) == {"done"}
    with (tmp_path / "weights.csv").open() as file:
        weights = [float(row["linear"]) for row in csv.DictReader(file)]
    assert abs(sum(weights) - 1) < 1e-6
    [evaluation] = (tmp_path / "workspace" / "models").glob("quality-*/evaluation.json")
    assert 0 <= json.loads(evaluation.read_text())["auc"] <= 1
    assert list((tmp_path / "workspace" / "exports").glob("best-*"))
