"""What do the training methods cost, and what comes out at equal tokens?

    python -m experiments.methods --width 96 --layers 2   # 3 seeds of 150,000 tokens: about ten minutes on one core

Needs the extra `lm` and `make bench-data`. The same tiny Llama (output not tied to the embedding) reads the same rows
with the same seeds; only the recipe differs. Learning rates are the recipes' own and none was tuned: 3e-3, for Fira
1e-2 as its authors have it (beside AdamW at that rate). Then, from the AdamW run of each seed, a quarter as many tokens
more: plainly, with DITTO, and with heads for further tokens on the frozen model. What DITTO does is measured as
`tamis repeats model` does; experiments/ditto_model.py does it on a model of one's own.

What is done is not done again; the same command goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from experiments.methods_report import last_checkpoint, report
from experiments.trainings import BYTES_PER_TOKEN, ONE, ROOT, RUNS, Size, arguments, fill, head, manuals, recipe
from pipeline.trainer.compare import CompareSettings, compare, comparison
from pipeline.workspace import Workspace

HELD_OUT = 60_000
"""Bytes that are held out, about."""
DOCUMENT = ROOT / "docs" / "methods.md"
AFTER = 0.25
"""Tokens of the second part by those of the first."""


def recipes(size: Size, steps: int) -> dict[str, dict[str, Any]]:
    """The recipes of the first part. Gaps between switches are a tenth of the run, as 200 of the authors' 2,000 are."""
    gap, rank = max(steps // 10, 1), size.width // 4
    fira = {"method": "fira", "rank": rank, "update_gap": gap}
    lost = {"method": "lost", "rank": rank}
    return {
        "adamw": {"methods": [{"method": "flatness", "batches": 4}]},
        "adamw-1e-2": {"optimizer": {"lr": 1e-2}},
        "frugal": {"methods": [{"method": "frugal", "update_gap": gap}]},
        "frugal-0": {"methods": [{"method": "frugal", "density": 0.0}]},
        "fira": {"methods": [fira], "optimizer": {"lr": 1e-2}},
        "fira-code": {"methods": [fira | {"residual": "code"}], "optimizer": {"lr": 1e-2}},
        "lost": {"methods": [lost]},
        "lost-silu": {"methods": [lost | {"activation": "silu"}]},
        "forget": {"methods": [{"method": "forget", "every": max(steps // 8, 1), "until": steps // 2}]},
        "znorm": {"methods": [{"method": "znorm_softplus"}]},
    }


def write_text(out: Path, tokens: int) -> None:
    """train.parquet, more.parquet for the second part, held-out.parquet; documents of none are in another."""
    table = manuals((1.6 * tokens * BYTES_PER_TOKEN + HELD_OUT) / 1e6)
    held = int(table.num_rows * HELD_OUT / table["text"].nbytes)
    first = held + int(0.72 * (table.num_rows - held))
    pq.write_table(table.slice(0, held), out / "held-out.parquet")
    pq.write_table(table.slice(first), out / "more.parquet")
    pq.write_table(table.slice(held, first - held), out / "train.part")
    (out / "train.part").replace(out / "train.parquet")


def common(out: Path, size: Size, tokens: int) -> dict[str, Any]:
    """The training recipe that all have."""
    made = recipe(tokens, size, {"held_out": {"paths": [str(out / "held-out.parquet")], "id": "id"}})
    made["model"]["config"]["tie_word_embeddings"] = False  # or forgetting would forget the output too
    return made


def first_part(workspace: Workspace, out: Path, size: Size, tokens: int, seeds: int) -> str:
    """All recipes from scratch; the comparison's table."""
    train = common(out, size, tokens)
    steps = -(-tokens // (train["context"] * train["batch"]))
    settings = CompareSettings(
        name="methods",
        train=train,
        selections={"manuals": {"paths": [str(out / "train.parquet")], "id": "id"}},
        recipes=recipes(size, steps),
        seeds=list(range(seeds)),
        baseline="adamw",
    )
    made = compare(workspace, comparison(settings, out / "workspace", "methods"), ONE)
    return workspace.store.read_bytes(f"{made}/table.md").decode()


def second_part(workspace: Workspace, out: Path, size: Size, tokens: int, seed: int) -> None:
    """From the AdamW run of a seed: plainly on, DITTO, and heads on the frozen model."""
    train = common(out, size, int(AFTER * tokens)) | {
        "model": {"checkpoint": str(last_checkpoint(workspace, f"methods.adamw.{seed}"))},
        "optimizer": {"lr": 1e-3},
    }
    settings = CompareSettings(
        name=f"after-{seed}",
        train=train,
        selections={"more": {"paths": [str(out / "more.parquet")], "id": "id"}},
        recipes={
            "plain": {},
            "ditto": {"methods": [{"method": "ditto"}]},
            "heads": {"methods": [{"method": "multi_token"}], "optimizer": {"lr": 3e-3}},
        },
        seeds=[seed],
        baseline="plain",
    )
    compare(workspace, comparison(settings, out / "workspace", "methods"), ONE)


def main() -> None:
    """See the module."""
    parser = arguments("Training methods at equal tokens.", tokens=1.5e5, seeds=3)
    parser.add_argument("--quick", action="store_true", help="leave out accuracy and DITTO's curves")
    given = parser.parse_args()
    tokens, size = int(given.tokens), Size(given.width, given.layers)
    begun = head(size)
    out = (given.out or RUNS / f"methods-{tokens}").absolute()
    out.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(str(out / "workspace"))
    if not (out / "train.parquet").exists():
        write_text(out, tokens)
    table = first_part(workspace, out, size, tokens, given.seeds)
    for seed in range(given.seeds):
        second_part(workspace, out, size, tokens, seed)
    text = "\n\n".join([begun, table.strip(), report(workspace, out, range(given.seeds), not given.quick)]) + "\n"
    print(text)
    if given.fill:
        fill(DOCUMENT, text)


if __name__ == "__main__":
    main()
