"""A whole run as one YAML file, checked before any work starts.

    workspace: demo-workspace            # optional; -w and TAMIS_WORKSPACE come first
    corpora:
      web: {sources: ["data/*.jsonl.zst"], id: id, held_out: 0.01}
    classifiers:                         # fastText models trained here, usable as `model:` below
      quality: {rows: ["labelled.jsonl"], dim: 16}
    preselect:                           # classifiers made from a panel of language models (pipeline.preselect)
      taught: {corpus: web, panel: panel.yaml}
    labels:                              # classifiers made from a language model's judgement (pipeline.label)
      judged: {corpus: web, judge: judge.yaml}
    scores:
      - {scorer: lengths, tokenizer: tokenizer.json}
      - {scorer: preselect, model: quality}
    repeats:                             # repeated spans: score tables by these aliases (pipeline.repeats)
      repeats: {window: 50}
    units:                               # exact duplicates of documents, paragraphs, lines, sentences, likewise
      units: {}
    near:                                # near-duplicates: score tables by these aliases (pipeline.near)
      near: {keep: preselect_score}
    tokens:                              # which tokens of fine-tuning data carry loss (pipeline.tokens.steps)
      chat: {corpus: chat, earlier: base, later: tuned, selections: {sstoken: {rho: 0.6}}}
    selections:
      best: {by: preselect_score, budget: "10% tokens"}
    exports:
      best: {selection: best, format: hf}

Relative paths are relative to the folder of the config file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.classifier import ClassifierSettings
from pipeline.config_errors import nearest, parsed
from pipeline.errors import UserError
from pipeline.export import ExportSettings
from pipeline.ingest import IngestSettings
from pipeline.label.steps import LabelsSettings
from pipeline.near.settings import NearSettings
from pipeline.preselect.steps import PreselectSettings
from pipeline.repeats.settings import CountSettings, SpanSettings, UnitSettings
from pipeline.score import ScoreSpec
from pipeline.select import SelectSettings
from pipeline.tokens import steps as token_steps
from pipeline.tokens.settings import TokensSettings
from pipeline.workspace import checked_name
from pipeline.yaml_file import placed, read_yaml
from scorers import SCORERS, scorer_module

MADE = ("classifiers", "preselect", "labels", "scores", "repeats", "units", "near", "tokens", "selections", "exports")
SECTIONS = ("workspace", "corpora", *MADE)


@dataclass(frozen=True)
class ConfiguredScore:
    """One entry of `scores`: what to score with, on which corpora (empty: all of the config)."""

    spec: ScoreSpec
    corpora: tuple[str, ...]
    classifier: str | None
    """the entry of `classifiers`, `preselect` or `labels` that is the model, if it is one"""


@dataclass(frozen=True)
class Config:
    """A checked config."""

    path: Path
    workspace: str | None
    corpora: dict[str, IngestSettings]
    classifiers: dict[str, ClassifierSettings]
    preselect: dict[str, PreselectSettings]
    labels: dict[str, LabelsSettings]
    scores: tuple[ConfiguredScore, ...]
    repeats: dict[str, CountSettings]
    """of both sections, `repeats` and `units`"""
    near: dict[str, NearSettings]
    tokens: dict[str, TokensSettings]
    selections: dict[str, SelectSettings]
    exports: dict[str, ExportSettings]


def load(path: str) -> Config:
    """Read and check a config. Raises UserError with one line per mistake, each naming its place."""
    file = Path(path)
    values = read_yaml(path, "config")
    for key in values:
        if key not in SECTIONS:
            raise UserError(f"config {path}: {key}: unknown key{nearest(str(key), SECTIONS)}")
    return _Reader(path, file.absolute().parent).config(file, values)


@dataclass(frozen=True)
class _Reader:
    shown: str
    base: Path

    def config(self, file: Path, values: dict[str, Any]) -> Config:
        corpora = self._named(values, "corpora", IngestSettings, ("sources",))
        classifiers = self._named(values, "classifiers", ClassifierSettings, ("rows",))
        preselect = self._taught(values, "preselect", PreselectSettings, "panel", corpora, classifiers)
        labels = self._taught(values, "labels", LabelsSettings, "judge", corpora, classifiers | preselect)
        scores = self._scores(values.get("scores") or [], corpora, classifiers | preselect | labels)
        repeats = self._repeats(values, corpora, scores)
        near = self._near(values, corpora, scores)
        tokens = self._tokens(values, corpora)
        selections = self._named(values, "selections", SelectSettings, ())
        exports = self._named(values, "exports", ExportSettings, ("out",))
        for name, selection in selections.items():
            self._known(f"selections.{name}.corpora", selection.corpora, corpora)
        for name, export in exports.items():
            self._known(f"exports.{name}.selection", [export.selection] if export.selection else [], selections)
        workspace = values.get("workspace")
        if workspace is not None and not isinstance(workspace, str):
            raise UserError(f"config {self.shown}: workspace: expected a folder or URL, got {workspace!r}")
        return Config(
            file,
            self._path(workspace) if workspace else None,
            corpora,
            classifiers,
            preselect,
            labels,
            scores,
            repeats,
            near,
            tokens,
            selections,
            exports,
        )

    def _tokens(self, values: dict[str, Any], corpora: dict[str, Any]) -> dict[str, TokensSettings]:
        made = self._named(values, "tokens", TokensSettings, ())
        for name, settings in made.items():
            self._known(f"tokens.{name}.corpus", [settings.corpus], corpora)
            where = f"config {self.shown}: tokens.{name}"
            made[name] = token_steps.checked(name, settings, where, self._file, self._path)
        return made

    def _repeats(
        self, values: dict[str, Any], corpora: dict[str, Any], scores: tuple[ConfiguredScore, ...]
    ) -> dict[str, CountSettings]:
        found: dict[str, CountSettings] = {}
        for section, model in (("repeats", SpanSettings), ("units", UnitSettings)):
            for name, one in self._named(values, section, model, ()).items():
                self._known(f"{section}.{name}.corpora", one.corpora, corpora)
                self._known(f"{section}.{name}.against", one.against, corpora)
                if any(entry.spec.alias == name for entry in scores) or name in found:
                    other = "another count" if name in found else "a scorer"
                    raise UserError(f"config {self.shown}: {section}.{name}: {other} has that alias; choose another")
                update: dict[str, Any] = {"corpora": one.corpora or [c for c in corpora if c not in one.against]}
                if one.tokenizer:
                    update["tokenizer"] = self._file(one.tokenizer)
                found[name] = one.model_copy(update=update)
        return found

    def _near(
        self, values: dict[str, Any], corpora: dict[str, Any], scores: tuple[ConfiguredScore, ...]
    ) -> dict[str, NearSettings]:
        made = self._named(values, "near", NearSettings, ())
        for name, settings in made.items():
            self._known(f"near.{name}.corpora", settings.corpora, corpora)
            if any(entry.spec.alias == name for entry in scores):
                raise UserError(f"config {self.shown}: near.{name}: a scorer has that alias; choose another")
        return {n: one.model_copy(update={"corpora": one.corpora or list(corpora)}) for n, one in made.items()}

    def _taught(
        self,
        values: dict[str, Any],
        section: str,
        model: type,
        file: str,
        corpora: dict[str, Any],
        classifiers: dict[str, Any],
    ) -> dict[str, Any]:
        """Entries of `preselect` or `labels`, each with the file of its language models."""
        made = self._named(values, section, model, ())
        for name, settings in made.items():
            self._known(f"{section}.{name}.corpus", [settings.corpus], corpora)
            if name in classifiers:
                raise UserError(f"config {self.shown}: {section}.{name}: a classifier has that name; choose another")
        return {n: one.model_copy(update={file: self._path(getattr(one, file))}) for n, one in made.items()}

    def _named(self, values: dict[str, Any], section: str, model: type, paths: tuple[str, ...]) -> dict[str, Any]:
        entries = values.get(section) or {}
        if not isinstance(entries, dict):
            raise UserError(
                f"config {self.shown}: {section}: expected names with their settings, got a {_kind(entries)}"
            )
        made: dict[str, Any] = {}
        for name, settings in entries.items():
            where = f"config {self.shown}: {section}.{name}"
            if not isinstance(settings or {}, dict):
                raise UserError(f"{where}: expected settings, got {settings!r}")
            settings = dict(settings or {})
            for key in paths:
                if isinstance(settings.get(key), str) and model is not ExportSettings:
                    settings[key] = [settings[key]]
                if isinstance(settings.get(key), list):
                    settings[key] = [self._path(p) if isinstance(p, str) else p for p in settings[key]]
                elif isinstance(settings.get(key), str):
                    settings[key] = self._path(settings[key])
            made[checked_name(str(name), f"{where}: name")] = parsed(model, settings, where)
        return made

    def _scores(
        self, entries: Any, corpora: dict[str, Any], classifiers: dict[str, Any]
    ) -> tuple[ConfiguredScore, ...]:
        if not isinstance(entries, list):
            raise UserError(f"config {self.shown}: scores: expected a list of scorers, got a {_kind(entries)}")
        made: list[ConfiguredScore] = []
        for n, entry in enumerate(entries):
            where = f"config {self.shown}: scores[{n}]"
            entry = {"scorer": entry} if isinstance(entry, str) else entry
            if not isinstance(entry, dict) or "scorer" not in entry:
                raise UserError(f"{where}: expected a scorer, such as {{scorer: lengths}}, got {entry!r}")
            settings = dict(entry)
            scorer, alias = settings.pop("scorer"), settings.pop("alias", None)
            if scorer not in SCORERS:
                raise UserError(f"{where}: unknown scorer {scorer!r}{nearest(str(scorer), SCORERS)}")
            chosen = settings.pop("corpora", [])
            self._known(f"scores[{n}].corpora", chosen, corpora)
            classifier = settings.get("model") if settings.get("model") in classifiers else None
            model = scorer_module(scorer)
            spec_settings = parsed(model.Settings, settings, where)
            files = {f: v for f, v in model.model_files(spec_settings).items() if v != classifier}
            placed = spec_settings.model_copy(update={f: self._file(v) for f, v in files.items()})
            spec = ScoreSpec(scorer, checked_name(str(alias or scorer), f"{where}: alias"), placed)
            if any(other.spec.alias == spec.alias and set(other.corpora) & set(chosen or corpora) for other in made):
                raise UserError(f"{where}: alias {spec.alias!r} is used twice; give one of them another `alias`")
            made.append(ConfiguredScore(spec, tuple(chosen or corpora), classifier))
        return tuple(made)

    def _known(self, where: str, names: list[str], known: dict[str, Any]) -> None:
        if not isinstance(names, list):
            raise UserError(f"config {self.shown}: {where}: expected a list, got {names!r}")
        for name in names:
            if name not in known:
                raise UserError(f"config {self.shown}: {where}: {name!r} is not in this config{nearest(name, known)}")

    def _path(self, value: str) -> str:
        return placed(value, self.base)

    def _file(self, value: str) -> str:
        """A model file: a path beside the config if there is one, else as it stands (a hub name)."""
        placed = self._path(value)
        return placed if Path(placed).exists() or value.startswith(".") else value


def _kind(value: Any) -> str:
    return {"dict": "mapping", "list": "list", "str": "text"}.get(type(value).__name__, type(value).__name__)
