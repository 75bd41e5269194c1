"""`tamis preselect losses / strength / train / evaluate / weights`: a quality classifier from a panel of models."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import MemoryOption, SchedulerOption, WorkersOption, WorkspaceOption, assigned

app = typer.Typer(help="Make a PreSelect classifier.", no_args_is_help=True)

CorpusOption = Annotated[str, typer.Option("--corpus", help="The corpus that the sample is drawn from.")]
PanelOption = Annotated[str, typer.Option("--panel", help="YAML file of the models and their scores.")]
SampleOption = Annotated[
    list[str] | None,
    typer.Option("--sample", metavar="KEY=VALUE", help="domains, per_domain, domain, sql, seed or shard_rows."),
]
NameOption = Annotated[str, typer.Option("--strength", help="Name of the strengths.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The whole report as JSON.")]


@app.callback()
def _group() -> None:
    pass


@app.command("losses")
def losses(
    corpus: CorpusOption,
    panel: PanelOption,
    sample: SampleOption = None,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
) -> None:
    """Run every model of the panel over a sample of the corpus; resumes per model and shard."""
    from pipeline.config_errors import parsed
    from pipeline.execute import Compute, Pool
    from pipeline.lock import held
    from pipeline.preselect.losses import make_losses
    from pipeline.preselect.matrix import make_pairs
    from pipeline.preselect.panel import read_panel
    from pipeline.preselect.sample import make_sample
    from pipeline.preselect.settings import SampleSettings
    from pipeline.workspace import Workspace, default_url

    checked = read_panel(panel)
    drawn = parsed(SampleSettings, assigned(sample, "--sample"), "sample")
    place = Workspace(workspace or default_url())
    source = place.corpus(corpus)
    offers = {"GPU": 1.0} if checked.device.startswith("cuda") else None
    with held(place.store), Pool(Compute(workers, scheduler, memory, offers), place) as pool:
        found = make_sample(source, drawn, pool)
        stages = make_losses(found, checked, pool)
        make_pairs(found, checked, stages, pool)
    typer.echo(f"sample: {found.folder}", err=True)
    for name, stage in stages.items():
        typer.echo(f"{name}: {stage.folder}", err=True)


@app.command("strength")
def strength(
    corpus: CorpusOption,
    panel: PanelOption,
    sample: SampleOption = None,
    name: Annotated[str, typer.Option(help="What the strengths are called.")] = "strength",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, such as ties=half or kappa=50."),
    ] = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Predictive strength of the sample's documents, by every estimator, and a report on how far to trust it."""
    import orjson

    from pipeline.config_errors import parsed
    from pipeline.errors import UserError
    from pipeline.lock import held
    from pipeline.preselect.losses import losses_stages
    from pipeline.preselect.panel import read_panel
    from pipeline.preselect.report import shown
    from pipeline.preselect.sample import find_sample
    from pipeline.preselect.settings import SampleSettings, StrengthSettings
    from pipeline.preselect.strength import REPORT, make_strength
    from pipeline.workspace import Workspace, default_url

    checked = read_panel(panel)
    drawn = parsed(SampleSettings, assigned(sample, "--sample"), "sample")
    chosen = parsed(StrengthSettings, assigned(settings, "--set"), "strength")
    place = Workspace(workspace or default_url())
    with held(place.store):
        found = find_sample(place.corpus(corpus), drawn)
        if found is None:
            raise UserError("this sample is not drawn yet; `tamis preselect losses` with the same --sample draws it")
        stages = {key: stage for key, (stage, _) in losses_stages(found, checked).items()}
        stage = make_strength(found, checked, stages, chosen, name)
    report = place.store.read_bytes(f"{stage.folder}/{REPORT}")
    typer.echo(report.decode() if as_json else shown(orjson.loads(report)))
    typer.echo(f"strengths: {stage.folder}", err=True)


