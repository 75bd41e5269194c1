"""What the README shows, runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.conftest import Tamis

README = (Path(__file__).parents[2] / "README.md").read_text()


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
    queries = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)
    assert len(queries) >= 8
    for query in queries:
        answer = tamis("sql", query, "-w", undisturbed, "--format", "csv")
        assert answer.returncode == 0, f"{query}\n{answer.stderr}"
        assert len(answer.stdout.splitlines()) >= 2, query
