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

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import ledger
from pipeline.execute import Counts, ledger_row, pending
from pipeline.preselect.matrix import REASONS, PanelLosses, make_pairs, read_pairs
from pipeline.preselect.panel import scores
from pipeline.preselect.sample import Sample
from pipeline.preselect.settings import PanelSettings, StrengthSettings
from pipeline.shards import file_facts, read_narrow, write_narrow
from pipeline.stage import Stage, saved
from pipeline.storage import Store
from pipeline.workspace import checked_name
from scorers.preselect.shrink import shrink
from scorers.preselect.strength import Strength, standard_error
from scorers.preselect.strength import measured as measured_strength

VERSION = 2
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
    found = read_pairs(sample, make_pairs(sample, panel, losses))
    benchmark = np.array(list(stage.fields["scores"].values()))
    table = measured(found, benchmark, settings)
    store.sweep(stage.folder)
    if saved(store, stage.folder) is None:
        stage.save(store)
    values = report(found, table, stage.fields["scores"], settings, [one.name for one in panel.models])
    store.write_bytes(f"{stage.folder}/{REPORT}", orjson.dumps(values, option=orjson.OPT_INDENT_2))
    start = 0
    attempts, made = dict(todo), []
    for shard in sample.shards:
        rows = sample.rows[shard].rows_out
        if shard in attempts:
            counts = _write(store, f"{stage.folder}/{shard}.parquet", table.slice(start, rows))
            made.append(ledger_row(stage.folder, shard, attempts[shard], begun, counts))
        start += rows
    ledger.compact(store, stage.folder, made)
    return stage


def measured(found: PanelLosses, benchmark: np.ndarray, settings: StrengthSettings) -> pa.Table:
    """The table of strengths; benchmark: (benchmarks, models)."""
    columns: dict[str, Any] = {name: found.documents.column(name) for name in found.documents.column_names}
    columns["chars"], columns["tokens"] = pa.array(found.chars), pa.array(found.tokens)
    columns["reason"] = pa.array([None, *REASONS[1:]], pa.string()).take(pa.array(found.reasons))
    values: dict[str, np.ndarray] = {}
    for estimator in settings.estimators:
        values[estimator] = measure(found.losses, found.told, settings, estimator)(benchmark).value
    if settings.kappa is not None:
        domains = pc.fill_null(found.documents.column("domain"), "").combine_chunks()
        codes = pc.dictionary_encode(domains).indices.to_numpy()
        for name, own in list(values.items()):
            drawn = shrink(own, np.maximum(found.tokens, 1), codes, settings.kappa)
            values[f"{name}_shrunk"] = drawn.value
    values["se"] = standard_error(found.told, benchmark, settings.combine)
    for name, own in values.items():
        columns[name] = pa.array(own, pa.float64(), from_pandas=True)
    return pa.table(columns)


def measure(
    losses: np.ndarray, told: np.ndarray, settings: StrengthSettings, estimator: Any
) -> Callable[[np.ndarray], Strength]:
    """From a benchmark to the strengths of documents by one estimator. told: see PanelLosses."""
    return measured_strength(
        losses,
        estimator,
        ties=settings.ties,
        combine=settings.combine,
        told=told if estimator == "noise" else None,
        pooling=settings.pooling,
    )


def _write(store: Store, file: str, table: pa.Table) -> Counts:
    with store.writing(file) as path:
        write_narrow(path, table)
        facts = file_facts(path)
    return Counts(rows_in=table.num_rows, rows_out=table.num_rows, **facts)


def read_strength(sample: Sample, folder: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The strengths of a stage, all shards in order."""
    store = sample.workspace.store
    wanted = None if columns is None else list(columns)
    return pa.concat_tables([read_narrow(store, f"{folder}/{shard}.parquet", wanted) for shard in sample.shards])
