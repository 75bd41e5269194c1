"""`tamis tokens select`: which response tokens carry loss, and beside them as many at random.

    stage = select_tokens(workspace, "sstoken", SelectTokensSettings(corpus="chat", method="sstoken"), pool)

    token-selections/<corpus>/<name>-<hash8>/part-*.parquet, aligned with the token table:
    id                     string
    reason                 string, why a document takes no part: held_out, other_part, or what the token table says
    selected, control      list<int8>, 1: carries loss. control: as many random tokens in the same scope
    score                  list<float32>, what was compared; NaN where a token does not compete
    n_tokens, n_selected   int32, tokens that competed, and those kept
    histogram.json         how the scores of kept and other tokens are spread

Thresholds are not burnt in: another share or method is another selection from the same losses. A document that takes no
part has NULL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, pending
from pipeline.shards import file_facts, write_narrow
from pipeline.stage import Stage, saved
from pipeline.tokens.cuts import Reader, batch_cuts, batches_of, global_cut, sizes
from pipeline.tokens.passes import lists
from pipeline.tokens.ranking import Ranked, columns_needed
from pipeline.tokens.settings import SelectTokensSettings
from pipeline.tokens.table import TokenTable, open_table
from pipeline.workspace import Workspace, checked_name
from scorers.sstoken.choose import Cut, best_of_samples, beyond, beyond_own, shares

VERSION = 1
HISTOGRAM = "histogram.json"
BARS = 30


@dataclass(frozen=True)
class _Task:
    reader: Reader
    cuts: tuple[Cut, Cut] | None
    batches: np.ndarray | None
    batch_cuts: tuple[dict[int, Cut], dict[int, Cut]] | None


def selection_stage(table: TokenTable, name: str, settings: SelectTokensSettings) -> Stage:
    """The stage that a selection makes."""
    import scorers.sstoken

    chosen = settings.model_dump(mode="json", exclude={"corpus", "scores", "weaker", "stronger", "scope", "rounding"})
    chosen |= {"scope": settings.among, "rounding": settings.rounded}
    if settings.uses_losses:
        chosen |= {"compared": list(settings.compared)}
    return Stage(
        kind="token-selection",
        name=checked_name(name, "token selection"),
        parent=f"token-selections/{table.corpus.name}",
        fields={
            "version": [VERSION, scorers.sstoken.VERSION],
            "table": table.record["hash"],
            "settings": chosen,
        },
        info={"table": table.folder},
    )


def select_tokens(workspace: Workspace, name: str, settings: SelectTokensSettings, pool: Pool) -> dict[str, Any]:
    """Select what is not selected yet; {folder, tokens, kept, ...}. The caller holds the lock."""
    table = open_table(workspace, settings.corpus, settings.scores)
    reader = Reader(table, settings, tuple(columns_needed(settings, table.columns, table.folder)))
    stage = selection_stage(table, name, settings)
    store, folder = workspace.store, stage.folder
    todo = pending(workspace, folder, table.shards)
    if not todo and store.exists(f"{folder}/{HISTOGRAM}"):
        return orjson.loads(store.read_bytes(f"{folder}/{HISTOGRAM}")) | {"folder": folder}
    store.sweep(folder)
    found = sizes(pool, reader)
    total = int(found.tokens.sum())
    if total == 0:
        raise UserError(f"{table.folder}: no response token takes part (held out, without losses, or another part)")
    if saved(store, folder) is None:
        stage.save(store)
    cuts = by_batch = None
    batches: list[Any] = [None] * len(table.shards)
    if settings.among == "global":
        cuts = (global_cut(pool, reader, total, False), global_cut(pool, reader, total, True))
    elif settings.among == "batch":
        batches = batches_of(found, settings)
        by_batch = batch_cuts(pool, reader, found, batches)
    jobs = []
    for shard, attempt in pending(workspace, folder, table.shards):
        batch = batches[table.shards.index(shard)]
        own = by_batch
        if by_batch is not None:  # a shard needs the cuts of its batches alone
            there = np.unique(batch).tolist()
            own = ({b: by_batch[0][b] for b in there}, {b: by_batch[1][b] for b in there})
        jobs.append(Job(workspace, shard, ((folder, attempt),), _Task(reader, cuts, batch, own)))
    rows = pool.run(jobs, select_shard, f"tokens select {name}")
    if failed := {row.shard: row.error or "" for row in rows if not row.done}:
        raise ShardsFailed(f"tokens select {name}", failed, len(rows))
    summary = summarised(table, stage, pool)
    store.write_bytes(f"{folder}/{HISTOGRAM}", orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    return summary | {"folder": folder}


def select_shard(job: Job) -> dict[str, Counts | Exception]:
    """The selection of one shard."""
    task: _Task = job.task
    [(target, _)] = job.outputs
    found = task.reader(job.shard)
    kept, control = _kept(found, task)
    there = np.array([reason is None for reason in found.reasons], bool)
    offsets = np.append(0, np.cumsum(found.lengths[there]))
    starts = np.append(0, np.cumsum(np.where(there, found.lengths, 0)))[:-1]
    at = starts[found.rows] + found.places

    def whole(values: np.ndarray, empty: Any, kind: Any) -> pa.ListArray:
        everything = np.full(int(offsets[-1]), empty, kind)
        everything[at] = values
        return lists(everything, offsets, there)

    n_selected = np.bincount(found.rows[kept], minlength=len(there)).astype(np.int32)
    table = pa.table(
        {
            "id": task.reader.table.read(job.shard, ["id"]).column("id"),
            "reason": pa.array(found.reasons, pa.string()),
            "selected": whole(kept, 0, np.int8),
            "control": whole(control, 0, np.int8),
            "score": whole(found.scores, np.nan, np.float32),
            "n_tokens": pa.array(found.counts.astype(np.int32)),
            "n_selected": pa.array(n_selected),
        }
    )
    with job.workspace.store.writing(f"{target}/{job.shard}.parquet") as path:
        write_narrow(path, table)
        facts = file_facts(path)
    return {target: Counts(table.num_rows, table.num_rows, **facts)}


def _kept(found: Ranked, task: _Task) -> tuple[np.ndarray, np.ndarray]:
    """Which of the competing tokens are selected, and which are the control."""
    settings = task.reader.settings
    nothing = np.zeros_like(found.orders)
    pairs = ((found.orders, found.ties), (nothing, found.control))
    if settings.among == "sample":
        counts = shares(found.counts, settings.rho, settings.rounded)
        first, second = (best_of_samples(order, tie, found.offsets, counts) for order, tie in pairs)
        return first, second
    if task.cuts is not None:
        first, second = (beyond(*pair, cut) for pair, cut in zip(pairs, task.cuts, strict=True))
        return first, second
    assert task.batches is not None
    assert task.batch_cuts is not None
    of_token = np.repeat(task.batches, found.counts[found.counts > 0])
    first, second = (beyond_own(*pair, of_token, cuts) for pair, cuts in zip(pairs, task.batch_cuts, strict=True))
    return first, second


@dataclass(frozen=True)
class _Spread:
    """Histogram of one shard of a selection; edges None: least and greatest score."""

    workspace: Workspace
    folder: str
    edges: tuple[float, ...] | None

    def __call__(self, shard: str) -> dict[str, Any]:
        from pipeline.shards import read_narrow
        from pipeline.tokens.ranking import flat

        table = read_narrow(self.workspace.store, f"{self.folder}/{shard}.parquet", ["selected", "control", "score"])
        score = flat(table, "score")[0]
        there = ~np.isnan(score)
        kept, control = (flat(table, name)[0][there] != 0 for name in ("selected", "control"))
        score = score[there]
        if self.edges is None:
            return {"low": float(score.min(initial=np.inf)), "high": float(score.max(initial=-np.inf))}
        made = {"tokens": len(score), "kept": int(kept.sum()), "control": int(control.sum())}
        sums = {"score_kept": float(score[kept].sum(dtype=float)), "score_all": float(score.sum(dtype=float))}
        bars = {name: np.histogram(score[who], self.edges)[0] for name, who in (("in", kept), ("out", ~kept))}
        return made | sums | bars | {"both": int((kept & control).sum())}


def summarised(table: TokenTable, stage: Stage, pool: Pool) -> dict[str, Any]:
    """What a selection came to: counts, mean scores, and the spread of the scores of kept and other tokens."""
    from pipeline.select.spread import answers

    shards = list(table.shards)
    ends = list(answers(pool, _Spread(table.workspace, stage.folder, None), shards))
    low, high = min(one["low"] for one in ends), max(one["high"] for one in ends)
    edges = np.linspace(low, high if high > low else low + 1, BARS + 1)
    parts = list(answers(pool, _Spread(table.workspace, stage.folder, tuple(edges.tolist())), shards))
    total = {key: sum(part[key] for part in parts) for key in parts[0]}
    assert total["kept"] == total["control"], (total["kept"], total["control"])
    return {
        "tokens": total["tokens"],
        "kept": total["kept"],
        "kept_by_chance_too": total["both"],
        "mean_score": total["score_all"] / max(total["tokens"], 1),
        "mean_score_kept": total["score_kept"] / max(total["kept"], 1),
        "edges": edges.tolist(),
        "histogram_kept": total["in"].tolist(),
        "histogram_other": total["out"].tolist(),
    }


def shown(summary: dict[str, Any], width: int = 40) -> str:
    """A selection's summary for a terminal: kept tokens as #, the others as dots."""
    tokens, kept = summary["tokens"], summary["kept"]
    lines = [
        f"{kept:,} of {tokens:,} response tokens kept ({kept / tokens:.4f}), {summary['kept_by_chance_too']:,} of them "
        f"in the random control too",
        f"mean score {summary['mean_score_kept']:.4f} of those kept, {summary['mean_score']:.4f} of all; # kept, . not",
    ]
    pairs = list(zip(summary["histogram_kept"], summary["histogram_other"], strict=True))
    most = max(sum(pair) for pair in pairs) or 1
    for edge, (own, other) in zip(summary["edges"], pairs, strict=False):
        if own + other:
            whole = max(1, round(width * (own + other) / most))
            filled = round(whole * own / (own + other))
            lines.append(f"{edge:10.4f}  {'#' * filled}{'.' * (whole - filled)}  {own:,} + {other:,}")
    return "\n".join(lines)
