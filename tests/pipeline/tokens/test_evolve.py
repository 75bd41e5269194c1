"""Self-evolving cleaning with real (tiny) models: who reads what, what is trained on, going on, what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from cli.main import main  # noqa: E402
from pipeline.errors import UserError  # noqa: E402
from pipeline.execute import Compute, Pool  # noqa: E402
from pipeline.ingest import IngestSettings, ingest  # noqa: E402
from pipeline.sql import query  # noqa: E402
from pipeline.tokens.evolve import evolve, read_evolution  # noqa: E402
from pipeline.tokens.passes import model_identity  # noqa: E402
from pipeline.tokens.ranking import part_of  # noqa: E402
from pipeline.tokens.table import open_table  # noqa: E402
from pipeline.workspace import Workspace  # noqa: E402
from tests.pipeline.tokens.test_score import model, talks  # noqa: E402

TRAIN: dict[str, Any] = {
    "model": {"checkpoint": "base"},
    "context": 64,
    "batch": 4,
    "micro_batch": 4,
    "steps": 4,
    "threads": 1,
    "device": "cpu",
}


def config(folder: Path, **changes: Any) -> str:
    values = {"name": "clean", "corpus": "chat", "parts": 2, "rho": 0.5, "score": {"threads": 1}, "train": TRAIN}
    (folder / "evolve.yaml").write_text(yaml.safe_dump(values | changes))
    return str(folder / "evolve.yaml")


class Stopped(Exception):
    pass


@pytest.mark.timeout(1500)
def test_each_part_is_cleaned_by_the_checkpoint_of_the_part_before_and_a_stopped_run_goes_on(
    tmp_path: Path, workspace: Workspace, pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    model(tmp_path / "base", 0)
    settings = IngestSettings(sources=[str(talks(tmp_path, 20))], id="id", max_chars=5000)
    ingest(workspace, "chat", settings, pool)
    wanted, _ = read_evolution(config(tmp_path), [])

    def until_part_0_is_trained(text: str) -> None:
        if "trained" in text:
            raise Stopped

    with pytest.raises(Stopped):
        evolve(workspace, wanted, Compute(workers=1), until_part_0_is_trained)
    first = {str(path): path.stat().st_mtime_ns for path in Path(workspace.url).rglob("*.safetensors")}
    assert first
    with pytest.raises(SystemExit) as ended:
        main(["tokens", "evolve", config(tmp_path), "-w", workspace.url, "--workers", "1"])
    assert not ended.value.code
    said = capsys.readouterr()
    last = Path(said.out.strip())
    assert (last / "model.safetensors").is_file()
    assert [line.partition(":")[0] for line in said.err.splitlines() if line.startswith("part ")] == [
        "part 0 of 2",
        "part 0 of 2",
        "part 1 of 2",
        "part 1 of 2",
    ]
    assert {path: os.stat(path).st_mtime_ns for path in first} == first

    [run] = [folder for folder, record in workspace.stages("runs").items() if record["name"] == "clean-0"]
    newest = max(Path(workspace.store.path(run), "checkpoints").iterdir())
    readers = open_table(workspace, "chat", "clean-1").provenance["models"]
    assert readers["earlier"]["model"] == model_identity(str(tmp_path / "base"))
    assert readers["reference"]["model"] == model_identity(str(newest))
    assert list(open_table(workspace, "chat", "clean-0").provenance["models"]) == ["earlier"]

    rows = query(
        workspace,
        """SELECT selection, id, s.reason, list_sum(t.loss_mask) AS answers, s.n_selected AS kept,
             list_filter(s.score, lambda x: NOT isnan(x)) AS scores,
             list_sum(list_transform(list_zip(s.selected, s.score), lambda p: if(p[1] = 1, p[2], 0))) AS best
           FROM token_selections s JOIN tokens t USING (corpus, id) WHERE t.scores = s.selection ORDER BY id""",
    ).to_pylist()
    for part in (0, 1):
        mine = [row for row in rows if row["selection"] == f"clean-{part}" and row["reason"] is None]
        others = {row["id"] for row in rows if row["selection"] == f"clean-{part}" and row["reason"] == "other_part"}
        assert mine
        assert {part_of(row["id"], 2, 0) for row in mine} == {part}
        assert {part_of(name, 2, 0) for name in others} == {1 - part}
        kept, scores = sum(row["kept"] for row in mine), [s for row in mine for s in row["scores"]]
        assert kept == (len(scores) if part == 0 else len(scores) // 2)
        if part == 1:
            best = sorted(scores, reverse=True)[:kept]
            assert sum(row["best"] for row in mine) == pytest.approx(sum(best), rel=1e-5)
            assert len(set(scores)) > kept

    before = {str(path): path.stat().st_mtime_ns for path in Path(workspace.url).rglob("*.parquet")}
    assert evolve(workspace, wanted, Compute(workers=1)) == str(last.relative_to(workspace.url))
    assert {str(path): path.stat().st_mtime_ns for path in Path(workspace.url).rglob("*.parquet")} == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parts": 1}, "parts: Input should be greater than or equal to 2"),
        ({"train": {"context": 64, "steps": 1}}, "train.model.checkpoint: expected the model before fine-tuning"),
        ({"train": TRAIN | {"name": "x"}}, r"train.name: the parts decide this; take it out"),
        ({"train": TRAIN | {"data": {"paths": ["x"]}}}, r"train.data.paths: the parts decide this; take it out"),
        ({"score": {"reference": "x"}}, r"score.reference: the parts decide this; take it out"),
        ({"score": {"layr": 1}}, "layr: unknown key"),
        ({"train": TRAIN | {"epochs": 1}}, "give one of `tokens`, `steps` and `epochs`"),
    ],
)
def test_mistakes_are_said_before_anything_runs(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_evolution(config(tmp_path, **changes), [])
