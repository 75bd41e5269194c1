"""A selection (or whole corpora) as a dataset: Parquet, JSONL.zst, or a Hugging Face folder with card and lineage.

settings.py   what the user may say (imports only pydantic)
plan.py       which rows, which columns, the stage
scatter.py    pass A: kept rows of a few input shards, sorted by their place in the output
gather.py     pass B: one output shard from its part of every piece
lineage.py    where each row comes from, without secrets
card.py       README.md with its YAML header
croissant.py  croissant.json
run.py        the stage: `export_stage`, `export`

export(workspace, "best", ExportSettings(selection="best", format="hf"), pool)
"""

from pipeline.export.run import export, export_stage
from pipeline.export.settings import CardSettings, ExportSettings

__all__ = ["CardSettings", "ExportSettings", "export", "export_stage"]
