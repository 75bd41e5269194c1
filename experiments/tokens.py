"""Does choosing which answer tokens carry loss make a better fine-tuned model than random ones, or than all of them?

    python -m experiments.tokens                                  # about half an hour on one core
    python -m experiments.tokens --tokens 6e5 --seeds 5           # longer

A small Llama is trained on English manuals (`base`), then fine-tuned on questions and answers from Debian's
documentation (experiments/tokens_text.py: dictionary entries, with a part of the Perl FAQ). Two further checkpoints are
tuned from the base for the scores: `later` on the same data, and `reference` on data of its own that counts as good:
the other FAQ answers and some entries. Then, at an equal number of tokens read, with the same rows in the same
order:

full           every answer token carries loss
random         60 % of them at random: the control of sstoken, per sample
rho1           by base - reference, in batches of 8 samples
cleaning       by base - reference, over all (Token Cleaning with a fixed reference)
sstoken        by base - later, and the attention of `later` on the prompt; per sample
rho1_live      by the model in training - reference, within each micro-batch
sstoken_live   by base - the model in training, and its attention

Evaluated on held-out answers of both kinds, in bits per byte. Everything goes through Tamis, and what is done is not
done again.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from experiments.tokens_text import conversations
from experiments.trainings import ONE, ROOT, RUNS, TOKENIZER, Size, arguments, fill, head, manuals, recipe, speed
from pipeline.execute import Pool
from pipeline.ingest import IngestSettings, ingest
from pipeline.lock import held
from pipeline.tokens.export import export_tokens
from pipeline.tokens.passes import make_passes, planned
from pipeline.tokens.select import select_tokens
from pipeline.tokens.settings import ExportTokensSettings, ScoreTokensSettings, SelectTokensSettings
from pipeline.tokens.table import make_table
from pipeline.trainer.compare import CompareSettings, compare, comparison
from pipeline.trainer.run import placed_settings, train_run
from pipeline.trainer.settings import TrainSettings
from pipeline.workspace import Workspace

DOCUMENT = ROOT / "docs" / "experiments" / "token-selection.md"
ENGLISH = ("linux-doc-6.1", "python-django-doc", "sqlite3-doc", "llvm-14-doc", "erlang-doc")
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TUNED = 120_000
"""Tokens that the two checkpoints for the scores are tuned on."""
RHO = 0.6
SELECTIONS: dict[str, dict[str, Any]] = {
    "rho1": {"method": "rho1", "scope": "batch", "batch": 8},
    "cleaning": {"method": "cleaning"},
    "sstoken": {"method": "sstoken"},
}
LIVE: dict[str, dict[str, Any]] = {
    "rho1_live": {"select": "rho1", "other": "reference"},
    "sstoken_live": {"select": "sstoken", "other": "base"},
}


def write_text(out: Path, entries: int, base_tokens: int) -> None:
    """The manuals for the base, the conversations, and a tokenizer with a chat template."""
    place = out / "tokenizer"
    place.mkdir(parents=True)
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.save(str(place / "tokenizer.json"))
    config = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "chat_template": TEMPLATE}
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    table = manuals(1e4)
    table = table.filter(pc.is_in(table["source"], pc.cast(list(ENGLISH), "string")))  # type: ignore[arg-type]
    pq.write_table(table.slice(0, int(base_tokens / 900) + 50), out / "manuals.parquet")
    talks = conversations(out.parent / "debs")
    for rows in talks.values():
        random.Random(0).shuffle(rows)
    foldoc, faq = talks["foldoc"], talks["faq"]
    sets = {
        "held_foldoc": foldoc[:200],
        "held_faq": faq[:60],
        "reference": faq[60:160] + foldoc[200:500],
        "pool": faq[160:] + foldoc[500 : 500 + entries],
    }
    for name, rows in sets.items():
        (out / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def checkpoint(workspace: Workspace, out: Path, name: str, values: dict[str, Any], size: Size) -> Path:
    """Train a checkpoint, and put its model where others find it."""
    place = out / "models" / name
    if not (place / "config.json").exists():
        settings = {"name": name, "seed": 0} | values
        last = train_run(workspace, placed_settings(TrainSettings.model_validate(settings), out), ONE)
        shutil.copytree(workspace.store.path(last.folder), place)
    return place


def tuned(out: Path, data: dict[str, Any], tokens: int, size: Size) -> dict[str, Any]:
    """The recipe of fine-tuning from the base."""
    talks = {"tokenizer": str(out / "tokenizer"), "messages": "messages"}
    sets = {name: talks | {"paths": [str(out / f"held_{name}.jsonl")]} for name in ("foldoc", "faq")}
    made = recipe(tokens, size, {})
    return made | {
        "data": data,
        "evaluation": sets,
        "model": {"checkpoint": str(out / "models" / "base")},
        "optimizer": {"lr": 1e-3},
        "schedule": {"shape": "linear", "warmup": 0.05},
    }


def make_selections(workspace: Workspace, out: Path) -> dict[str, str]:
    """{arm: its export}."""
    models = {role: str(out / "models" / name) for role, name in (("earlier", "base"), ("later", "later"))}
    values = models | {"corpus": "talks", "reference": str(out / "models" / "reference"), "threads": 1}
    found = {}
    with held(workspace.store), Pool(ONE, workspace) as pool:
        ingest(workspace, "talks", IngestSettings(sources=[str(out / "pool.jsonl")], id="id"), pool)
        passes = planned(workspace, ScoreTokensSettings.model_validate(values))
        make_passes(workspace, passes, pool)
        make_table(workspace, "tokens", passes, pool)
        for name, settings in SELECTIONS.items():
            checked = SelectTokensSettings.model_validate({"corpus": "talks", "rho": RHO} | settings)
            select_tokens(workspace, name, checked, pool)
        arms = {"full": ("sstoken", "all"), "random": ("sstoken", "control")}
        for arm, (selection, mask) in (arms | {name: (name, "selected") for name in SELECTIONS}).items():
            chosen = {"corpus": "talks", "selection": selection, "mask": mask}
            record = export_tokens(workspace, arm, ExportTokensSettings.model_validate(chosen), pool)
            found[arm] = record["folder"]
    return found


def selections_table(workspace: Workspace) -> str:
    """How much the selections have in common."""
    from pipeline.sql import query

    rows = query(
        workspace,
        """WITH t AS (
             SELECT selection, id, unnest(selected) AS s, generate_subscripts(selected, 1) AS i FROM token_selections),
           k AS (SELECT * FROM t WHERE s = 1)
           SELECT a.selection AS one, b.selection AS other, count(*) AS both,
             (SELECT count(*) FROM k WHERE k.selection = a.selection) AS kept
           FROM k a JOIN k b USING (id, i) WHERE a.selection != b.selection GROUP BY ALL ORDER BY ALL""",
    ).to_pylist()
    lines = ["| tokens kept by | of them kept too by | share |", "| --- | --- | --- |"]
    lines += [f"| {r['one']} ({r['kept']:,}) | {r['other']} | {r['both'] / r['kept']:.3f} |" for r in rows]
    return "\n".join(lines)


def main() -> None:
    """See the module."""
    parser = arguments("Token selections, trained and compared.", tokens=1e5, seeds=3)
    parser.add_argument("--base-tokens", type=float, default=3e6)
    parser.add_argument("--entries", type=int, default=882, help="of the dictionary, among the data")
    given = parser.parse_args()
    tokens, size = int(given.tokens), Size(given.width, given.layers)
    begun = head(size)
    out = (given.out or RUNS / f"tokens-{tokens}").absolute()
    workspace = Workspace(str(out / "workspace"))
    if not (out / "pool.jsonl").exists():
        shutil.rmtree(out / "tokenizer", ignore_errors=True)
        write_text(out, given.entries, int(given.base_tokens))
    plain = {"tokenizer": str(out / "tokenizer"), "paths": [str(out / "manuals.parquet")]}
    checkpoint(workspace, out, "base", recipe(int(given.base_tokens), size, {}) | {"data": plain}, size)
    talks = {"tokenizer": str(out / "tokenizer"), "messages": "messages"}
    for name, file in (("later", "pool"), ("reference", "reference")):
        data = talks | {"paths": [str(out / f"{file}.jsonl")]}
        checkpoint(workspace, out, name, tuned(out, data, TUNED, size), size)
    exports = make_selections(workspace, out)
    data = {"tokenizer": str(out / "tokenizer"), "tokens": "input_ids", "token_weights": "token_weights"}
    values = {
        "name": "tokens",
        "train": tuned(out, data, tokens, size),
        "seeds": list(range(given.seeds)),
        "selections": {arm: {"paths": [folder]} for arm, folder in exports.items()},
        "baseline": "random",
    }
    staged = comparison(CompareSettings.model_validate(values), out, "tokens")
    methods = {
        name: {"methods": [{"method": "tokens", "rho": RHO} | one | {"other": str(out / "models" / one["other"])}]}
        for name, one in LIVE.items()
    }
    only = {"selections": {"full": {"paths": [exports["full"]]}}, "recipes": methods, "baseline": None}
    live = comparison(CompareSettings.model_validate(values | only), out, "tokens")
    made = compare(workspace, replace(staged, runs=staged.runs | live.runs), ONE)
    table = workspace.store.read_bytes(f"{made}/table.md").decode()
    text = "\n\n".join([begun, speed(workspace), table.strip("\n"), selections_table(workspace)]) + "\n"
    print(text)
    if given.fill:
        fill(DOCUMENT, text)


if __name__ == "__main__":
    main()
