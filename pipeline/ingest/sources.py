"""Which files the user means, and a cheap fingerprint of each.

Names are relative to the common parent of the given places (the folder itself, the folder of a file, the part of a
glob before its first wildcard), so that the same input in another folder is the same input. Files are ordered by name.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import fsspec

from pipeline.errors import UserError
from pipeline.ingest.read import COMPRESSIONS, is_local
from pipeline.ingest.settings import IngestSettings
from pipeline.patience import patiently
from pipeline.redact import without_addresses

ENDINGS = {
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".tsv"),
    "text": (".txt", ".text", ".md", ".rst"),
}
SAVED = ("state.json", "dataset_dict.json")
"""Files that tell a folder made by `save_to_disk`."""
HUB = "hf://datasets/"
PROBE = 64 << 10
"""Bytes read at the start, the middle and the end of a file for its fingerprint."""
THREADS = 32


@dataclass(frozen=True)
class Dataset:
    """A Hugging Face dataset: a folder of `save_to_disk`, or what `load_dataset` takes."""

    location: str
    saved: bool
    config: str | None = None
    split: str | None = None


class Changed(ValueError):
    """A file that is no longer what it was when the run began."""


@dataclass(frozen=True)
class InputFile:
    """One file (or dataset) of the input. `path` is its name: relative, and part of ids. `stamp` tells a change."""

    path: str
    url: str
    size: int = 0
    stamp: str = ""
    dataset: Dataset | None = None

    def check(self) -> None:
        """Raises Changed if the file is no longer what it was when the run began."""
        if self.dataset is not None:
            return
        fs, path = fsspec.core.url_to_fs(self.url)
        fs.invalidate_cache()
        try:
            now = fs.info(path)
        except FileNotFoundError:
            raise Changed(f"{self.url} was removed while it was read; put it back and run the same again") from None
        if (now["size"], _stamp(now)) != (self.size, self.stamp):
            raise Changed(f"{self.url} was changed while it was read; run the same ingest again when it is at rest")


@dataclass(frozen=True)
class Input:
    """All of the input. `base`: the place that names are relative to."""

    format: str
    base: str
    files: list[InputFile]


def discover(settings: IngestSettings) -> Input:
    """Find the files. Raises UserError if there are none, or if they are not of one format."""
    if not any("://" in source for source in settings.sources):
        return _discovered(settings)
    return patiently(lambda: _discovered(settings), ", ".join(map(without_addresses, settings.sources[:3])))


def _discovered(settings: IngestSettings) -> Input:
    files: dict[str, InputFile] = {}
    bases: list[str] = []
    datasets: list[tuple[str, Dataset]] = []
    for source in settings.sources:
        dataset = _dataset(source, settings)
        if dataset is not None:
            datasets.append((source, dataset))
            continue
        base, found = _files(source, settings.format)
        bases.append(without_addresses(base))
        files |= {file.url: file for file in found}
    if datasets and files:
        raise UserError("sources: datasets and files cannot make one corpus; ingest them one by one")
    if datasets:
        return _named_datasets(datasets)
    form = settings.format if settings.format != "auto" else _format(files)
    base = _common(bases)
    named = [InputFile(_relative(without_addresses(f.url), base), f.url, f.size, f.stamp) for f in files.values()]
    return Input(form, base, _distinct(named))


def _distinct(files: list[InputFile]) -> list[InputFile]:
    """By name, each once: addresses that differ in their query alone have one name, which a hash of it then tells."""
    counts = Counter(map(_path, files))
    return sorted(
        (
            replace(f, path=f"{f.path}-{hashlib.sha256(f.url.encode()).hexdigest()[:8]}") if counts[f.path] > 1 else f
            for f in files
        ),
        key=_path,
    )


def fingerprints(files: list[InputFile], known: Mapping[str, list[Any]]) -> dict[str, str]:
    """{name: size and blake2b of start, middle and end}. `known` {name: [size, stamp, fingerprint]} saves reading.

    Raises Changed for a file that is another by now: its fingerprint would be kept beside the stamp of the old one, and
    be believed once the old one is back.
    """

    def printed(file: InputFile) -> str:
        made = _print(file.url, file.size)
        if file.stamp:
            file.check()
        return made

    def one(file: InputFile) -> str:
        kept = known.get(file.path)
        if kept is not None and kept[:2] == [file.size, file.stamp] and file.stamp:
            return kept[2]
        if file.dataset is not None:
            return _dataset_print(file.dataset)
        if "://" not in file.url:
            return printed(file)
        return patiently(lambda: printed(file), without_addresses(file.url))

    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(map(_path, files), pool.map(one, files), strict=True))


def _path(file: InputFile) -> str:
    return file.path


def _dataset(source: str, settings: IngestSettings) -> Dataset | None:
    config, split = settings.hf_config, settings.hf_split
    if source.startswith(HUB) and source.rstrip("/").count("/") == 4 and settings.format in ("auto", "hf"):
        return Dataset(source[len(HUB) :].rstrip("/"), False, config, split)
    if settings.format not in ("auto", "hf"):
        return None
    fs, path = fsspec.core.url_to_fs(source)
    # Behind a query everything belongs to the query: such an address is a file, whatever is appended to it.
    is_place = not any(c in path for c in "*?[")
    if is_place and any(fs.exists(f"{path.rstrip('/')}/{name}") for name in SAVED):
        return Dataset(_url(fs, path.rstrip("/")), True, config, split)
    if settings.format == "hf":
        if is_local(fs) and os.path.isdir(path):
            return Dataset(path, False, config, split)
        if source.count("/") <= 1 and "://" not in source:
            return Dataset(source, False, config, split)
        raise UserError(
            f"source {source!r}: expected a folder made by save_to_disk, or a dataset of the hub as org/name"
        )
    return None


def _named_datasets(datasets: list[tuple[str, Dataset]]) -> Input:
    places = [d.location for _, d in datasets if os.path.isabs(d.location) or "://" in d.location]
    # A single folder is its own base, as with files; several are told apart by what differs.
    base = _common(places) if places else ""
    files = []
    for _, dataset in datasets:
        name = _relative(dataset.location, base) if dataset.location in places else dataset.location
        files.append(InputFile(name, dataset.location, dataset=dataset))
    if len({file.path for file in files}) < len(files):
        raise UserError("sources: a dataset is named twice")
    return Input("hf", base, sorted(files, key=_path))


def _files(source: str, form: str) -> tuple[str, list[InputFile]]:
    """(base, files) of one source."""
    fs, path = fsspec.core.url_to_fs(source)
    fs.invalidate_cache()
    if any(c in path for c in "*?["):
        hits = fs.glob(path, detail=True)
        head = path[: min(path.index(c) for c in "*?[" if c in path)]
        base = head.rpartition("/")[0]
        infos = {name: info for name, info in hits.items() if info["type"] == "file"}
        for name, info in hits.items():
            if info["type"] == "directory":
                infos |= _below(fs, name, form)
    else:
        try:
            info = fs.info(path)
        except FileNotFoundError:
            hint = " (a dataset of the hub is written hf://datasets/org/name)" if source.count("/") == 1 else ""
            raise UserError(f"source {source!r}: no such file or folder{hint}") from None
        if info["type"] == "directory":
            base, infos = path.rstrip("/"), _below(fs, path, form)
        else:
            base, infos = path.rpartition("/")[0], {path: info}
    if not infos:
        raise UserError(f"source {source!r}: no file matches; expected files ending in {_endings(form)}")
    return _url(fs, base), [InputFile("", _url(fs, name), info["size"], _stamp(info)) for name, info in infos.items()]


def _below(fs: Any, folder: str, form: str) -> dict[str, Any]:
    """Files of a folder and those below it that are data by their names."""
    found = fs.find(folder, detail=True)
    start = len(folder.rstrip("/")) + 1
    seen = {n: i for n, i in found.items() if not any(p.startswith((".", "_")) for p in n[start:].split("/"))}
    forms = ENDINGS if form == "auto" else {form: ENDINGS[form]}
    # An unknown ending is no reason to refuse a format that the user has named.
    return {n: i for n, i in seen.items() if _form_of(n) in forms} or ({} if form == "auto" else seen)


def _form_of(name: str) -> str | None:
    name = without_addresses(name).lower()
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    return next((form for form, endings in ENDINGS.items() if name.endswith(endings)), None)


def _endings(form: str) -> str:
    forms = ENDINGS if form == "auto" else {form: ENDINGS.get(form, ())}
    return ", ".join(ending for endings in forms.values() for ending in endings) + " (also .gz, .zst)"


def _format(files: Iterable[str]) -> str:
    counts = Counter(_form_of(url) for url in files)
    if len(counts) == 1 and None not in counts:
        return str(next(iter(counts)))
    if None in counts:
        odd = next(url for url in files if _form_of(url) is None)
        raise UserError(f"{odd}: the name does not tell the format; say --format (jsonl, parquet, csv or text)")
    shown = ", ".join(f"{count} {form}" for form, count in counts.most_common())
    raise UserError(f"sources hold files of several formats ({shown}); choose one with --format or with a glob")


def _common(bases: list[str]) -> str:
    """The common parent of places; empty if they have none."""
    roots = {base.partition("://")[0] if "://" in base else "" for base in bases}
    if len(roots) > 1:
        return ""
    shared = []
    for parts in zip(*(base.split("/") for base in bases), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared)


def _relative(url: str, base: str) -> str:
    return url[len(base) :].lstrip("/") if base else url.lstrip("/")


def _url(fs: Any, path: str) -> str:
    return path if is_local(fs) else fs.unstrip_protocol(path)


def _stamp(info: Mapping[str, Any]) -> str:
    for key in ("ETag", "etag", "mtime", "last_modified", "LastModified", "updated", "created"):
        if value := info.get(key):
            # Some filesystems give a date in one call and its seconds in another.
            return str(value.timestamp() if isinstance(value, datetime) else value)
    return ""


def _print(url: str, size: int) -> str:
    fs, path = fsspec.core.url_to_fs(url)
    starts = [0, (size - PROBE) // 2, size - PROBE] if size > 3 * PROBE else [0]
    length = PROBE if size > 3 * PROBE else size
    state = hashlib.blake2b(digest_size=16)
    try:
        if is_local(fs):
            with open(path, "rb") as file:
                for start in starts:
                    file.seek(start)
                    state.update(file.read(length))
        elif size:
            for start in starts:
                state.update(fs.cat_file(path, start=start, end=start + length))
    except PermissionError:
        return f"{size} unreadable"  # its shard will fail, alone
    return f"{size} {state.hexdigest()}"


def _dataset_print(dataset: Dataset) -> str:
    """Of a folder: the fingerprints of its data files. Of the hub: what `datasets` names its own cache by."""
    fs, path = fsspec.core.url_to_fs(dataset.location)
    if dataset.saved or (is_local(fs) and os.path.isdir(path)):
        infos = fs.find(path, detail=True)
        # state.json and dataset_info.json hold names of caches and times: not data.
        data = {n: i for n, i in infos.items() if n.endswith(".arrow") or not dataset.saved}
        lines = [f"{n[len(path) :]} {_print(_url(fs, n), i['size'])}" for n, i in sorted(data.items())]
        return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()
    from datasets import load_dataset_builder

    try:
        builder = load_dataset_builder(dataset.location, dataset.config)
    except (OSError, ValueError) as error:  # not found, unreachable, or a configuration must be named
        raise UserError(f"dataset {dataset.location!r}: {' '.join(str(error).split())[:500]}") from None
    return f"{builder.config.name} {builder.hash}"
