"""`tamis label`: labels from a language model as judge."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import SchedulerOption, WorkspaceOption, assigned


def label(
    corpus: Annotated[str, typer.Option("--corpus", help="The corpus that the sample is drawn from.")],
    judge: Annotated[str, typer.Option("--judge", help="YAML file: the rubric, the judges, how they are asked.")],
    name: Annotated[str, typer.Option(help="What the labels are called.")] = "judge",
    sample: Annotated[
        list[str] | None,
        typer.Option("--sample", metavar="KEY=VALUE", help="domains, per_domain, domain, sql, seed or shard_rows."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the judge file, such as rounds=2."),
    ] = None,
    price: Annotated[bool, typer.Option("--price", help="Only say what it would cost; start nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The evidence as JSON.")] = False,
    workspace: WorkspaceOption = None,
    scheduler: SchedulerOption = None,
) -> None:
    """Let a language model judge a sample of a corpus; `tamis preselect train --strength NAME` learns from it."""
    import orjson

    from pipeline.config_errors import parsed
    from pipeline.execute import Compute, Pool
    from pipeline.label.cost import shown as priced
    from pipeline.label.label import EVIDENCE, make_labels
    from pipeline.label.look import shown
    from pipeline.label.steps import expected_cost, judge_compute, read_judge
    from pipeline.lock import held
    from pipeline.preselect.sample import make_sample
    from pipeline.preselect.settings import SampleSettings
    from pipeline.workspace import Workspace, default_url

    drawn: Any = parsed(SampleSettings, assigned(sample, "--sample"), "sample")
    checked = read_judge(judge, settings or [])
    place = Workspace(workspace or default_url())
    source = place.corpus(corpus)
    line = priced(*expected_cost(place, corpus, drawn, checked))
    if price:
        typer.echo(line)
        return
    typer.echo(f"label {corpus}: at most {line}", err=True)
    with held(place.store):
        with Pool(Compute(1, scheduler), place) as pool:
            found = make_sample(source, drawn, pool)
        with Pool(judge_compute(checked, Compute(None, scheduler)), place) as pool:
            stage = make_labels(found, checked, pool, name)
    report = place.store.read_bytes(f"{stage.folder}/{EVIDENCE}")
    typer.echo(report.decode() if as_json else shown(found, stage.folder, orjson.loads(report)))
    typer.echo(f"labels: {place.store.shown(stage.folder)}", err=True)
    typer.echo(
        f"next: tamis preselect train --strength {name} --corpus {corpus} --labels by=judge --labels rule=quantile",
        err=True,
    )
