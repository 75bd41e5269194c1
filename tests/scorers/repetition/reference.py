"""The metrics in plain Python, straight from their definitions: the reference of the kernels' tests."""

from collections import Counter

Span = tuple[str, int, int]  # a word and where it lies in the text


def ngram_metrics(words: list[str], n: int) -> dict[str, float] | None:
    if len(words) < n:
        return None
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(grams)
    total = sum(map(len, words))

    def share(starts: list[int]) -> float:
        covered = {i + k for i in starts for k in range(n)}
        return sum(len(words[i]) for i in covered) / total

    first = {gram: i for i, gram in reversed(list(enumerate(grams)))}
    top = max(counts, key=lambda gram: (counts[gram], sum(map(len, gram)), -first[gram]))
    return {
        "cover": share([i for i, gram in enumerate(grams) if counts[gram] > 1]),
        "cover_later": share([i for i, gram in enumerate(grams) if first[gram] != i]),
        "top_cover": share([i for i, gram in enumerate(grams) if gram == top]) if counts[top] > 1 else 0.0,
        "excess": 1 - len(counts) / len(grams),
    }


def unit_metrics(units: list[str]) -> dict[str, float] | None:
    if not units:
        return None
    keys = [" ".join(unit.split()) for unit in units]
    counts = Counter(keys)
    later = [unit for i, unit in enumerate(units) if keys[i] in keys[:i]]
    repeated = [unit for unit, key in zip(units, keys, strict=True) if counts[key] > 1]
    total = sum(map(len, units))
    return {
        "excess": len(later) / len(units),
        "mass": len(repeated) / len(units),
        "excess_chars": sum(map(len, later)) / total,
        "mass_chars": sum(map(len, repeated)) / total,
    }


def longest_run(units: list[str]) -> tuple[int, int]:
    """How many units equal the one before, and the most equal units in a row."""
    keys = [" ".join(unit.split()) for unit in units]
    again = run = 0
    longest = min(len(keys), 1)
    for i, key in enumerate(keys):
        run = run + 1 if i and key == keys[i - 1] else 1
        again += run > 1
        longest = max(longest, run)
    return again, longest


def loop(words: list[str]) -> tuple[int | None, int, float | None]:
    """(period, copies, share) by trying every stretch and period."""
    if not words:
        return None, 0, None
    best = (0, 0, 0, 1)
    for period in range(1, 14):
        for start in range(len(words)):
            stop = start + period
            while stop < len(words) and words[stop] == words[stop - period]:
                stop += 1
            if stop - start >= 2 * period:
                size = sum(map(len, words[start:stop]))
                best = max(best, (size, -period, -start, (stop - start) // period))
    size, period, _, copies = best
    return -period or None, copies, size / sum(map(len, words))
