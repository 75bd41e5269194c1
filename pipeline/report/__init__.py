"""`tamis report`: one self-contained HTML page about a workspace.

    report(Workspace("workspace"), "report.html")

Each part of pipeline/report/parts looks for what it can show; each of its figures is one query, run here, shown
on the page with its answer. The same workspace gives the same bytes: the only times on it are those of the ledger.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import duckdb

from pipeline.errors import UserError
from pipeline.extras import needed
from pipeline.output import written
from pipeline.report import page
from pipeline.report.part import Part
from pipeline.report.parts import PARTS, documents, tokens
from pipeline.stage import version
from pipeline.views import opened
from pipeline.workspace import Workspace

LARGEST = 5.0
"""Megabytes of a page, unless told."""
SHORTEST = 100
"""Characters of a document's text below which a page is not made smaller."""


@dataclasses.dataclass(frozen=True)
class Made:
    """What was made: sections by name, with how many figures each has."""

    path: str
    size: int
    sections: dict[str, int]


def report(
    workspace: str | Workspace,
    out: str,
    corpora: Collection[str] = (),
    stages: Collection[str] = (),
    largest: float = LARGEST,
) -> Made:
    """Write the page. Raises UserError if there is nothing to show, or it cannot be as small as it should.

    corpora: those that the page is about [all]. stages: folders of score stages to show instead of the newest of their
    alias. largest: megabytes of the page; the texts of documents are cut shorter until it fits.
    """
    needed("tamis report", "report", "vl_convert")
    if Path(out).is_dir():
        raise UserError(f"--out {out}: expected a file name, found a folder")
    place = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
    with opened(place, corpora, stages, distributions=False) as connection:
        sections = []
        for function in PARTS:
            begun = time.monotonic()
            part = function(connection)
            section = None if part is None else _section(connection, part)
            if section is not None:
                for figure in section["figures"]:
                    if figure["kind"] == "tokens":
                        tokens.with_pieces(place, figure)
                sections.append(section)
                print(f"report: {section['title']}: {time.monotonic() - begun:.1f} s", file=sys.stderr)
        facts = {"version": version(), "workspace": _name(place), "corpora": list(corpora) or place.corpora()}
        title = f"Tamis: {facts['workspace']}"
        text = page.page(title, facts, sections)
        characters = documents.CHARACTERS
        while len(data := text.encode()) > largest * 1e6:
            characters //= 2
            if characters < SHORTEST or not any(section["name"] == "documents" for section in sections):
                raise UserError(f"the page is {len(data) / 1e6:.1f} MB; --max-mb {largest:g} is too little for it")
            shorter = page.answered(connection, documents.pool(connection, characters))
            next(section for section in sections if section["name"] == "documents")["figures"] = [shorter]
            text = page.page(title, facts, sections)
    with written(out) as file:
        file.write(data)
    return Made(out, len(data), {section["name"]: len(section["figures"]) for section in sections})


def _section(connection: duckdb.DuckDBPyConnection, part: Part) -> dict[str, Any] | None:
    """The part with its answers; figures without rows are left out, and so is a part without figures."""
    figures = [answer for figure in part.figures if (answer := page.answered(connection, figure))["rows"]]
    return page.section(part, figures) if figures else None


def _name(workspace: Workspace) -> str:
    """The workspace's own name: where it lies is nobody's business, and moving it changes no page."""
    return workspace.url.rstrip("/").rpartition("/")[2] or workspace.url
