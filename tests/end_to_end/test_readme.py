"""The Python of the README and the queries of the cookbook run; tests/docs has the commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from pipeline.sql import query
from tests.end_to_end.conftest import Tamis

ROOT = Path(__file__).parents[2]
README, COOKBOOK = (ROOT / "README.md").read_text(), (ROOT / "docs" / "cookbook.md").read_text()


def test_the_python_of_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "crawl.jsonl").write_text('{"url": "a", "text": "One text. One text."}\n{"url": "b", "text": "Two."}\n')
    (tmp_path / "example.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "workspace" / "scores" / "web").glob("*/part-*.parquet"))) == 2


def test_the_cookbook_queries_answer_on_any_workspace_of_the_demos_kind(tamis: Tamis, undisturbed: Path) -> None:
    queries = re.findall(r"```sql\n(.*?)```", COOKBOOK, re.DOTALL)
    assert len(queries) >= 8
    for text in [*queries, *re.findall(r"```sql\n(.*?)```", README, re.DOTALL)]:
        assert query(str(undisturbed), text).num_rows >= 1, text
    answer = tamis("sql", queries[0], "-w", undisturbed, "--format", "csv")
    rows = query(str(undisturbed), queries[0]).num_rows
    assert (answer.returncode, len(answer.stdout.splitlines())) == (0, rows + 1), answer.stderr
