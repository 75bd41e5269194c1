"""lm-evaluation-harness on a checkpoint, in a process of its own, where it is installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import orjson

from pipeline.errors import UserError
from pipeline.storage import Store
from pipeline.trainer.checkpoint import Checkpoint, local


def harness_scores(store: Store, checkpoint: Checkpoint, tasks: Sequence[str]) -> dict[tuple[str, str], float]:
    """{(task, metric): value} of the tasks; nothing for no tasks. Kept beside the checkpoint, so a rerun reads them.

    Raises UserError if the harness is not installed or fails; its own last line is in the message.
    """
    if not tasks:
        return {}
    kept = f"{checkpoint.folder}/lm-eval.json"
    known = orjson.loads(store.read_bytes(kept)) if store.exists(kept) else {}
    missing = [task for task in tasks if task not in known]
    if missing:
        known |= _run(store, checkpoint, missing)
        store.write_bytes(kept, orjson.dumps(known, option=orjson.OPT_INDENT_2))
    return {(task, metric): value for task in tasks for metric, value in known[task].items()}


def _run(store: Store, checkpoint: Checkpoint, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
    if importlib.util.find_spec("lm_eval") is None:
        raise UserError("tasks: lm_eval is not installed; pip install lm-eval, or leave `tasks` out")
    with local(store, checkpoint.folder) as path, tempfile.TemporaryDirectory(prefix="tamis-") as out:
        command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--tasks", ",".join(tasks)]
        command += ["--model_args", f"pretrained={path},dtype=float32", "--output_path", out]
        done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
        files = sorted(Path(out).rglob("results*.json"))
        if done.returncode or not files:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise UserError(f"tasks: lm_eval ended with exit code {done.returncode}: {last}")
        results = orjson.loads(files[-1].read_bytes())["results"]
    return {
        task: {
            key.partition(",")[0]: float(value)
            for key, value in results[task].items()
            if isinstance(value, (int, float)) and "stderr" not in key
        }
        for task in tasks
        if task in results
    }
