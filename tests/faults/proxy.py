"""A small HTTP proxy in front of a real server, which does to some requests what busy servers and networks do.

with proxy("http://127.0.0.1:5000") as between:
    between.disturb("throttle", share=0.2, rng=random.Random(1))
    ...                                                  # clients talk to between.url
    between.heal()
"""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

WAYS = ("throttle", "fail", "hang", "hang up", "cut", "lose")
"""503 SlowDown; 500 InternalError; no answer; a reset before the request is passed on; an answer that ends in its
middle; a request that is carried out and its answer reset."""
CODES = {"throttle": (503, "SlowDown"), "fail": (500, "InternalError")}
HANG = 8.0
"""Seconds until a request that gets no answer is hung up: longer than clients here wait."""
OWN = ("connection", "transfer-encoding", "keep-alive", "content-length")
"""Headers that each of the two connections has for itself."""


@dataclass
class Between:
    """The proxy. `disturbed`: requests that something was done to."""

    url: str
    server: str
    way: str | None = None
    share: float = 0.0
    after: int = 0
    rng: random.Random = field(default_factory=random.Random)
    seen: int = 0
    disturbed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def disturb(self, way: str, share: float, rng: random.Random, after: int = 0) -> None:
        """From now on: after so many requests, this share of them."""
        assert way in WAYS
        with self.lock:
            self.way, self.share, self.after, self.rng, self.seen, self.disturbed = way, share, after, rng, 0, 0

    def heal(self) -> int:
        """Pass everything on again; how many requests were disturbed."""
        with self.lock:
            self.way = None
            return self.disturbed

    def draw(self) -> str | None:
        """What to do to the next request."""
        with self.lock:
            self.seen += 1
            if self.way is None or self.seen <= self.after or self.rng.random() >= self.share:
                return None
            self.disturbed += 1
            return self.way


@contextlib.contextmanager
def proxy(server: str) -> Iterator[Between]:
    """Listen on a free port of loopback while the block runs."""
    between = Between("", server)
    listener = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"between": between}))
    listener.daemon_threads = True
    between.url = f"http://127.0.0.1:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield between
    finally:
        listener.shutdown()
        listener.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    between: Between

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _handle(self) -> None:
        body = self._body()
        way = self.between.draw()
        if way in CODES:
            self._refuse(*CODES[way])
        elif way == "hang":
            time.sleep(HANG)
            self._reset()
        elif way == "hang up":
            self._reset()
        else:
            status, headers, answer = self._passed_on(body)
            if way == "lose":
                self._reset()
            elif way == "cut" and len(answer) > 1:
                self._answer(status, headers, answer, len(answer) // 2)
                self._reset()
            else:
                self._answer(status, headers, answer, len(answer))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(urlsplit(self.between.server).netloc, timeout=60)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in (*OWN, "expect")}
            connection.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, answer.getheaders(), data
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, sent: int) -> None:
        self.send_response_only(status)
        own = (*OWN[:3], "") if self.command == "HEAD" else OWN
        for name, value in headers:
            if name.lower() not in own:
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body[:sent])
            self.wfile.flush()

    def _refuse(self, status: int, code: str) -> None:
        text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>'.encode()
        self._answer(status, [("Content-Type", "application/xml")], text, len(text))

    def _reset(self) -> None:
        """Hang up with a reset instead of an end."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the client has gone, or we have hung up
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()
