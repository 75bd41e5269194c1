"""README.md of a Hugging Face dataset folder: the YAML header that `datasets` and the hub read, and how it was made.

The header follows the hub's documentation of dataset cards: configs with data_files, dataset_info with features and
splits, size_categories, license, language, tags.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import yaml

from pipeline.export.settings import CardSettings

SIZES = [
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
    (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"),
    (10**12, "100B<n<1T"),
]


def card(settings: CardSettings, record: dict[str, Any], schema: pa.Schema, sizes: dict[str, tuple[int, int]]) -> str:
    """The whole README. record: the lineage. sizes: {split: (bytes uncompressed, bytes of the files)}."""
    header = header_of(settings, record, schema, sizes)
    text = yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{text}---\n\n{_body(settings, record)}"


def header_of(
    settings: CardSettings, record: dict[str, Any], schema: pa.Schema, sizes: dict[str, tuple[int, int]]
) -> dict[str, Any]:
    """The YAML header as data."""
    splits = record["splits"]
    documents = sum(split["documents"] for split in splits.values())
    header: dict[str, Any] = {
        "pretty_name": settings.pretty_name or record["export"]["name"],
        "license": settings.license,
        "language": settings.language,
        "tags": [*dict.fromkeys([*settings.tags, "tamis"])],
        "task_categories": settings.task_categories,
        "size_categories": [next((name for limit, name in SIZES if documents < limit), "n>1T")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits],
            }
        ],
        "dataset_info": {
            "features": [{"name": field.name} | feature(field.type) for field in schema],
            "splits": [
                {"name": split, "num_bytes": sizes[split][0], "num_examples": of_split["documents"]}
                for split, of_split in splits.items()
            ],
            "download_size": sum(files for _, files in sizes.values()),
            "dataset_size": sum(whole for whole, _ in sizes.values()),
        },
    }
    return {key: value for key, value in header.items() if value not in (None, [])}


def feature(kind: pa.DataType) -> dict[str, Any]:
    """An Arrow type as the header writes it: {'dtype': ...}, {'list': ...} or {'struct': [...]}."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = feature(kind.value_type)
        return {"list": inner.get("dtype", inner.get("struct", inner))}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": field.name} | feature(field.type) for field in kind]}
    names = {"double": "float64", "float": "float32", "halffloat": "float16", "date32[day]": "date32"}
    return {"dtype": names.get(str(kind), str(kind))}


def _body(settings: CardSettings, record: dict[str, Any]) -> str:
    lines = [f"# {settings.pretty_name or record['export']['name']}", ""]
    if settings.description:
        lines += [settings.description, ""]
    lines += ["## Splits", "", "| split | documents | text (bytes) | files |", "|---|---:|---:|---:|"]
    for name, split in record["splits"].items():
        lines.append(f"| {name} | {split['documents']:,} | {split['text_bytes']:,} | {split['shards']} |")
    lines += ["", "## Sources", "", "| split | source | documents |", "|---|---|---:|"]
    for name, split in record["splits"].items():
        lines += [f"| {name} | {_cell(source)} | {rows:,} |" for source, rows in split["sources"].items()]
    lines += ["", "## Columns", "", "| column | type |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(kind)} |" for name, kind in record["export"]["columns"].items()]
    lines += ["", "## How the documents were chosen", ""]
    lines += _selection(record["selection"]) if record["selection"] else ["All documents that are not held out.", ""]
    lines += [
        "Order: "
        + ("shuffled by a hash of (id, seed)" if record["export"]["settings"]["order"] == "shuffled" else "as read")
        + f", seed {record['export']['settings']['seed']}.",
        "",
        "`lineage.json` has the settings, hashes and counts of every step; `croissant.json` describes the files.",
        f"Made with Tamis {record['versions']['tamis']}.",
        "",
    ]
    return "\n".join(lines)


def _selection(selection: dict[str, Any]) -> list[str]:
    defaults: dict[str, Any] = {"ascending": False, "caps": {}, "shares": {}, "held_out": False, "seed": 0}
    lines = [f"Selection `{selection['name']}` ({selection['hash'][:8]}):", ""]
    for key, value in selection["fields"]["settings"].items():
        if value is not None and value != defaults.get(key):
            lines.append(f"- {key}: `{value}`")
    result = selection["result"]
    for cut in result["cuts"]:
        shared = any(other["source"] is not None for other in result["cuts"] if other["kind"] == cut["kind"])
        others = "all other sources" if shared else "all sources together"
        of = others if cut["source"] is None else f"source `{cut['source']}`"
        ends = f", last score in {cut['last_score_in']:.6g}" if cut["last_score_in"] is not None else ""
        lines.append(f"- {cut['kind']} of {of}: {cut['kept']:,} of {cut['limit']:,} {result['unit']}{ends}")
    counts = [counts for sources in result["sources"].values() for counts in sources.values()]
    reasons: dict[str, int] = {}
    for item in counts:
        for reason, rows in item["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + rows
    lines += ["", "| outcome | documents |", "|---|---:|", f"| kept | {sum(c['kept'] for c in counts):,} |"]
    lines += [f"| rejected: {reason} | {rows:,} |" for reason, rows in reasons.items()]
    return [*lines, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
