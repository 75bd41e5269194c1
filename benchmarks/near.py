"""Precision and recall over real near-duplicates, beside datatrove, rensa and text-dedup on the same documents.

The documents: the copyright files of this machine's Debian packages (natural near-duplicates: licences with other
names), and manuals in versions as people make them (copied, trimmed, with a header, a sentence dropped or reordered,
words replaced). The labels come from plain Python over all pairs: a pair is a near-duplicate if the Jaccard similarity
of its lower-cased word 5-grams is at least 0.8, or if it was made as one; it is none below 0.5; between, it is not
judged. What a tool puts into one cluster it calls near-duplicates, each pair of it.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq

from benchmarks import corpus, peers
from benchmarks.common import DATA, FULL_MB, ONE_THREAD, ROOT, NotReady, say

FILES, LONGEST = 700, 20_000
"""Copyright files at the most, and characters of each."""
MANUALS, NOISE = 60, 600
"""Manuals that get versions, and manuals that get none."""
SAME, OTHER = 0.8, 0.5
TOOLS = ("datatrove", "rensa", "text-dedup")
_WORDS = re.compile(r"\w+")


def measure() -> dict[str, Any]:
    """Label, then ask each tool."""
    texts, families = _documents()
    positive, negative = _labels(texts, families)
    say(f"{len(texts)} documents, {len(positive)} pairs are near-duplicates")
    sides = []
    for label, clusters, seconds, versions in [*_tamis(texts), *_peers(texts)]:
        pairs = {pair for members in clusters for pair in itertools.combinations(sorted(members), 2)}
        right, wrong = len(pairs & positive), len(pairs & negative)
        sides.append(
            {
                "label": f"{label} ({', '.join(f'{k} {v}' for k, v in versions.items())})" if versions else label,
                "pairs": len(pairs),
                "precision": right / max(right + wrong, 1),
                "recall": right / len(positive),
                "seconds": seconds,
            }
        )
        say(f"{label}: precision {sides[-1]['precision']:.3f}, recall {sides[-1]['recall']:.3f}")
    about = (
        f"{len(texts)} documents, {sum(map(len, texts)) / 1e6:.1f} M characters; {len(positive)} pairs are "
        f"near-duplicates, {len(negative)} are not, the rest is not judged. Seconds are of one run, imports and the "
        "start of workers included: no measure of speed.\n"
    )
    # Not a matter of megabytes: the result is one to keep.
    return {"megabytes": FULL_MB, "sides": sides, "about": about}


def _documents() -> tuple[list[str], list[list[int]]]:
    """Texts in a drawn order, and which of them are versions of one another."""
    draw = random.Random(7)
    files = sorted(Path("/usr/share/doc").glob("*/copyright"))[:FILES]
    if len(files) < 100:
        raise NotReady("fewer than 100 files /usr/share/doc/*/copyright: this comparison needs a Debian system")
    texts = [file.read_text(errors="replace")[:LONGEST] for file in files]
    manuals = corpus.first_megabytes(10).column("text").to_pylist()[: MANUALS + NOISE]
    texts += manuals[MANUALS:]
    families = []
    for text in manuals[:MANUALS]:
        versions = [text, *(_edited(text, kind, draw) for kind in draw.sample(range(6), 3))]
        families.append(list(range(len(texts), len(texts) + len(versions))))
        texts += versions
    order = list(range(len(texts)))
    draw.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    return [texts[old] for old in order], [[place[old] for old in family] for family in families]


def _edited(text: str, kind: int, draw: random.Random) -> str:
    """A version of a text as a person or a site might make it."""
    words, lines = text.split(" "), text.split("\n")
    if kind == 0:
        return text.upper() if draw.random() < 0.3 else text.replace(",", "").replace("  ", " ")
    if kind == 1:
        return " ".join(words[: int(len(words) * 0.92)])
    if kind == 2:
        return (
            f"Home > Manuals > Page {draw.randrange(99)}\nLast changed: {draw.randrange(2000, 2026)}\n\n{text}\nPrint"
        )
    if kind == 3 and len(lines) > 8:
        drop = draw.randrange(len(lines))
        return "\n".join(lines[:drop] + lines[drop + 1 :])
    if kind == 4 and len(lines) > 8:
        middle = len(lines) // 2
        return "\n".join(lines[middle:] + lines[:middle])
    return " ".join("REPLACED" if draw.random() < 0.01 else word for word in words)


def _labels(texts: list[str], families: list[list[int]]) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """(near-duplicates, none), over all pairs."""
    grams = []
    for text in texts:
        words = _WORDS.findall(text.lower())
        grams.append({hash(tuple(words[i : i + 5])) for i in range(max(len(words) - 4, 1))})
    positive = {pair for family in families for pair in itertools.combinations(sorted(family), 2)}
    holders = defaultdict(list)
    for number, one in enumerate(grams):
        for gram in one:
            holders[gram].append(number)
    shared: np.ndarray = np.zeros((len(texts), len(texts)), np.int32)
    for members in holders.values():
        if len(members) > 1:
            shared[np.ix_(members, members)] += 1
    negative = set()
    for a, b in itertools.combinations(range(len(texts)), 2):
        both = int(shared[a, b])
        similarity = both / (len(grams[a]) + len(grams[b]) - both)
        if similarity >= SAME:
            positive.add((a, b))
        elif similarity < OTHER and (a, b) not in positive:
            negative.add((a, b))
    return positive, negative


def _tamis(texts: list[str]) -> list[tuple[str, list[list[int]], float, dict[str, str]]]:
    """Clusters, and near-duplicates with the document that stays."""
    from pipeline.execute import Compute, Pool
    from pipeline.ingest import IngestSettings, ingest
    from pipeline.near import NearSettings, near
    from pipeline.workspace import Workspace

    folder = DATA / f"near-{os.getpid()}"
    folder.mkdir()
    try:
        rows = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
        (folder / "in.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
        workspace = Workspace(str(folder / "workspace"))
        found = []
        with Pool(Compute(workers=2), workspace) as pool:
            ingest(workspace, "all", IngestSettings(sources=[str(folder / "in.jsonl")], id="id"), pool)
            for measure in ("containment", "jaccard"):
                settings = NearSettings(measure=measure, alarm_cluster=1.0, alarm_source=1.0)
                begun = time.perf_counter()
                result = near(workspace, "near", settings, pool)
                seconds = time.perf_counter() - begun
                rows = []
                for shard in workspace.corpus("all").shards:
                    path = workspace.store.path(f"{result['folders']['all']}/{shard}.parquet")
                    rows += pq.read_table(path).to_pylist()
                groups = defaultdict(list)
                stars = defaultdict(list)
                for row in rows:
                    groups[row["near_cluster"] or row["id"]].append(int(row["id"]))
                    stars[row["near_of"] or row["id"]].append(int(row["id"]))
                found.append((f"Tamis, {measure} 0.8: clusters", list(groups.values()), seconds, {}))
                found.append((f"Tamis, {measure} 0.8: by the document kept", list(stars.values()), seconds, {}))
        return found
    finally:
        shutil.rmtree(folder)


def _peers(texts: list[str]) -> list[tuple[str, list[list[int]], float, dict[str, str]]]:
    found = []
    for tool in TOOLS:
        if not peers.installed(tool):
            say(f"left out: {tool}: `make bench-peers` makes its environment")
            continue
        done = subprocess.run(
            [str(peers.python_of(tool)), "-m", "benchmarks.sides.pairs", tool],
            input=json.dumps({"texts": texts}),
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)},
        )
        if done.returncode:
            say(f"left out: {tool}: exit code {done.returncode}; its words are above")
            continue
        answer = json.loads(done.stdout.splitlines()[-1])
        found.append((tool, answer["clusters"], answer["seconds"], answer["versions"]))
    return found
