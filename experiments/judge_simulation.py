"""Which way of asking a judge recovers the order of documents best at equal cost: tables of docs/experiments/labels.md.

    python -m experiments.judge_simulation

A made-up judge whose opinion is known. Its logit for a document in slot s of a prompt is

    sharpness x (quality + taste) + pull of the slot + mood

quality is the truth; taste is what this judge gets wrong about a document each time it reads it; mood is drawn anew for
every document of every prompt. Alone, it grades 0 to 5: the log-probability of a grade falls with the square of its
distance from where the document lies on the judge's scale, plus a liking for certain grades. Cost is counted in tokens
read: a rubric once per prompt, and each document shown. The judge is written here; the
estimators do not import it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorers.judge.design import Groups, design
from scorers.judge.fit import expectation, fit
from scorers.preselect.diagnostics import rank_correlation

DOCUMENTS, SEEDS = 1000, 20
RUBRIC, EXCERPT = 150, 300
"""Tokens of the rubric and of an excerpt."""
BUDGETS = (450, 900, 1800, 3600)
"""Tokens per document."""
TOP = 0.2


@dataclass(frozen=True)
class World:
    """A kind of judge.

    pull: standard deviation of the slots' pulls, in nats. grades: how sure of a grade it is. crowd: how much each
    further document of a prompt adds to the mood. alone: what it gets wrong about a document besides when it has
    nothing to compare it with.
    """

    name: str
    taste: float = 0.3
    mood: float = 1.0
    pull: float = 0.5
    sharpness: float = 1.5
    grades: float = 1.0
    liking: float = 0.5
    crowd: float = 0.0
    alone: float = 0.0


WORLDS = (
    World("fair judge"),
    World("strong position bias", pull=2.0),
    World("moody judge", mood=2.5),
    World("steady judge", mood=0.4),
    World("confused by many documents", crowd=0.3),
    World("better at comparing", alone=0.7),
    World("sure of its grades", grades=8.0, liking=2.0),
)


@dataclass(frozen=True)
class Judge:
    """A judge and the documents it will read."""

    world: World
    quality: np.ndarray
    opinion: np.ndarray
    pulls: np.ndarray
    likings: np.ndarray
    lonely: np.ndarray
    rng: np.random.Generator

    def order(self, groups: Groups) -> np.ndarray:
        """Log-probabilities of the letters, (prompts, slots)."""
        slots = groups.members.shape[1]
        logits = self.world.sharpness * self.opinion[groups.members] + self.pulls[:slots]
        mood = self.world.mood * (1 + self.world.crowd * (slots - 1))
        return _normalised(logits + mood * self.rng.normal(size=logits.shape))

    def grade(self) -> np.ndarray:
        """Log-probabilities of the grades 0 to 5 for every document: one wording of the question."""
        mood = self.world.mood / self.world.sharpness * self.rng.normal(size=len(self.opinion))
        place = 2.5 + self.opinion + self.lonely + mood
        return _normalised(-self.world.grades * (np.arange(6) - place[:, None]) ** 2 + self.likings)


def judge(world: World, seed: int) -> Judge:
    """A judge of a world, with documents of normal quality."""
    rng = np.random.default_rng([seed, 42])
    quality = rng.normal(size=DOCUMENTS)
    opinion = quality + world.taste * rng.normal(size=DOCUMENTS)
    pulls, likings = world.pull * rng.normal(size=16), world.liking * rng.normal(size=6)
    return Judge(world, quality, opinion, pulls, likings, world.alone * rng.normal(size=DOCUMENTS), rng)


def _normalised(logits: np.ndarray) -> np.ndarray:
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def pointwise(one: Judge, budget: int, seed: int) -> np.ndarray:
    """The mean of the expected grades of the one or two readings that the budget pays.

    Two are all that there are, grades from the worst and from the best: a third would get the first one's answer.
    """
    readings = 2 if budget >= 2 * (RUBRIC + EXCERPT) else 1
    return np.mean([expectation(one.grade()) for _ in range(readings)], axis=0)


def listwise(one: Judge, budget: int, seed: int, size: int = 8, anchors: int = 1) -> np.ndarray:
    """Quality by Plackett-Luce over as many rounds as the budget pays."""
    rounds = max(budget * (size - anchors) // (RUBRIC + size * EXCERPT), 1)
    groups = design(DOCUMENTS, size, rounds, anchors, seed)
    return fit(groups.members, one.order(groups), DOCUMENTS).utility


def pairwise(one: Judge, budget: int, seed: int) -> np.ndarray:
    """The same with two documents a prompt: QuRating's question, its probabilities fitted by Bradley-Terry."""
    return listwise(one, budget, seed, size=2, anchors=0)


def refined(one: Judge, budget: int, seed: int, size: int = 8) -> np.ndarray:
    """Half of the budget on everything, half on the documents next to the cut."""
    rounds = max(budget * (size - 1) // (2 * (RUBRIC + size * EXCERPT)), 1)
    groups = design(DOCUMENTS, size, rounds, 1, seed)
    answers = one.order(groups)
    first = fit(groups.members, answers, DOCUMENTS).utility
    near = np.argsort(np.abs(first - np.quantile(first, 1 - TOP)), kind="stable")[: DOCUMENTS * 3 // 10]
    left = budget * DOCUMENTS - len(groups) * (RUBRIC + size * EXCERPT)
    more = int(left // (-(-len(near) // (size - 1)) * (RUBRIC + size * EXCERPT)))
    if more < 1:
        return first
    extra = design(DOCUMENTS, size, more, 1, seed, chosen=near, first_round=rounds)
    members = np.concatenate([groups.members, extra.members])
    return fit(members, np.concatenate([answers, one.order(extra)]), DOCUMENTS).utility


WAYS = {"pointwise": pointwise, "pairwise": pairwise, "listwise": listwise, "listwise, refined": refined}


def main() -> None:
    print(f"{DOCUMENTS} documents, {SEEDS} seeds, mean and half of the 95 % interval; rubric {RUBRIC} and", end=" ")
    print(f"excerpts {EXCERPT} tokens. First figure: Spearman's correlation with the truth; second: share of the")
    print(f"judged best {TOP:.0%} that truly are among the best {TOP:.0%}.\n")
    for world in WORLDS:
        print(f"**{world.name}** (mood {world.mood}, crowd {world.crowd}, alone {world.alone},", end=" ")
        print(f"pull of slots {world.pull}, sureness of grades {world.grades})\n")
        print("| tokens per document | " + " | ".join(WAYS) + " |")
        print("|---|" + "---|" * len(WAYS))
        for budget in BUDGETS:
            print(f"| {budget:,} | " + " | ".join(_cell(world, way, budget) for way in WAYS) + " |")
        print()


def _cell(world: World, way: str, budget: int) -> str:
    pairs = []
    for seed in range(SEEDS):
        one = judge(world, seed)
        value = WAYS[way](one, budget, seed)
        best, judged = _best(one.quality), _best(value)
        pairs.append((rank_correlation(one.quality, value), len(best & judged) / len(best)))
    figures = np.array(pairs)
    half = 1.96 * figures.std(axis=0, ddof=1) / np.sqrt(SEEDS)
    return ", ".join(f"{m:.3f} ± {h:.3f}" for m, h in zip(figures.mean(axis=0), half, strict=True))


def _best(values: np.ndarray) -> set[int]:
    return set(np.argsort(-values, kind="stable")[: int(TOP * DOCUMENTS)].tolist())


if __name__ == "__main__":
    main()