@app.command("train")
def train(
    rows: Annotated[list[str] | None, typer.Argument(help="Labelled JSONL files (plain, .gz or .zst).")] = None,
    out: Annotated[str | None, typer.Option("--out", "-o", help="Where the model goes (.bin).")] = None,
    text: Annotated[str, typer.Option(help="Key of the text.")] = "text",
    label: Annotated[str, typer.Option(help="Key of the label; the positive one is usually 1.")] = "label",
    from_strength: Annotated[
        str | None, typer.Option("--strength", help="Instead of rows: strengths by name; needs --corpus.")
    ] = None,
    corpus: Annotated[str | None, typer.Option("--corpus", help="The corpus of the strengths.")] = None,
    name: Annotated[str, typer.Option(help="What a classifier from strengths is called.")] = "preselect",
    labels: Annotated[
        list[str] | None,
        typer.Option("--labels", metavar="KEY=VALUE", help="by, rule, positive, negative, per_domain, held_out, ..."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A training setting, such as dim=16 or epoch=3."),
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Train a fastText classifier; the same rows and settings give the same file, byte for byte."""
    from pipeline.errors import UserError

    values = assigned(settings, "--set")
    if from_strength is None:
        if not rows or out is None:
            raise UserError("give labelled ROWS and --out MODEL.bin, or --strength NAME with --corpus")
        if labels or corpus:
            raise UserError("--labels and --corpus go with --strength: labelled rows have their labels")
        from pipeline.classifier import ClassifierSettings, train_file
        from pipeline.config_errors import parsed

        checked = parsed(ClassifierSettings, {"rows": rows, "text": text, "label": label} | values, "preselect train")
        typer.echo(f"{out}: trained on {train_file(checked, out):,} rows", err=True)
        return
    if rows:
        raise UserError("give labelled ROWS or --strength, not both")
    if corpus is None:
        raise UserError("--strength needs --corpus, the corpus that the strengths are of")
    _train_from_strength(from_strength, corpus, name, assigned(labels, "--labels"), values, out, workspace)


def _train_from_strength(
    strengths: str,
    corpus: str,
    name: str,
    labels: dict[str, Any],
    settings: dict[str, Any],
    out: str | None,
    workspace: str | None,
) -> None:
    import os

    from pipeline.classifier import MODEL
    from pipeline.config_errors import parsed
    from pipeline.lock import held
    from pipeline.preselect.find import find_strength
    from pipeline.preselect.settings import LabelSettings
    from pipeline.preselect.train import make_classifier
    from pipeline.storage import Store
    from pipeline.workspace import Workspace, default_url
    from scorers.fasttext.train import TrainSettings

    rule = parsed(LabelSettings, labels, "labels")
    checked = parsed(TrainSettings, settings, "preselect train")
    place = Workspace(workspace or default_url())
    with held(place.store):
        sample, folder, _ = find_strength(place, corpus, strengths)
        stage = make_classifier(sample, folder, rule, checked, name)
    made = f"{stage.folder}/{MODEL}"
    if out is not None:
        target, base = os.path.split(os.path.abspath(out))
        Store(target).write_bytes(base, place.store.read_bytes(made))
    typer.echo(place.store.shown(made))


@app.command("evaluate")
def evaluate(
    name: Annotated[str, typer.Argument(help="A classifier trained from strengths.")] = "preselect",
    model: Annotated[
        str | None, typer.Option(help="Judge another fastText file on the same held-out domains: path or hf://.")
    ] = None,
    label: Annotated[str, typer.Option(help="The positive label.")] = "1",
    newline: Annotated[str, typer.Option(help='What newlines become: " ", or "" as in datatrove.')] = " ",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """How the classifier does on domains that it was not trained on."""
    import orjson

    from pipeline import models
    from pipeline.classifier import MODEL
    from pipeline.errors import UserError
    from pipeline.preselect.evaluate import evaluate as judged
    from pipeline.preselect.evaluate import shown
    from pipeline.preselect.find import find_classifier
    from pipeline.preselect.train import LABELS
    from pipeline.shards import read_narrow
    from pipeline.workspace import Workspace, default_url

    if newline not in (" ", ""):
        raise UserError(f"--newline {newline!r}: expected ' ' or ''")
    place = Workspace(workspace or default_url())
    sample, folder, _ = find_classifier(place, name)
    file = models.local_file(model or place.store.address(f"{folder}/{MODEL}"), "model")
    values = judged(sample, read_narrow(place.store, f"{folder}/{LABELS}"), str(file), label, newline)
    data = orjson.dumps(values, option=orjson.OPT_INDENT_2)
    if model is None:
        place.store.write_bytes(f"{folder}/evaluation.json", data)
    typer.echo(data.decode() if as_json else shown(values))


@app.command("weights")
def weights(
    corpus: CorpusOption,
    by: Annotated[str, typer.Option(help="A strength, or with --scored a column of `scored`.")] = "preselect",
    keep: Annotated[float, typer.Option(help="Share of all tokens that the budget is.")] = 0.1,
    strength: NameOption = "strength",
    scored: Annotated[bool, typer.Option("--scored", help="From scores of the whole corpus, not the sample.")] = False,
    domain: Annotated[str | None, typer.Option(help="With --scored: column or SQL of the domain.")] = None,
    format: Annotated[str, typer.Option(help="table, csv, json or parquet.")] = "table",
    out: Annotated[str | None, typer.Option("--out", "-o", help="A file instead of stdout.")] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Sampling weights per domain: linear and l2 projections of the estimates, capped by the domains' tokens."""
    from typing import cast

    from pipeline.output import Format, write
    from pipeline.preselect.find import find_strength
    from pipeline.preselect.strength import read_strength
    from pipeline.preselect.weights import corpus_weights, domain_weights
    from pipeline.workspace import Workspace, default_url

    place = Workspace(workspace or default_url())
    if scored:
        table = corpus_weights(place.corpus(corpus), by, keep, domain)
    else:
        sample, folder, _ = find_strength(place, corpus, strength)
        table = domain_weights(read_strength(sample, folder), by, keep)
    write(table.schema, table.to_batches(), cast(Format, format), out)
