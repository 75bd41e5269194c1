"""OpenAI-compatible servers: vLLM's own, whose numbers are the engine's, and one that tells text alone."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from scorers.lm.engines import Decoding, EngineError, EngineSettings, open_engine
from scorers.lm.engines.worker import DEFAULTS

TEXTS = ["the quick brown fox jumps", "Seven wizards boil a pot of strong tea.", "x"]


@pytest.fixture(scope="module")
def folder(make_model) -> Path:
    return make_model(
        "Llama", num_key_value_heads=1, max_position_embeddings=256, hidden_size=64, head_dim=32, num_attention_heads=2
    )


@pytest.fixture(scope="module")
def url(vllm_python: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM's own server on a CPU, on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [vllm_python, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--served-model-name", "tea"]
    command += ["--host", "127.0.0.1", "--port", port, "--dtype", "float32", "--max-model-len", 256, "--enforce-eager"]
    command += ["--no-enable-prefix-caching", "--max-num-batched-tokens", 512]
    defaults = {name: value for name, value in DEFAULTS.items() if name != "VLLM_ENABLE_V1_MULTIPROCESSING"}
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            list(map(str, command)),
            env=defaults | dict(os.environ) | {"HF_HUB_OFFLINE": "1"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 240
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5):
                break
            assert running.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, 9)
        running.wait()


@pytest.fixture
def text_only(folder: Path) -> Iterator[str]:
    """A server over a real model that, like many, tells nothing but text."""
    engine = open_engine(EngineSettings(engine="transformers", model=str(folder), device="cpu"))
    one_at_a_time = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({"data": [{"id": "chatty"}]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not isinstance(asked["prompt"], str) or "logprobs" in asked or "prompt_logprobs" in asked:
                self._answer({"error": "text in, text out"}, 400)
                return
            with one_at_a_time:
                [[text]] = engine.generate([asked["prompt"]], Decoding(max_tokens=asked["max_tokens"]))
            self._answer({"choices": [{"text": text}]})

        def _answer(self, values: dict, code: int = 200) -> None:
            data = json.dumps(values).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        engine.close()


@pytest.mark.parametrize("way", ["prompt_logprobs", "echo"])
def test_a_server_tells_the_numbers_of_its_model(url: str, folder: Path, way: str) -> None:
    with open_engine(EngineSettings(engine="transformers", model=str(folder), device="cpu")) as oracle:
        ids = oracle.encode(TEXTS)
        expected, greedy = oracle.logprobs(ids), oracle.generate(TEXTS, Decoding(max_tokens=6))
    with open_engine(EngineSettings(engine="server", model="tea", url=url)) as server:
        assert server.scores
        server.way = way  # type: ignore[attr-defined]  # vLLM knows both; the first is taken
        assert [one.tolist() for one in server.encode(TEXTS)] == [one.tolist() for one in ids]
        for a, b in zip(server.logprobs(ids), expected, strict=True):
            assert np.isnan(a[0])
            np.testing.assert_allclose(a[1:], b[1:], atol=1e-3, rtol=0)
        replies = [[one.strip()] for [one] in server.generate(TEXTS, Decoding(max_tokens=6))]
        assert replies == [[one.strip()] for [one] in greedy]  # this tokenizer names no decoder: spaces differ
        assert len(server.generate(TEXTS[:1], Decoding("sampled", 6, 3, seed=1))[0]) == 3


def test_choices_of_a_server_are_those_of_its_model_listed_or_not(url: str, folder: Path) -> None:
    """vLLM lists its best twenty tokens; the others of a vocabulary of hundreds are asked for one by one."""
    with open_engine(EngineSettings(engine="transformers", model=str(folder), device="cpu")) as engine:
        prompts = engine.encode(TEXTS)
        allowed = list(range(3, 60))
        ours = engine.choices(prompts, allowed)
    with open_engine(EngineSettings(engine="server", model="tea", url=url, tokenizer=str(folder))) as engine:
        theirs = engine.choices(prompts, allowed)
        listed = [engine._listed(prompt, allowed) for prompt in prompts]  # type: ignore[attr-defined]
    np.testing.assert_allclose(theirs, ours, atol=1e-3, rtol=0)
    known = ~np.isnan(np.array(listed))
    assert known.any(axis=1).all()
    assert not known.all()


def test_a_server_is_asked_for_a_model_that_it_serves(url: str) -> None:
    with pytest.raises(EngineError, match="does not serve 'coffee'; it serves tea"):
        open_engine(EngineSettings(engine="server", model="coffee", url=url))


def test_a_text_server_replies_and_says_what_it_cannot_do(text_only: str) -> None:
    with open_engine(EngineSettings(engine="server", model="chatty", url=text_only)) as server:
        assert not server.scores
        [[reply]] = server.generate(["the quick brown"], Decoding(max_tokens=4))
        assert reply
        with pytest.raises(EngineError, match=r"tells no log-probabilities .* the last-k test works with text alone"):
            server.encode(["x"])


def test_a_server_that_is_not_there_is_one_clear_line() -> None:
    with pytest.raises(EngineError, match=r"cannot be asked .* is the server up"):
        open_engine(EngineSettings(engine="server", model="x", url="http://127.0.0.1:9/v1"))
