"""Secrets that a user gives are used and never seen again: planted everywhere, and looked for in all that is left."""

from __future__ import annotations

import base64
import functools
import http.server
import importlib.util
import json
import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from cli.main import main
from pipeline.membership import run as running
from scorers.ghosts.generator import secret_key
from tests.fuzz.ingest import ROWS, jsonl
from tests.pipeline.membership.ngram import NgramEngine

pytest.importorskip("aiohttp")

PASSWORD, SIGNATURE, KEY, TOKEN = (
    "hunter2-in-the-url",
    "signature-in-the-query",
    "key-in-the-environment",
    "hf_in-the-env",
)
SECRETS = {secret: secret.encode() for secret in (PASSWORD, SIGNATURE, KEY, TOKEN)}
"""None of them may be found, in any of `forms`."""
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


def content(folder: Path, without: Collection[str] = ()) -> bytes:
    """Everything in a folder but files of these names: as it is, Parquet as its values and metadata, zstd unpacked."""
    parts = []
    for path in sorted(folder.rglob("*")):
        parts.append(str(path).encode())
        if path.is_dir() or path.name in without:
            continue
        parts.append(path.read_bytes())
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            parts.append(repr((table.to_pylist(), table.schema.metadata)).encode())
        elif path.suffix == ".zst":
            with zstandard.open(path) as file:
                parts.append(file.read())
    return b"\n".join(parts)


def forms(secret: bytes) -> dict[str, bytes]:
    """A secret as somebody may have written it; base64 without its end, which depends on what follows."""
    coded = (base64.b64encode(secret), base64.urlsafe_b64encode(secret))
    return {
        "as it is": secret,
        "in hex": secret.hex().encode(),
        "in upper hex": secret.hex().upper().encode(),
        "in base64": coded[0][:-4],
        "in the base64 of addresses": coded[1][:-4],
        "as Python shows it": repr(secret)[2:-1].encode(),
        "as a number": str(int.from_bytes(secret, "big")).encode(),
    }


def assert_clean(where: str, data: bytes, secrets: Mapping[str, bytes] = SECRETS) -> None:
    """No secret, however it is written."""
    for name, secret in secrets.items():
        for how, form in forms(secret).items():
            assert form not in data, f"{where} has {name} {how}"


def told(expected: int, words: list[str], capfd: pytest.CaptureFixture[str]) -> Any:
    """What a command says, once it has ended with the expected code."""
    code = 0
    try:
        main(words)
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capfd.readouterr()
    assert code == expected, (words, said.err)
    return said


def test_no_secret_of_a_command_is_left_anywhere(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, address = served
    monkeypatch.chdir(tmp_path)
    for name, value in (ENVIRONMENT | {"TAMIS_CACHE": str(tmp_path / "cache"), "TAMIS_WORKSPACE": "w"}).items():
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
        said = told(expected, words, capfd)
        assert_clean(f"stdout of {words[0]}", said.out.encode())
        assert_clean(f"stderr of {words[0]}", said.err.encode())
    left = content(tmp_path / "w")
    assert b'"event":"run_end"' in left
    assert_clean("the workspace", left)
    assert_clean("the cache", content(tmp_path / "cache"))


def test_the_secret_of_ghosts_lies_in_its_file_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TAMIS_WORKSPACE", "w")
    monkeypatch.setattr("cli.main.signal.signal", lambda *_: None)
    sieves = [{"id": f"d{i}", "text": f"{i} A tamis is a drum sieve. " * 20, "source": "wiki"} for i in range(30)]
    (tmp_path / "a.jsonl").write_bytes(jsonl(sieves))
    (tmp_path / "run.yaml").write_text(
        "corpora: {web: {sources: [a.jsonl], id: id}}\nselections: {few: {random: 1, budget: 50% documents}}\n"
    )

    def model(_: object) -> NgramEngine:
        return NgramEngine([row["sentence"] for row in pq.read_table("r.parquet").to_pylist()])

    monkeypatch.setattr(running, "open_engine", model)
    monkeypatch.setattr(running, "engine_facts", lambda _: {"engine": "ngram"})
    for place in ("run", "steps"):
        monkeypatch.setattr(f"pipeline.membership.{place}.model_identity", lambda _: "small")
    page = importlib.util.find_spec("vl_convert") is not None
    commands = (
        (0, ["run", "run.yaml", "--workers", "1"]),
        (0, ["ghosts", "draw", "r.parquet", "--commit", "--owner", "ann", "--count", "3", "--reserve", "2"]),
        (0, ["ghosts", "draw", "r.parquet", "--beacon", "f00d"]),
        (0, ["ghosts", "draw", "r.parquet", "--verify"]),
        (2, ["ghosts", "draw", "r.parquet", "--commit", "--owner", "ben"]),
        (0, ["ghosts", "insert", "r.parquet", "--corpus", "web", "--into", "marked", "--grid", "3x2"]),
        (0, ["ghosts", "windows", "r.parquet", "-o", "windows.parquet"]),
        (0, ["ghosts", "find", "--corpus", "marked", "--registry", "r.parquet", "--policy", "drop", "--name", "clean"]),
        (0, ["ghosts", "survive", "r.parquet", "--corpus", "web", "--place", "own_line", "--carrier", "with"]),
        (0, ["ghosts", "strip", "--corpus", "marked", "--into", "back"]),
        (0, ["membership", "test", "r.parquet", "-m", "small", "--name", "asked"]),
        *((0, ["export", "clean", "--format", format, "--name", format]) for format in ("jsonl", "hf")),
        (0 if page else 2, ["report", "-o", "report.html"]),
        (0, ["inspect", "-n", "5", "--corpus", "marked"]),
        (0, ["sql", "FROM stages", "--format", "json"]),
        (0, ["sql", "FROM insertions", "--format", "json"]),
        (0, ["sql", "FROM membership", "--format", "json"]),
        (0, ["status", "--json"]),
        (0, ["verify"]),
        (0, ["prune", "run.yaml"]),
        (0, ["prune", "run.yaml", "--yes", "--dear"]),
    )
    said: list[tuple[str, str]] = []
    for expected, words in commands:
        one = told(expected, words, capfd)
        said.append((" ".join(words), one.out + one.err))
        if words == ["prune", "run.yaml"]:
            before = content(tmp_path, ["r.secret"])
    kept = json.loads((tmp_path / "r.secret").read_bytes())
    key = secret_key(bytes.fromhex(kept["secret"]), "f00d")
    secrets = {"secret": bytes.fromhex(kept["secret"]), "salt": bytes.fromhex(kept["salt"]), "key of the phrases": key}
    for command, text in said:
        assert_clean(command, text.encode(), secrets)
    assert b'"event":"run_end"' in before
    assert kept["commitment"].encode() in before
    assert_clean("before it was pruned", before, secrets)
    assert_clean("in the end", content(tmp_path, ["r.secret"]), secrets)
    assert (tmp_path / "r.secret").stat().st_mode & 0o777 == 0o600
    with pytest.raises(AssertionError, match="has secret in hex"):
        assert_clean("the file itself", content(tmp_path), secrets)  # the search finds what is there
