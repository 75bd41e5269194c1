"""Model files: where they come from and which content they have.

A setting that names a file may be a local path, an `hf://owner/repository/file` on the Hugging Face hub, or any other
fsspec URL. What a stage hashes is the content, never the place: the same model elsewhere makes nothing stale.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import orjson

from pipeline.errors import StoreDown, UserError
from pipeline.patience import of_the_network, patiently
from pipeline.redact import without_addresses
from scorers.cache import cache_folder

DIGESTED = ("tokenizer.json",)
"""Files of a model folder that decide what it does here."""


def local_file(value: str, what: str) -> Path:
    """The local path of a model file or folder, fetched if it is remote. Raises UserError if it cannot be had."""
    if "://" not in value:
        path = Path(value).expanduser()
        if path.exists():
            return path.absolute()
        if what == "tokenizer" and value.count("/") <= 1 and not value.endswith(".json"):
            return _from_hub(value, "tokenizer.json", what)
        raise UserError(
            f"{what}: no file {value!r} (working in {os.getcwd()}); expected a path, hf://owner/repo/file or a URL"
        )
    if value.startswith("hf://"):
        parts = value.removeprefix("hf://").split("/")
        if len(parts) < 3 or parts[0] in ("datasets", "spaces"):
            raise UserError(f"{what}: {value!r} does not name a model file; expected hf://owner/repository/file")
        return _from_hub("/".join(parts[:2]), "/".join(parts[2:]), what)
    return _download(value, what)


def _from_hub(repository: str, file: str, what: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, file))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{what}: {file} of {repository} is neither a local path nor on the hub: {reason}") from None


def _download(url: str, what: str) -> Path:
    import fsspec

    folder = cache_folder() / "models"
    folder.mkdir(parents=True, exist_ok=True)

    def fetched() -> Path:
        fs, remote = fsspec.core.url_to_fs(url)
        facts = fs.info(remote)
        mark = hashlib.sha256(
            repr((url, facts.get("size"), facts.get("ETag"), facts.get("mtime"))).encode()
        ).hexdigest()
        target = folder / f"{mark[:16]}-{Path(without_addresses(remote)).name}"
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=folder) as work:
                fs.get_file(remote, f"{work}/model")
                os.replace(f"{work}/model", target)
        return target

    try:
        return patiently(fetched, f"{what}: {without_addresses(url)}")
    except (StoreDown, UserError):
        raise
    except Exception as error:
        if not isinstance(error, (OSError, ImportError, ValueError)) and not of_the_network(error):
            raise
        gone = isinstance(
            error, FileNotFoundError
        )  # whose text is the address again, and which fsspec says of dead hosts
        reason = "no such file, or nobody answers there" if gone else " ".join(str(error).split())[:200]
        raise UserError(f"{what}: cannot read {without_addresses(url)}: {reason}") from None


def content_hash(path: Path) -> str:
    """sha256 of a file, or of the files of a folder that count, in hex. Remembered by path, size and time of change."""
    if path.is_dir():
        inner = [path / name for name in DIGESTED if (path / name).exists()]
        if not inner:
            raise UserError(f"{path} is a folder without {' or '.join(DIGESTED)}; expected a model file or its folder")
        return hashlib.sha256("".join(content_hash(file) for file in inner).encode()).hexdigest()
    facts = path.stat()
    key = f"{path.resolve()}|{facts.st_size}|{facts.st_mtime_ns}"
    known = cache_folder() / "digests.json"
    digests: dict[str, str] = {}
    with contextlib.suppress(OSError, orjson.JSONDecodeError):
        digests = orjson.loads(known.read_bytes())
    if key not in digests:
        with path.open("rb") as file:
            digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        with contextlib.suppress(OSError):  # an unwritable home costs time, nothing else
            known.parent.mkdir(parents=True, exist_ok=True)
            temporary = known.with_name(f".{known.name}-{os.getpid()}")
            temporary.write_bytes(orjson.dumps(digests))
            os.replace(temporary, known)
    return digests[key]
