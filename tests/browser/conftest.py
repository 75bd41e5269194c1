"""Pages in a real browser: Debian's Chromium, headless, driven by playwright. `make test-browser` installs both."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.report import report
from pipeline.workspace import Workspace

playwright = pytest.importorskip("playwright.sync_api", reason="`make test-browser` installs playwright")
pytest.importorskip("vl_convert")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SCREENSHOTS = os.environ.get("TAMIS_SCREENSHOTS")
"""Where the docs' pictures go; `make screenshots` sets it."""
Open = Callable[..., Any]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running browser."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium here; `make test-browser` installs it")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Open]:
    """Open a file; the page has `complaints`: what its console said, and what it asked of a network."""
    contexts = []

    def opened(path: Path, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: page.complaints.append(f"error: {error}"))
        page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or page.complaints.append(asked.url))
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-ready]", timeout=120_000)
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Workspace], Path]:
    """Make the report of a workspace, once."""
    pages: dict[str, Path] = {}

    def make(workspace: Workspace) -> Path:
        if workspace.url not in pages:
            pages[workspace.url] = tmp_path_factory.mktemp("page") / "report.html"
            report(workspace, str(pages[workspace.url]))
        return pages[workspace.url]

    return make
