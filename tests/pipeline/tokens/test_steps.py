"""The section `tokens` of a config, planned and run with real (tiny) models; and `tamis tokens show`."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from cli.main import main  # noqa: E402
from pipeline.config import load  # noqa: E402
from pipeline.execute import Compute, Pool  # noqa: E402
from pipeline.lock import held  # noqa: E402
from pipeline.run import plan, run  # noqa: E402
from pipeline.workspace import Workspace  # noqa: E402
from tests.cli.test_tokens import config  # noqa: E402
from tests.pipeline.tokens.test_score import model, talks  # noqa: E402


def test_a_config_is_planned_run_and_then_done(
    tmp_path: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    talks(tmp_path)
    for seed, name in enumerate(("earlier", "later")):
        model(tmp_path / name, seed)
    checked = load(str(config(tmp_path)))
    assert [(step.kind, step.state) for step in plan(checked, workspace)] == [("ingest", "to do"), ("tokens", "waits")]
    with held(workspace.store), Pool(Compute(workers=1), workspace) as pool:
        run(checked, workspace, pool)
    steps = plan(checked, workspace)
    assert {step.state for step in steps} == {"done"}
    kinds = ["ingest", "token-pass", "token-pass", "tokens", "token-selection", "token-export"]
    assert [step.kind for step in steps] == kinds
    with pytest.raises(SystemExit) as ended:
        main(
            ["tokens", "show", "--corpus", "chat", "--selection", "cut", "--id", "t00", "--values", "-w", workspace.url]
        )
    assert not ended.value.code
    shown = capsys.readouterr().out
    assert "t00: " in shown
    assert "[-" in shown
    assert "<|im_start|>assistant" in shown
    assert "nll_later" in shown
    changed = load(str(config(tmp_path, "    layer: 0\n")))
    states = {(step.kind, step.name): (step.state, step.why) for step in plan(changed, workspace)}
    assert states["token-pass", "earlier"][0] == "done"
    assert states["token-pass", "later"] == ("stale", ("layer: -1 -> 0",))
    assert states["token-selection", "cut"][0] == "waits"
