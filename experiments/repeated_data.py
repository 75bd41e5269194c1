"""What does it cost to fill a tenth of the training tokens with the same text again and again?

    python -m experiments.repeated_data                                 # 3 seeds of 2 million tokens: about two hours
    python -m experiments.repeated_data --tokens 1e6 --repeats 1 10 100 1000

Needs the extra `lm` and `make bench-data`. Every run sees as many tokens, once through its data. Nine tenths are
documents that come once, the same in all runs. The last tenth is short pieces of other documents: a subset of them,
each r times (a weight per document, `weight_as: resample`), so that at r = 1 all are different and at the highest r one
fills the tenth. Subsets are nested, and drawn anew with every seed. `none` is trained on the nine
tenths alone, and on as many fewer tokens.

Beside it stands the band in which Hernandez et al. 2022 (arXiv 2205.10487) found repetition to do most damage:
between 4.2e6 N^-0.56 and 5.1e7 N^-0.50 repeats for N parameters. It was fitted on models of 1.5 million to 1 billion
parameters that all saw 100 billion tokens; for models and budgets as small as ours it is an extrapolation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from experiments.repeated_report import SHARE, Outcome, draw, prediction, table
from experiments.trainings import (
    BYTES_PER_TOKEN,
    ONE,
    ROOT,
    RUNS,
    TOKENIZER,
    Size,
    arguments,
    fill,
    head,
    manuals,
    recipe,
    run_config,
    speed,
)
from pipeline.import_scores import import_scores
from pipeline.lock import held
from pipeline.sql import query
from pipeline.trainer import metrics
from pipeline.trainer.compare import CompareSettings, compare, comparison
from pipeline.trainer.run import train_run
from pipeline.workspace import Workspace

PIECE = 60
"""Bytes of a piece that is repeated, at least; it ends with a line or at twice that."""
REPEATS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
HELD_OUT = 300_000
"""Bytes that are held out, about."""
DOCUMENT = ROOT / "docs" / "experiments" / "repeated-data.md"
PLOT = DOCUMENT.with_suffix(".svg")


def pieces(text: str) -> Iterator[str]:
    """Short pieces of a document, whole lines where these are short."""
    part = ""
    for line in text.splitlines(keepends=True):
        part += line
        if len(part.encode()) >= PIECE:
            if len(part.encode()) < 2 * PIECE:
                yield part.strip()
            part = ""


def write_text(out: Path, tokens: int) -> None:
    """documents.parquet, to come once, and pieces.parquet, to be repeated; of different documents."""
    table = manuals((tokens * 1.8 * BYTES_PER_TOKEN + HELD_OUT) / 1e6)
    once = int(0.65 * table.num_rows)
    pq.write_table(table.slice(0, once), out / "documents.parquet", row_group_size=4096)
    found: dict[str, list[str]] = {"id": [], "text": [], "source": []}
    seen = set()
    for row in table.slice(once).to_pylist():
        for number, text in enumerate(pieces(row["text"])):
            if len(text.encode()) >= PIECE and text not in seen:
                seen.add(text)
                found["id"].append(f"{row['id']}/{number}")
                found["text"].append(text)
                found["source"].append("pieces")
    pq.write_table(pa.table(found), out / "pieces.part", row_group_size=4096)
    (out / "pieces.part").replace(out / "pieces.parquet")


def copies(tokens: np.ndarray, budget: float, repeats: float, order: np.ndarray) -> np.ndarray:
    """float64 (n,): how often each text comes, so that together they fill the budget.

    The first of `order` that have budget / repeats tokens between them come equally often, the others never. Raises
    ValueError if all together have too few.
    """
    ends = np.cumsum(tokens[order])
    if ends[-1] * repeats < budget:
        raise ValueError(f"{ends[-1]:,} tokens, {repeats:g} times, do not fill {budget:,.0f}; cut more text")
    count = int(np.searchsorted(ends, budget / repeats)) + 1
    found = np.zeros(len(tokens))
    found[order[:count]] = budget / ends[count - 1]
    return found


def write_copies(workspace: Workspace, out: Path, tokens: int, repeats: Sequence[int], seeds: int) -> dict[str, float]:
    """Import how often each document comes, a column per seed and r; how often it really is, per column."""
    found = query(workspace, "SELECT corpus, id, tokens, held_out FROM scored ORDER BY id").to_pydict()
    corpus, length = np.array(found["corpus"]), np.array(found["tokens"], np.int64)
    table: dict[str, Any] = {"id": found["id"]}
    once = np.flatnonzero((corpus == "documents") & ~np.array(found["held_out"]))
    short = np.flatnonzero(corpus == "pieces")
    first = np.random.default_rng(0).permutation(len(once))
    base = np.zeros(len(length))
    base[once] = copies(length[once], (1 - SHARE) * tokens, 1, first)
    base = np.ceil(base)  # once each; the last one is too many, and the budget of tokens cuts it
    really = {}
    table["copies_none"] = base
    for seed in range(seeds):
        order = np.random.default_rng([seed, 1]).permutation(len(short))
        for times in repeats:
            column = base.copy()
            column[short] = copies(length[short], SHARE * tokens, times, order)
            table[f"copies_{times}_{seed}"] = column
            really[f"{times}_{seed}"] = float(column[short].max())
    pq.write_table(pa.table(table), out / "copies.parquet")
    with held(workspace.store):
        for name in ("documents", "pieces"):
            import_scores(workspace, workspace.corpus(name), "copies", str(out / "copies.parquet"))
    return really


def config(out: Path, repeats: Sequence[int], seeds: int) -> dict[str, Any]:
    """The run from documents to exports. The copies are imported before its selections can be made."""
    held_out = min(HELD_OUT / pq.read_metadata(out / "documents.parquet").num_rows / 2100, 0.1)
    names = ["none", *(f"{times}_{seed}" for times in repeats for seed in range(seeds))]
    return {
        "corpora": {
            "documents": {"sources": ["documents.parquet"], "id": "id", "shard_mb": 8, "held_out": round(held_out, 5)},
            "pieces": {"sources": ["pieces.parquet"], "id": "id", "shard_mb": 8},
        },
        "scores": [{"scorer": "lengths", "tokenizer": str(TOKENIZER)}],
        "selections": {f"r{name}": {"where": f"copies_{name} > 0"} for name in names},
        "exports": {
            f"r{name}": {"selection": f"r{name}", "weight": f"copies_{name}", "with_held_out": name == "none"}
            for name in names
        },
    }


def make_data(workspace: Workspace, out: Path, tokens: int, repeats: Sequence[int], seeds: int) -> dict[str, float]:
    """Documents, pieces, and an export for every r and seed; how often the repeated text really comes."""
    if not (out / "pieces.parquet").exists():
        write_text(out, tokens)
    whole = config(out, repeats, seeds)
    run_config(workspace, out / "documents.yaml", {key: whole[key] for key in ("corpora", "scores")})
    really = write_copies(workspace, out, tokens, repeats, seeds)
    run_config(workspace, out / "repeated.yaml", whole)
    return really


def train_seed(workspace: Workspace, size: Size, tokens: int, repeats: Sequence[int], seed: int) -> Outcome:
    """{r or "none": (held-out bits per byte, nats per token over the last tenth of the steps)}."""
    base = Path(workspace.store.path(""))
    settings = CompareSettings(
        name=f"repeated-{seed}",
        train=recipe(tokens, size, {"held_out": {"paths": ["exports/rnone"], "split": "held_out"}}),
        selections={
            f"r{times}": {"paths": [f"exports/r{times}_{seed}"], "weight": "weight", "weight_as": "resample"}
            for times in repeats
        },
        seeds=[seed],
        baseline=f"r{repeats[0]}",
    )
    wanted = comparison(settings, base, "repeated")
    compare(workspace, wanted, ONE)
    like = wanted.runs[f"r{repeats[0]}", seed]
    alone = like.data.model_copy(update={"paths": [str(base / "exports/rnone")], "weight": None, "weight_as": "loss"})
    fewer = {"name": f"repeated-{seed}.none", "tokens": round((1 - SHARE) * tokens), "data": alone}
    train_run(workspace, like.model_copy(update=fewer), ONE)
    found = {}
    for label in [*(f"r{times}.{seed}" for times in repeats), "none"]:
        run = [f for f, record in workspace.stages("runs").items() if record["name"] == f"repeated-{seed}.{label}"][-1]
        [last] = (
            metrics.read(workspace.store, run, metrics.EVALUATIONS).filter(pc.field("source").is_null()).to_pylist()
        )
        nll = metrics.read(workspace.store, run, metrics.METRICS)["nll"].to_numpy()
        found[label.split(".")[0].removeprefix("r")] = (
            last["bits_per_byte"],
            float(nll[-max(len(nll) // 10, 1) :].mean()),
        )
    return found


def main() -> None:
    """See the module."""
    parser = arguments("A tenth of the tokens is the same text, r times.", tokens=2e6, seeds=3)
    parser.add_argument("--repeats", type=int, nargs="+", default=list(REPEATS))
    given = parser.parse_args()
    tokens, repeats, size = int(given.tokens), sorted(given.repeats), Size(given.width, given.layers)
    begun = head(size)
    out = (given.out or RUNS / f"repeated-{tokens}").absolute()
    out.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(str(out / "workspace"))
    really = make_data(workspace, out, tokens, repeats, given.seeds)
    found = [train_seed(workspace, size, tokens, repeats, seed) for seed in range(given.seeds)]
    draw(PLOT if given.fill else out / "repeated-data.svg", found, really, size, repeats)
    text = (
        "\n\n".join([begun, speed(workspace), prediction(size, tokens), table(found, really, size, tokens, repeats)])
        + "\n"
    )
    print(text)
    if given.fill:
        fill(DOCUMENT, text)


if __name__ == "__main__":
    main()
