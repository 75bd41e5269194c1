"""`tamis preselect`: what a user meets on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.execute import Pool
from pipeline.preselect.sample import make_sample
from pipeline.preselect.settings import SampleSettings, StrengthSettings
from pipeline.preselect.strength import make_strength
from pipeline.workspace import Workspace
from tests.pipeline.preselect.helpers import panel, web, write_losses


def tamis(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd, check=False)


def test_strengths_become_a_classifier_an_evaluation_and_weights(
    workspace: Workspace, pool: Pool, tmp_path: Path
) -> None:
    sample = make_sample(web(workspace), SampleSettings(domains=20, per_domain=10), pool)
    make_strength(sample, panel(), write_losses(sample), StrengthSettings(benchmarks=["quiz"], permutations=5))
    place = ("-w", workspace.url)
    labels = ("--labels", "by=noise", "--labels", "rule=quantile", "--labels", "held_out=0.3")
    small = ("--set", "dim=8", "--set", "bucket=2000", "--set", "lr=0.5")
    trained = tamis(
        "preselect",
        "train",
        "--strength",
        "strength",
        "--corpus",
        "web",
        *labels,
        *small,
        "-o",
        tmp_path / "m.bin",
        *place,
    )
    assert trained.returncode == 0, trained.stderr
    assert Path(trained.stdout.strip()).read_bytes() == (tmp_path / "m.bin").read_bytes()
    judged = tamis("preselect", "evaluate", "--json", *place)
    assert judged.returncode == 0, judged.stderr
    assert json.loads(judged.stdout)["auc"] > 0.9
    weights = tamis("preselect", "weights", "--corpus", "web", "--by", "noise", "--format", "json", *place)
    assert weights.returncode == 0, weights.stderr
    rows = [json.loads(line) for line in weights.stdout.splitlines()]
    assert abs(sum(row["l2"] for row in rows) - 1) < 1e-9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "give labelled ROWS"),
        (["train", "x.jsonl"], "give labelled ROWS"),
        (["train", "--strength", "s"], "needs --corpus"),
        (["train", "x.jsonl", "-o", "m.bin", "--corpus", "web"], "go with --strength"),
        (["losses", "--corpus", "web", "--panel", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["evaluate"], "no classifier 'preselect'"),
        (["weights", "--corpus", "web"], "corpus 'web' has no strengths"),
    ],
)
def test_wrong_input_gets_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = tamis("preselect", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
