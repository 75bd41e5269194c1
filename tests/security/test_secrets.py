"""Secrets that a user gives are used and never seen again: planted everywhere, and looked for in all that is left."""

from __future__ import annotations

import base64
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cli.main import main
from tests.fuzz.ingest import ROWS, jsonl

pytest.importorskip("aiohttp")

PASSWORD, SIGNATURE, KEY, TOKEN = (
    "hunter2-in-the-url",
    "signature-in-the-query",
    "key-in-the-environment",
    "hf_in-the-env",
)
SECRETS = (PASSWORD, SIGNATURE, KEY, TOKEN)
"""None of them may be found, as it is, in base64 or in hex."""
ENVIRONMENT = {"AWS_SECRET_ACCESS_KEY": KEY, "MY_API_KEY": KEY, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "1"}


class Guarded(http.server.SimpleHTTPRequestHandler):
    """Serves a folder to whoever has the password and the signature; its refusals repeat what was asked for."""

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != wanted or f"sig={SIGNATURE}" not in self.path:
            self.send_error(403, f"no: {self.path}")
            return
        super().do_GET()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which it is served, up to the name of a file."""
    folder = tmp_path_factory.mktemp("served")
    handler = functools.partial(Guarded, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://me:{PASSWORD}@127.0.0.1:{server.server_port}"
        server.shutdown()


def content(folder: Path) -> bytes:
    """Everything in a folder, Parquet as its values and its metadata."""
    parts = []
    for path in sorted(folder.rglob("*")):
        parts.append(str(path).encode())
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            parts.append(repr((table.to_pylist(), table.schema.metadata)).encode())
        elif path.is_file():
            parts.append(path.read_bytes())
    return b"\n".join(parts)


def assert_clean(where: str, data: bytes) -> None:
    """No secret, however it is written."""
    for secret in SECRETS:
        raw = secret.encode()
        for form in (raw, base64.b64encode(raw)[:-4], raw.hex().encode()):
            assert form not in data, f"{where}: {secret}"


def test_no_secret_of_a_command_is_left_anywhere(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, address = served
    monkeypatch.chdir(tmp_path)
    for name, value in (ENVIRONMENT | {"TAMIS_CACHE": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("cli.main.signal.signal", lambda *_: None)
    (folder / "a.jsonl").write_bytes(jsonl(ROWS * 3))
    (folder / "scores.csv").write_bytes(b"id,mine\na,0.5\n")
    (folder / "tokenizer.json").write_bytes(b"no tokenizer")
    sign = f"?sig={SIGNATURE}"
    (tmp_path / "run.yaml").write_text(
        f"corpora: {{web: {{sources: ['{address}/a.jsonl{sign}'], id: id, held_out: 0.1}}}}\n"
        "scores: [lengths]\nselections: {best: {random: 1, budget: 50% documents}}\n"
        "exports: {best: {selection: best, format: hf}}\n"
    )
    commands = (
        (0, ["run", "run.yaml", "--workers", "1"]),
        (0, ["import-scores", f"{address}/scores.csv{sign}", "--corpus", "web", "--alias", "mine"]),
        (2, ["score", "lengths", "--corpus", "web", "--set", f"lengths.tokenizer={address}/tokenizer.json{sign}"]),
        (2, ["score", "preselect", "--corpus", "web", "--set", f"preselect.model={address}/none.bin{sign}"]),
        (2, ["ingest", f"{address}/none.jsonl{sign}", "--corpus", "other"]),
        (2, ["ingest", f"http://me:{PASSWORD}@127.0.0.1:1/a.jsonl{sign}", "--corpus", "other"]),
        (2, ["score", "lengths", "--corpus", "web", "--set", f"lengths.password={PASSWORD}"]),
        (0, ["status"]),
        (0, ["status", "--json"]),
        (0, ["sql", "FROM stages", "--format", "json"]),
        (0, ["plan", "run.yaml"]),
    )
    for expected, words in commands:
        code = 0
        try:
            main([*words, "-w", "w"])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capfd.readouterr()
        assert code == expected, (words, said.err)
        assert_clean(f"stdout of {words[0]}", said.out.encode())
        assert_clean(f"stderr of {words[0]}", said.err.encode())
    left = content(tmp_path / "w")
    assert b'"event":"run_end"' in left
    assert_clean("the workspace", left)
    assert_clean("the cache", content(tmp_path / "cache"))
