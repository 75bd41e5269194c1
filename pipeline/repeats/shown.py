"""The totals of a count in lines for a person."""

from __future__ import annotations

from typing import Any

from pipeline.repeats.settings import CountSettings, SpanSettings, UnitSettings


def totals(result: dict[str, Any], settings: CountSettings) -> list[str]:
    """Lines about the report that count_repeats returns."""
    if isinstance(settings, UnitSettings):
        return _units(result, settings)
    assert isinstance(settings, SpanSettings)
    unit = "tokens" if settings.tokenizer else "words"
    lines = [
        f"{result['documents']:,} documents, {result['words']:,} {unit}, {result['windows']:,} spans of "
        f"{settings.window} {unit}"
    ]
    if "totals" in result:
        found = result["totals"]
        if found["short"]:
            lines.append(f"{found['short']:,} documents are shorter than a span")
        where = f" in {', '.join(settings.against)}" if settings.against else ""
        for level in settings.levels:
            covered = found[f"words_{level}"]
            share = _share(covered, found["words"])
            lines.append(f"in spans that occur {level:,} times or more{where}: {covered:,} {unit} ({share})")
        if not settings.against:
            share = _share(found["later"], found["words"])
            lines.append(f"second and later copies: {found['later']:,} {unit} ({share})")
        if settings.winnow:
            most = settings.window + settings.winnow - 1
            lines.append(f"winnowed: a lower bound; every repeat of {most} {unit} or more was found")
    for item in result.get("sampled", []):
        share, error = item["share"], item["standard_error"]
        lines.append(f"spans that occur {item['threshold']:,} times or more: {share:.2%} +- {1.96 * error:.2%} (95 %)")
    if settings.against and result["reference_short"]:
        short, every = result["reference_short"], result["reference_documents"]
        lines.append(
            f"{short:,} of {every:,} documents in {', '.join(settings.against)} are shorter than a span and cannot be "
            "found: try a smaller window"
        )
    return [*lines, result["folder"]]


def _units(result: dict[str, Any], settings: UnitSettings) -> list[str]:
    lines = [f"{result['documents']:,} documents, {result['words']:,} words"]
    for kind in settings.kinds:
        found = result["totals"][kind]
        units, repeated, chars = found["units"], found["repeated"], found["repeated_chars"]
        share = f"{_share(repeated, units)} of them, {_share(chars, found['chars'])} of their characters"
        if settings.against:
            lines.append(f"{kind}s: {units:,}, of which {repeated:,} stand in {', '.join(settings.against)} ({share})")
            continue
        lines.append(f"{kind}s: {units:,}, of which {repeated:,} occur more than once ({share})")
        later = f"{_share(found['later'], units)}, {_share(found['later_chars'], found['chars'])} of the characters"
        lines.append(f"  second and later copies: {found['later']:,} ({later})")
    return [*lines, result["folder"]]


def _share(part: int, total: int) -> str:
    return f"{part / total:.2%}" if total else "0 %"
