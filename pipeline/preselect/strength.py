"""Predictive strength of a sample's documents: strengths/<corpus>/<name>-<hash8>/, aligned with the sample.

    stage = make_strength(sample, panel, losses, StrengthSettings(), "strength")

    id, source, domain   strings
    weight               float64, see sample
    chars, tokens        int64, what was scored
    reason               string, why there is no strength (matrix.REASONS); null if there is one
    preselect, spearman, margin, noise      float64, one per estimator asked for; null if undefined
    <estimator>_shrunk   float64, drawn towards the domain's mean, if `kappa` is set
    se                   float64, standard error of `preselect` if token losses were drawn again: the root of the sum of
                         p (1 - p) over the pairs, p the probability that the pair's order is real, over their number.
                         Pairs are taken as independent; they share models, so it is rather too small than too large.

and report.json (see report). The estimators look at all documents at once, so this runs in one process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline import ledger
from pipeline.execute import Counts, pending, write_row
from pipeline.preselect.matrix import REASONS, PanelLosses, read_losses
from pipeline.preselect.panel import scores
from pipeline.preselect.sample import Sample
from pipeline.preselect.settings import PanelSettings, StrengthSettings
from pipeline.shards import file_facts, read_narrow, write_narrow
from pipeline.stage import Stage, saved
from pipeline.workspace import checked_name
from scorers.preselect.pairs import PairStatistics, steadied
from scorers.preselect.shrink import shrink
from scorers.preselect.strength import PRIOR_TOKENS, combined, strength

VERSION = 1
REPORT = "report.json"


def strength_stage(
    sample: Sample, panel: PanelSettings, losses: dict[str, Stage], settings: StrengthSettings, name: str = "strength"
) -> Stage:
    """The stage: losses of the models in the panel's order, and their scores."""
    return Stage(
        kind="strength",
        name=checked_name(name, "strength"),
        parent=f"strengths/{sample.corpus}",
        fields={
            "sample": sample.hash,
            "version": VERSION,
            "losses": {one.name: losses[one.name].hash for one in panel.models},
            "scores": scores(panel, settings.benchmarks),
            "align": panel.align,
            "settings": settings.model_dump(mode="json"),
        },
        info={"corpus": sample.corpus, "sample": sample.folder, "losses": [s.folder for s in losses.values()]},
    )


def make_strength(
    sample: Sample, panel: PanelSettings, losses: dict[str, Stage], settings: StrengthSettings, name: str = "strength"
) -> Stage:
    """Make what is not there yet. The caller holds the lock."""
    from pipeline.preselect.report import report

    stage = strength_stage(sample, panel, losses, settings, name)
    workspace, store = sample.workspace, sample.workspace.store
    todo = pending(workspace, stage.folder, sample.shards)
    if not todo and store.exists(f"{stage.folder}/{REPORT}"):
        return stage
    begun = time.time()
    folders = [losses[one.name].folder for one in panel.models]
    found = read_losses(sample, folders, panel.align)
    benchmark = np.array(list(stage.fields["scores"].values()))
    table = measured(found, benchmark, settings)
    store.sweep(stage.folder)
    if saved(store, stage.folder) is None:
        stage.save(store)
    store.write_bytes(
        f"{stage.folder}/{REPORT}",
        orjson.dumps(report(found, table, stage.fields["scores"], settings, list(losses)), option=orjson.OPT_INDENT_2),
    )
    start = 0
    attempts = dict(todo)
    for shard in sample.shards:
        rows = sample.rows[shard].rows_out
        if shard in attempts:
            _write(sample, stage, shard, attempts[shard], table.slice(start, rows), begun)
        start += rows
    ledger.compact(store, stage.folder)
    return stage


def measured(found: PanelLosses, benchmark: np.ndarray, settings: StrengthSettings) -> pa.Table:
    """The table of strengths; benchmark: (benchmarks, models)."""
    assert found.pairs is not None
    columns: dict[str, Any] = {name: found.documents.column(name) for name in found.documents.column_names}
    columns["chars"], columns["tokens"] = pa.array(found.chars), pa.array(found.tokens)
    columns["reason"] = pa.array([REASONS[i] or None for i in found.reasons], pa.string())
    values: dict[str, np.ndarray] = {n: value(found, benchmark, settings, n) for n in settings.estimators}
    if settings.kappa is not None:
        domains = found.documents.column("domain").to_pylist()
        codes = np.unique([name or "" for name in domains], return_inverse=True)[1]
        for name, own in list(values.items()):
            drawn = shrink(own, np.maximum(found.tokens, 1), codes, settings.kappa)
            values[f"{name}_shrunk"] = drawn.value
    values["se"] = standard_error(found.pairs, benchmark, settings)
    for name, own in values.items():
        columns[name] = pa.array(own, pa.float64(), from_pandas=True)
    return pa.table(columns)


def value(found: PanelLosses, benchmark: np.ndarray, settings: StrengthSettings, estimator: Any) -> np.ndarray:
    """Strengths (D,) by one estimator."""
    return strength(
        found.losses,
        benchmark,
        estimator,
        ties=settings.ties,
        combine=settings.combine,
        pairs=found.pairs if estimator == "noise" else None,
        pooling=settings.pooling,
    ).value


def standard_error(pairs: PairStatistics, benchmark: np.ndarray, settings: StrengthSettings) -> np.ndarray:
    """float64 (D,): see `se` in the module."""
    steady = steadied(pairs, PRIOR_TOKENS)
    models = benchmark.shape[1]
    gaps = combined(benchmark, models, settings.combine)
    i, j = np.triu_indices(models, 1)
    told = (gaps[:, i] != gaps[:, j]).mean(axis=0)  # of benchmarks that tell the pair apart
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.abs(steady.difference / steady.error) / math.sqrt(2)
    p = 0.5 + 0.5 * _erf(np.where(np.isnan(z), 0, z))
    se = np.sqrt((p * (1 - p) * told**2).sum(axis=1)) / max(told.sum(), 1)
    return np.where(np.isnan(steady.difference).any(axis=1), np.nan, se)


def _erf(x: np.ndarray) -> np.ndarray:
    """Abramowitz and Stegun 7.1.26, for x >= 0: within 1.5e-7, far below what a standard error is good for."""
    t = 1 / (1 + 0.3275911 * x)
    poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    return 1 - poly * np.exp(-x * x)


def _write(sample: Sample, stage: Stage, shard: str, attempt: int, table: pa.Table, begun: float) -> None:
    store = sample.workspace.store
    with store.writing(f"{stage.folder}/{shard}.parquet") as path:
        write_narrow(path, table)
        facts = file_facts(path)
    counts = Counts(rows_in=table.num_rows, rows_out=table.num_rows, **facts)
    write_row(sample.workspace, stage.folder, shard, attempt, begun, counts)


def read_strength(sample: Sample, folder: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The strengths of a stage, all shards in order."""
    store = sample.workspace.store
    wanted = None if columns is None else list(columns)
    return pa.concat_tables([read_narrow(store, f"{folder}/{shard}.parquet", wanted) for shard in sample.shards])
