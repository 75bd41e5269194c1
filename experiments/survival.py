"""Which cleaning steps leave identifiers in a corpus, for each way to place them: the tables of docs/ghosts.md.

    python -m experiments.survival --language-model FOLDER --fill

The documents are the benchmark's pieces of two manuals (`make bench-data`; python3.11-doc and postgresql-doc-15, 1 to
4 KB each). The registry is drawn anew at each run: ten words of EFF's list, the carrier of Tamis. Any folder of a
causal language model does; that of the recorded run is `base` of experiments/tokens.py, which has read other manuals.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import common
from experiments.trainings import LABELLED_SOURCES, ONE, ROOT, RUNS
from pipeline.execute import Pool
from pipeline.ghosts.draw import DrawSettings, commit, draw
from pipeline.ghosts.settings import SurviveSettings
from pipeline.ghosts.survive import WITHOUT, Survived, survive
from pipeline.ingest import IngestSettings, ingest
from pipeline.lock import held
from pipeline.workspace import Workspace

DOCUMENT = ROOT / "docs" / "ghosts.md"
MARKERS = re.compile(r"(<!-- survival -->\n).*?(\n<!-- /survival -->)", re.DOTALL)
PHRASE_WORDS = 10


def measured(place: Path, settings: SurviveSettings) -> Survived:
    """Everything from the benchmark's documents to the table, in a workspace of its own."""
    place.mkdir(parents=True, exist_ok=True)
    file = common.needed(common.DOCUMENTS, "bench-data")
    table = pq.read_table(file, columns=["id", "text", "source"])
    chosen = table.filter(pc.is_in(table["source"], pa.array(LABELLED_SOURCES)))
    pq.write_table(chosen, place / "manuals.parquet")
    registry = f"{place}/owners.parquet"
    if not Path(registry).exists():
        count = settings.documents // 2 // settings.repetitions
        commit(registry, DrawSettings(count=count, length=PHRASE_WORDS))
        draw(registry, "")
    from pipeline.ghosts.registry import read

    workspace = Workspace(f"{place}/workspace")
    with held(workspace.store), Pool(ONE, workspace) as pool:
        ingest(workspace, "manuals", IngestSettings(sources=[f"{place}/manuals.parquet"], id="id"), pool)
        return survive(workspace.corpus("manuals"), read(registry), settings, pool)


def tables(survived: Survived) -> str:
    """In Markdown: per cent of the copies, a table with the carrier and one without."""
    parts = []
    for title, without in (("with its carrier", False), ("alone", True)):
        ways = [way for way in survived.copies if way.endswith(WITHOUT) == without]
        if not ways:
            continue
        places = [way.partition(",")[0] for way in ways]
        rows = [f"| the phrase {title}: kept, % | {' | '.join(places)} |", "|---|" + "---|" * len(places)]
        for step, own in survived.shares.items():
            cells = [f"{kept / of * 100:.1f}" if of else "" for kept, of in (own[way] for way in ways)]
            rows.append(f"| {step} | {' | '.join(cells)} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def main() -> None:
    """Run, print, and fill the page if asked to."""
    parser = argparse.ArgumentParser(description="survival of identifiers")
    parser.add_argument("--language-model", help="folder of a causal language model")
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--places", nargs="*", help="ways to place [all]")
    parser.add_argument("--out", type=Path, default=RUNS / "survival")
    parser.add_argument("--fill", action="store_true", help="put the tables into docs/ghosts.md")
    options = parser.parse_args()
    chosen = {"places": tuple(options.places)} if options.places else {}
    settings = SurviveSettings(documents=options.documents, language_model=options.language_model, **chosen)
    survived = measured(options.out, settings)
    about = (
        f"{survived.documents:,} documents, {max(survived.copies.values()):,} copies in each way, ten documents an "
        f"identifier; {common.now()['time'][:10]}, commit {common.commit()}."
    )
    text = f"{about}\n\n{tables(survived)}"
    print(text)
    if options.fill:
        page = DOCUMENT.read_text(encoding="utf-8")
        assert MARKERS.search(page), f"{DOCUMENT} has no markers, with a line between them"
        DOCUMENT.write_text(MARKERS.sub(lambda found: found[1] + text + found[2], page), encoding="utf-8")


if __name__ == "__main__":
    main()
