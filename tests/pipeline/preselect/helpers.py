"""A corpus with domains, a panel of six models, and losses written by hand where no language model is at hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.preselect.losses import SCHEMA
from pipeline.preselect.sample import Sample
from pipeline.preselect.settings import PanelSettings
from pipeline.shards import file_facts, write_narrow
from pipeline.stage import Stage
from pipeline.workspace import Corpus, Workspace
from tests.workspaces import add_corpus, record

MODELS = 6
WORDS = {
    True: ["because", "therefore", "explains", "reason", "example"],
    False: ["index", "page", "menu", "next", "list"],
}


def web(workspace: Workspace, domains: int = 20, per_domain: int = 12, shards: int = 3) -> Corpus:
    """Domain d has per_domain + d documents; half of them are of telling words. The last one is held out."""
    random = np.random.default_rng(0)
    rows = []
    for domain in range(domains):
        for i in range(per_domain + domain):
            good = bool(random.random() < 0.5)
            text = " ".join(random.choice([*WORDS[good], "and", "the", "of"], size=int(random.integers(8, 60))))
            url = f"https://www.site{domain:02d}.org/{i}"
            rows.append(
                {"id": f"{domain:02d}-{i:03d}-{'g' if good else 'b'}", "text": text, "source": "web", "url": url}
            )
    random.shuffle(rows)  # type: ignore[arg-type]
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("text", pa.large_string()),
            ("source", pa.string()),
            ("url", pa.string()),
            ("held_out", pa.bool_()),
        ]
    )
    for row in rows:
        row["held_out"] = False  # type: ignore[assignment]
    rows[-1]["held_out"] = True  # type: ignore[assignment]
    size = -(-len(rows) // shards)
    tables = [pa.Table.from_pylist(rows[i * size : (i + 1) * size], schema) for i in range(shards)]
    add_corpus(workspace, "web", tables)
    return workspace.corpus("web")


def panel(**changes: object) -> PanelSettings:
    """Six models, the later the better; `flat` says the same of all but the first."""
    models = [
        {"name": f"m{i}", "model": f"m{i}", "scores": {"quiz": 10.0 * i, "flat": float(i > 0)}} for i in range(MODELS)
    ]
    return PanelSettings.model_validate({"models": models} | changes)


def write_losses(sample: Sample, cuts: dict[int, int] | None = None, odd: str | None = None) -> dict[str, Stage]:
    """Losses that fall from model to model on good documents and rise on bad ones, with noise per token.

    cuts: {model: characters of a token}, 4 for those not named. odd: id of a document of which the last model scored
    one character less.
    """
    stages = {}
    for model in range(MODELS):
        stage = Stage("losses", f"m{model}", f"losses/{sample.corpus}", {"model": model, "sample": sample.hash})
        stage.save(sample.workspace.store)
        for shard in sample.shards:
            rows = []
            for row in sample.table(shard, ["id", "text"]).to_pylist():
                finish = len(row["text"]) - (row["id"] == odd and model == MODELS - 1)
                width = (cuts or {}).get(model, 4)
                widths = [width] * (finish // width) + ([finish % width] if finish % width else [])
                random = np.random.default_rng([model, *row["id"].encode()])
                slope = -0.3 if row["id"].endswith("g") else 0.3
                values = np.maximum(random.normal(3 + slope * model, 0.4, len(widths)), 0).astype(np.float32)
                values = (values * np.array(widths) / 4).astype(np.float32)
                total = float(values.sum(dtype=np.float64))
                rows.append([row["id"], len(widths), 0, finish, finish, total, values.tolist(), widths])
            table = pa.table(
                [pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), SCHEMA, strict=True)], SCHEMA
            )
            with sample.workspace.store.writing(f"{stage.folder}/{shard}.parquet") as path:
                write_narrow(path, table)
                facts = file_facts(path)
            record(sample.workspace, stage.folder, shard, rows_in=len(rows), rows_out=len(rows), **facts)
        stages[stage.name] = stage
    return stages
