"""A membership test through vLLM beside bare vLLM on the same 2,000 prompts: make bench-vllm.

Both on one core, float32, one process of vLLM each. Tamis' side is all that a test does with an identifier: phrases
drawn, sentences, tokens, offsets, the pipe, vLLM, rows of the phrase, values. The bare side is `LLM.generate` on ids
that were made beforehand, with the log-probabilities left where it puts them; its pipe is not timed. They take turns,
an identifier of 200 prompts at a time; their sums of log-probabilities are compared first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import lm_models
from benchmarks.common import DATA, ROOT, NotReady, line, measured_cores, pinned
from benchmarks.statistics import compare

IDENTIFIERS, PROMPTS, CONTEXT, BATCH_TOKENS = 10, 200, 256, 2048


def measure(repeats: int) -> dict[str, Any]:
    """Both sides, `repeats` times over the 2,000 prompts."""
    from scorers.lm.engines import EngineError
    from scorers.lm.engines.process import vllm_python, vllm_version

    try:
        python = vllm_python()
        vllm_version(python)
        import torch  # noqa: F401
    except (EngineError, ImportError) as error:
        raise NotReady(f"{error}; `make bench-vllm` runs it where vLLM and torch are") from None
    folder = DATA / f"membership-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        request = {"folder": str(folder), "python": python, "model": str(lm_models.made("4M-4k")), "repeats": repeats}
        run = pinned("benchmarks.membership", measured_cores(1), request)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = []
    for key, what in (("", "Tamis, times bare vLLM"), ("_cpu", "the same by processor time, whatever neighbours do")):
        ratio = compare(run[f"ours{key}"], run[f"theirs{key}"])
        lines.append({"what": what, "unit": "times", "value": ratio.paired, "low": ratio.low, "high": ratio.high})
    lines += [
        line("Tamis", "prompts/s", run["ours"]),
        line("bare vLLM", "prompts/s", run["theirs"]),
    ]
    about = (
        f"{IDENTIFIERS * PROMPTS:,} prompts of {run['tokens']:.0f} tokens on average, {repeats} times, in parts of "
        f"{PROMPTS}; Llama of 4 million parameters (random weights), vLLM {run['versions']['vllm']} on a CPU, torch "
        f"{run['versions']['torch']}, float32. Medians; the ratio is of pairs. Sums of log-probabilities of both sides "
        f"differ by {run['difference']:.1e} nats a prompt."
    )
    return {"lines": lines, "about": about, "run": run}


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bare:
    """The bare side's process."""

    def __init__(self, python: str, model: str):
        from scorers.lm.engines.worker import DEFAULTS

        self._process = subprocess.Popen(
            [python, "-P", str(ROOT / "benchmarks" / "sides" / "vllm_bare.py")],
            env=DEFAULTS | dict(os.environ) | {"HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        asked = {"model": model, "context": CONTEXT, "batch_tokens": BATCH_TOKENS}
        self.versions = self.ask(asked)["versions"]

    def ask(self, values: Any) -> dict[str, Any]:
        """One line there and one back."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(values) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"bare vLLM died with exit code {self._process.wait()}; its words are above")
        return json.loads(answer)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Both sides in turns, in a process that is bound to one core."""
    from pipeline.ghosts.draw import DrawSettings, commit, draw
    from pipeline.membership.settings import TestSettings
    from pipeline.membership.values import identifier_values, plan_of
    from scorers.ghosts.generator import nulls
    from scorers.lm.engines import EngineSettings, open_engine

    path = str(Path(request["folder"]) / "registry.parquet")
    commit(path, DrawSettings(owners=("x",), count=IDENTIFIERS, unit="owner", m=PROMPTS - 1))
    registry = draw(path, "")
    settings = EngineSettings(
        engine="vllm", model=request["model"], python=request["python"], context=CONTEXT, batch_tokens=BATCH_TOKENS
    )
    plan = plan_of(registry, TestSettings(registry=path, engine=settings, orders=0, last_k=None))
    bare = Bare(request["python"], request["model"])
    found: dict[str, list[float]] = {"ours": [], "theirs": [], "ours_cpu": [], "theirs_cpu": []}
    try:
        with open_engine(settings) as engine:
            asked = []
            for one in registry.active:
                rows = [
                    np.array(one.places),
                    *nulls(registry.generator, registry.words, one.id, PROMPTS - 1, plan.seed),
                ]
                phrases = [registry.generator.phrase(registry.words, row) for row in rows]
                texts = [registry.generator.sentence(phrase, one.carrier).text for phrase in phrases]
                asked.append([ids.tolist() for ids in engine.encode(texts)])
            sums = [float(np.nansum(values)) for values in engine.logprobs([np.array(ids) for ids in asked[0]])]
            difference = abs(sum(sums) - bare.ask(asked[0])["sum"]) / PROMPTS
            identifier_values(engine, registry, registry.active[0], plan)

            worker = engine._worker.process.pid  # type: ignore[attr-defined]

            def ours(number: int) -> None:
                begun, begun_cpu = time.perf_counter(), time.process_time() + cpu_seconds(worker)
                identifier_values(engine, registry, registry.active[number], plan)
                found["ours"].append(PROMPTS / (time.perf_counter() - begun))
                found["ours_cpu"].append(PROMPTS / (time.process_time() + cpu_seconds(worker) - begun_cpu))

            def theirs(number: int) -> None:
                answer = bare.ask(asked[number])
                found["theirs"].append(PROMPTS / answer["seconds"])
                found["theirs_cpu"].append(PROMPTS / answer["cpu"])

            for turn in range(request["repeats"]):
                for number in range(IDENTIFIERS):
                    sides = (ours, theirs) if (turn + number) % 2 else (theirs, ours)
                    for side in sides:
                        side(number)
    finally:
        bare.close()
    tokens = float(np.mean([len(ids) for part in asked for ids in part]))
    return found | {"tokens": tokens, "difference": difference, "versions": bare.versions}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
