"""The parts of the page, in its order; each is a module of one function."""

from __future__ import annotations

from pipeline.report.part import PartFunction
from pipeline.report.parts import (
    budget,
    comparisons,
    documents,
    failures,
    funnel,
    labels,
    membership,
    near,
    relations,
    repeats,
    scores,
    stages,
    tokens,
    training,
)

PARTS: tuple[PartFunction, ...] = (
    stages.part,
    failures.part,
    funnel.part,
    scores.part,
    budget.part,
    relations.part,
    labels.part,
    near.part,
    repeats.part,
    membership.part,
    tokens.part,
    training.part,
    comparisons.part,
    documents.part,
)
