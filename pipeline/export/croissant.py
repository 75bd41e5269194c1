"""croissant.json: the files and columns of a dataset as Croissant 1.0 (JSON-LD), readable without Tamis.

Each file is a FileObject with its sha256; each split is a FileSet over its files and a RecordSet
with a Field per column.
Source: the Croissant format specification 1.0, https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.export.settings import CardSettings

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(
    settings: CardSettings, name: str, schema: pa.Schema, files: Mapping[str, list[tuple[str, int, str]]]
) -> dict[str, Any]:
    """The description. files: {split: (path, bytes, sha256) of each file}."""
    record: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": settings.description or f"Documents of the selection behind {name}; see README.md.",
        "version": "1.0.0",
        "distribution": [],
        "recordSet": [],
    }
    if settings.license:
        record["license"] = settings.license
    if settings.language:
        record["inLanguage"] = settings.language
    if settings.tags:
        record["keywords"] = settings.tags
    for split, of_split in files.items():
        objects = [
            {
                "@type": "cr:FileObject",
                "@id": path,
                "name": path,
                "contentUrl": path,
                "contentSize": f"{size} B",
                "encodingFormat": "application/x-parquet",
                "sha256": digest,
            }
            for path, size, digest in of_split
        ]
        # Without containedIn readers look for the files beside this description, where they lie.
        whole = {
            "@type": "cr:FileSet",
            "@id": f"{split}-files",
            "name": f"{split}-files",
            "encodingFormat": "application/x-parquet",
            "includes": f"data/{split}-*.parquet",
        }
        record["distribution"] += [*objects, whole]
        fields = [_field(split, field.name, field.type) for field in schema]
        record["recordSet"].append({"@type": "cr:RecordSet", "@id": split, "name": split, "field": fields})
    return record


def _field(split: str, name: str, kind: pa.DataType) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{split}/{name}",
        "name": name,
        "source": {"fileSet": {"@id": f"{split}-files"}, "extract": {"column": name}},
    }
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        field["repeated"] = True
        kind = kind.value_type
    # A struct has no data type of its own in Croissant 1.0; its text form is what a reader without Arrow gets.
    field["dataType"] = data_type(kind)
    return field


def data_type(kind: pa.DataType) -> str:
    """The schema.org name of an Arrow type."""
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "sc:Float"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return "sc:Date"
    return "sc:Text"
