"""A short campaign in the fast tests, one fault of every kind in the long ones, and nothing is lost."""

from __future__ import annotations

import http.client
import random
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.faults import outcomes
from tests.faults.campaign import KINDS, main
from tests.faults.outcomes import LOST, MENDED, SAME, Result
from tests.faults.proxy import proxy

SHORT = ("score table flipped", "ledger truncated", "model damaged", "input rewritten", "scheduler killed")


def test_a_short_campaign_loses_nothing_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    assert main(["--each", "1", "--only", ",".join(SHORT), "--results", str(results)]) == 0
    found = outcomes.read(results)
    assert len(found) == len(SHORT)
    assert {result.outcome for result in found} <= {SAME, MENDED, outcomes.OTHER}
    assert main(["--each", "1", "--only", ",".join(SHORT), "--results", str(results)]) == 0
    assert outcomes.read(results) == found


@pytest.mark.slow
def test_one_fault_of_every_kind_loses_nothing(tmp_path: Path) -> None:
    assert main(["--each", "1", "--results", str(tmp_path / "results.jsonl")]) == 0


def test_the_table_counts_every_fault_and_hides_the_folders_of_the_machine() -> None:
    said = "/tmp/x1/w/scores/a/part-0.parquet is damaged | `tamis verify` mends it"
    rows = [Result("disk full", n, "", outcome, said) for n, outcome in enumerate((SAME, MENDED, LOST))]
    text = outcomes.table(rows, KINDS)
    assert "| disk full | 3 | 1 | 1 |  | 1 |" in text
    assert "| **all** | 3 | 1 | 1 | 0 | 1 |" in text
    assert "/tmp" not in text
    assert all(line.count("|") == 8 for line in text.splitlines())


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"answer")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_the_proxy_does_what_it_says_and_heals() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    with proxy(f"http://127.0.0.1:{server.server_address[1]}") as between:
        assert urllib.request.urlopen(between.url).read() == b"answer"
        between.disturb("throttle", 1.0, random.Random(0), after=1)
        assert urllib.request.urlopen(between.url).read() == b"answer"
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(between.url)
        for way in ("hang up", "cut", "lose"):
            between.disturb(way, 1.0, random.Random(0))
            with pytest.raises((OSError, http.client.HTTPException)):
                urllib.request.urlopen(between.url).read()
            assert between.heal() == 1
        assert urllib.request.urlopen(between.url).read() == b"answer"
    server.shutdown()
