"""How many identifiers, how often, and how many null draws: a table for a wanted power and significance.

    planned = plan(PlanSettings(power=0.9, alpha=1e-3, owners=100))
    print(shown(planned))

A calibration of one's own is a CSV or Parquet file with columns `repetitions` and `auc`: what tests of a model gave
that was trained on a grid of identifiers x repetitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from pipeline.config_errors import nearest
from pipeline.errors import UserError
from scorers.ghosts.planning import Correction, required_draws, smallest_level
from scorers.ghosts.power import CURVES, DEFAULT_CURVE, Level, levels, owner_power

Share = Annotated[float, Field(gt=0, lt=1)]


class PlanSettings(BaseModel):
    """What is wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    power: Share = 0.9
    alpha: Share = 1e-3
    owners: Annotated[int, Field(ge=1)] = 1
    """of the registry"""
    count: Annotated[int, Field(ge=1)] | None = None
    """identifiers of each owner, if that is given; else what the best row needs"""
    unit: Literal["identifier", "owner", "registry"] = "owner"
    correction: Correction = "holm"
    m: Annotated[int, Field(ge=1)] | None = None
    curve: str = DEFAULT_CURVE
    calibration: str | None = None
    """a file of repetitions and auc, instead of a published curve"""


@dataclass(frozen=True)
class Planned:
    """settings: what was asked. level: of one test, after the correction; count: identifiers of an owner."""

    settings: PlanSettings
    curve: dict[int, float]
    level: float
    tests: int
    draws: int
    m: int
    count: int
    rows: list[Level]


def plan(settings: PlanSettings) -> Planned:
    """Work it out. Raises UserError for an unknown curve or a calibration that is none."""
    curve = read_calibration(settings.calibration) if settings.calibration else _published(settings.curve)
    owner_level = smallest_level(settings.owners, settings.alpha, settings.correction)
    best = min(
        levels(curve, owner_level, settings.power, owner_level, 1), key=lambda row: (row.documents, row.identifiers)
    )
    count = settings.count or best.identifiers
    tests = {"identifier": count * settings.owners, "owner": settings.owners, "registry": 1}[settings.unit]
    draws = required_draws(tests, settings.alpha, settings.correction)
    m = settings.m or max(draws, 999)
    if m < draws:
        raise UserError(f"m: with {m} null draws no test of this registry can come out; expected at least {draws}")
    level = smallest_level(tests, settings.alpha, settings.correction)
    together = settings.alpha if settings.unit == "registry" else owner_level
    single = smallest_level(count * settings.owners, settings.alpha, settings.correction)
    rows = levels(curve, together, settings.power, single, max(m, required_draws(1, single, "none")))
    return Planned(settings, curve, level, tests, draws, m, count, rows)


def _published(name: str) -> dict[int, float]:
    if name not in CURVES:
        raise UserError(f"unknown curve {name!r}{nearest(name, CURVES)}")
    return CURVES[name]


def read_calibration(path: str) -> dict[int, float]:
    """{repetitions: AUC}; several rows of one number are averaged. Raises UserError."""
    where = f"calibration {path}"
    try:
        table = pq.read_table(path) if path.endswith(".parquet") else csv.read_csv(path)
        pairs = zip(*(table.column(name).to_pylist() for name in ("repetitions", "auc")), strict=True)
        found: dict[int, list[float]] = {}
        for repetitions, auc in pairs:
            found.setdefault(int(repetitions), []).append(float(auc))
    except KeyError as error:
        raise UserError(f"{where}: no column {error}; expected repetitions and auc") from None
    except (OSError, pa.ArrowException, TypeError, ValueError) as error:
        raise UserError(f"{where}: {' '.join(str(error).split())[:200]}") from None
    curve = {repetitions: sum(aucs) / len(aucs) for repetitions, aucs in sorted(found.items())}
    for repetitions, auc in curve.items():
        if repetitions < 1 or not 0.5 < auc < 1:
            raise UserError(
                f"{where}: {repetitions} repetitions with AUC {auc:g}; expected at least 1, and an AUC of more than "
                f"0.5 and less than 1 (leave out rows that separate nothing, or everything)"
            )
    if not curve:
        raise UserError(f"{where}: no row")
    return curve


def shown(planned: Planned) -> str:
    """As a table with its reading."""
    s = planned.settings
    source = f"calibration {s.calibration}" if s.calibration else f"published curve {s.curve!r}"
    together = "registry" if s.unit == "registry" else "owner"
    level = s.alpha if s.unit == "registry" else smallest_level(s.owners, s.alpha, s.correction)
    group = planned.count * (s.owners if s.unit == "registry" else 1)
    lines = [
        f"power {s.power:g} at alpha {s.alpha:g}, correction {s.correction}; {planned.tests:,} tests, one per {s.unit}",
        source,
        "",
        f"repetitions    AUC  shift  identifiers  documents   one identifier's power   {group:,} together",
        "-----------  -----  -----  -----------  ---------   ----------------------   -----------",
    ]
    for row in planned.rows:
        lines.append(
            f"{row.repetitions:11}  {row.auc:5.3f}  {row.shift:5.2f}  {row.identifiers:11,}  {row.documents:9,}   "
            f"{row.single:22.3f}   {owner_power(row.shift, group, level):11.3f}"
        )
    best = min(planned.rows, key=lambda row: (row.documents, row.identifiers))
    lines += [
        "",
        f"fewest documents: {best.identifiers:,} identifiers per {together} in {best.repetitions} documents each "
        f"({best.documents:,})",
        f"null draws: at least {planned.draws:,} of each identifier; planned: {planned.m:,}",
    ]
    if not s.calibration:
        lines.append(
            "published curves are of 100-token canaries and fine-tuning: a prior, no promise (docs/ghosts.md); "
            "--calibration FILE takes your own"
        )
    return "\n".join(lines)
