"""`tamis inspect`: documents with everything that is known of them, for a person in a terminal.

inspect(Workspace("workspace"), ids=["a17"])                         # one document, its scores, spans and fate
inspect(Workspace("workspace"), where="preselect_score > 0.9")       # a few that a predicate keeps, drawn by hash
stage(Workspace("workspace"), "best")                                # what a selection or an ingest took and left
changes(Workspace("workspace"), "web", "web-ghosts")                 # texts of one id in two corpora
"""

from __future__ import annotations

from pipeline.inspect.run import changes, inspect, stage

__all__ = ["changes", "inspect", "stage"]
