"""`tamis ghosts`: identifiers in texts, for those who put them there and those who find them. Here: draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli import ghosts_corpus

if TYPE_CHECKING:
    from pipeline.ghosts.draw import Committed
    from pipeline.ghosts.registry import Registry

app = typer.Typer(help="Ghost sentences: draw identifiers, put them into texts, find them.", no_args_is_help=True)

RegistryArgument = Annotated[str, typer.Argument(metavar="REGISTRY", help="The registry, a .parquet file.")]


@app.callback()
def _group() -> None:
    pass


@app.command("draw")
def draw(
    registry: RegistryArgument,
    commit: Annotated[bool, typer.Option("--commit", help="First step: fix everything, print the commitment.")] = False,
    beacon: Annotated[str | None, typer.Option(help="Second step: the public beacon's value.")] = None,
    no_beacon: Annotated[
        bool, typer.Option("--no-beacon", help="Both steps at once; proves nothing to others.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check a registry against its commitment.")] = False,
    secret: Annotated[str | None, typer.Option(help="With --verify: the secret file [beside the registry].")] = None,
    owner: Annotated[list[str] | None, typer.Option(help="Whose identifiers; may be given several times.")] = None,
    owners: Annotated[str | None, typer.Option(help="A file of owners, one a line.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Identifiers of each owner [10].")] = None,
    reserve: Annotated[int | None, typer.Option(min=0, help="Further ones that are never inserted [0].")] = None,
    words: Annotated[str | None, typer.Option(help="eff-large, or a file, a word a line [eff-large].")] = None,
    length: Annotated[int | None, typer.Option(min=2, max=64, help="Words of a phrase [12].")] = None,
    replacement: Annotated[bool, typer.Option("--replacement", help="A word may come twice in a phrase.")] = False,
    carrier: Annotated[
        list[str] | None, typer.Option(help="Sentence with {phrase}; several: each identifier gets one of them.")
    ] = None,
    element: Annotated[str | None, typer.Option(help="Text that follows, or stands at {element}.")] = None,
    casing: Annotated[str | None, typer.Option(help="lower, capital, title or upper [lower].")] = None,
    statistic: Annotated[
        str | None, typer.Option(help="Primary statistic: mean_nll, sum_nll, centred_nll or ratio_nll [mean_nll].")
    ] = None,
    null: Annotated[str | None, typer.Option(help="Its null: generator or permutation [generator].")] = None,
    unit: Annotated[str | None, typer.Option(help="What a test is of: identifier, owner or registry.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Significance of the test [0.05].")] = None,
    correction: Annotated[str | None, typer.Option(help="Over the registry: none, holm, bh or by [holm].")] = None,
    m: Annotated[int | None, typer.Option(min=1, help="Null draws of each identifier [what is needed].")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Stream of the null draws [0].")] = None,
    last_k: Annotated[int | None, typer.Option(min=1, help="Words of the last-k-words test [2].")] = None,
    reference: Annotated[str | None, typer.Option(help="Reference model of ratio_nll.")] = None,
    beacon_source: Annotated[str | None, typer.Option(help="With --commit: which beacon, which round.")] = None,
) -> None:
    """Draw identifiers: --commit fixes generator and test, --beacon draws; or both at once with --no-beacon."""
    from pathlib import Path

    from pipeline.config_errors import parsed
    from pipeline.errors import UserError
    from pipeline.ghosts import draw as drawing

    steps = {"--commit": commit, "--beacon": beacon is not None, "--no-beacon": no_beacon, "--verify": verify}
    if sum(steps.values()) != 1:
        raise UserError("expected one of --commit, --beacon VALUE, --no-beacon or --verify")
    given = {
        "owners": (owner or []) + _owners(owners) or None,
        "count": count,
        "reserve": reserve,
        "words": words,
        "length": length,
        "replacement": replacement or None,
        "carriers": carrier,
        "element": element,
        "casing": casing,
        "statistic": statistic,
        "null": null,
        "unit": unit,
        "alpha": alpha,
        "correction": correction,
        "m": m,
        "seed": seed,
        "last_k": last_k,
        "reference": reference,
        "beacon_source": beacon_source,
    }
    chosen = {key: value for key, value in given.items() if value is not None}
    if (beacon is not None or verify) and chosen:
        odd = sorted(chosen)[0].replace("_", "-")
        raise UserError(f"--{odd} was fixed by --commit and cannot be given now")
    if secret is not None and not verify:
        raise UserError("--secret goes with --verify")
    if verify:
        found = drawing.verify(registry, secret)
        typer.echo(f"{registry}: {len(found.identifiers)} identifiers, drawn as committed in {found.commitment}")
        if not found.beacon:
            typer.echo("drawn without a beacon: the owner may have drawn until the phrases pleased", err=True)
        return
    if commit or no_beacon:
        settings = parsed(drawing.DrawSettings, chosen, "ghosts draw")
        committed = drawing.commit(registry, settings)
        typer.echo(_promised(committed))
        typer.echo(
            f"secret: {Path(drawing.secret_path(registry))} (keep it; show it to nobody before a test)", err=True
        )
        if commit:
            typer.echo(
                f"publish or timestamp the commitment, then: tamis ghosts draw {registry} --beacon VALUE", err=True
            )
            return
    typer.echo(_drawn(drawing.draw(registry, drawing.NO_BEACON if no_beacon else beacon or "")))


@app.command("plan")
def plan(
    power: Annotated[float | None, typer.Option(help="Wanted power [0.9].")] = None,
    alpha: Annotated[float | None, typer.Option(help="Wanted significance [0.001].")] = None,
    owners: Annotated[int | None, typer.Option(min=1, help="Owners of the registry [1].")] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Identifiers of each owner [what the best row needs].")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="What a test is of: identifier, owner or registry [owner].")] = None,
    correction: Annotated[str | None, typer.Option(help="Over the registry: none, holm, bh or by [holm].")] = None,
    m: Annotated[int | None, typer.Option(min=1, help="Null draws of each identifier [what is needed].")] = None,
    curve: Annotated[str | None, typer.Option(help="Published curve; `list` names them.")] = None,
    calibration: Annotated[str | None, typer.Option(help="CSV or Parquet of repetitions and auc instead.")] = None,
) -> None:
    """Identifiers, repetitions and null draws for a wanted power and significance."""
    from pipeline.config_errors import parsed
    from pipeline.ghosts.plan import PlanSettings, shown
    from pipeline.ghosts.plan import plan as planned
    from scorers.ghosts.power import CURVES

    if curve == "list":
        typer.echo("\n".join(CURVES))
        return
    given = {
        "power": power,
        "alpha": alpha,
        "owners": owners,
        "count": count,
        "unit": unit,
        "correction": correction,
        "m": m,
        "curve": curve,
        "calibration": calibration,
    }
    settings = parsed(PlanSettings, {k: v for k, v in given.items() if v is not None}, "ghosts plan")
    typer.echo(shown(planned(settings)))


def _owners(file: str | None) -> list[str]:
    """Owners of a file, one a line."""
    from pathlib import Path

    from pipeline.errors import UserError

    if file is None:
        return []
    try:
        lines = Path(file).expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--owners {file}: expected a text file, one owner a line ({error})") from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise UserError(f"--owners {file}: no owner in it; expected one a line")
    return found


def _promised(committed: Committed) -> str:
    from scorers.ghosts.planning import collision_odds, required_draws

    terms, plan, generator = committed.terms, committed.plan, committed.generator
    owners, each = len(terms["owners"]), terms["count"] + terms["reserve"]
    bits = generator.bits(committed.words)
    needed = required_draws(committed.tests, plan.alpha, plan.correction)
    lines = [
        f"commitment   {committed.commitment}",
        f"identifiers  {owners * each:,}: {owners:,} owners, {terms['count']} each and {terms['reserve']} in reserve",
        f"phrase       {generator.length} of {len(committed.words):,} words, {bits:.1f} bits; "
        f"two alike: {collision_odds(bits, owners * each):.1g} here, {collision_odds(bits, 10**9):.1g} in a billion",
        f"test         {plan.statistic} against {plan.m:,} draws of the {plan.null} (at least {needed:,}); "
        f"{committed.tests:,} tests, one per {plan.unit}, alpha {plan.alpha:g}, correction {plan.correction}",
    ]
    return "\n".join(lines)


def _drawn(registry: Registry) -> str:
    active = len(registry.active)
    return f"registry     {registry.path}: {active:,} identifiers to insert, {len(registry.reserves):,} in reserve"


app.command("insert")(ghosts_corpus.insert)
app.command("find")(ghosts_corpus.find)
app.command("strip")(ghosts_corpus.strip)
app.command("survive")(ghosts_corpus.survive)
app.command("windows")(ghosts_corpus.windows)
