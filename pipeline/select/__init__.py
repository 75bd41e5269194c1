"""A cut of one or several corpora: an exact budget by score or at random, a predicate, and a reason for each reject.

settings.py  what the user may say (imports only pydantic)
inputs.py    which files and columns that needs, the stage, what is missing
rules.py     highest values that pass, per column and language: Gopher's rules, or anyone's
rank.py      one shard's documents: who may be ranked, and the order they are ranked in
cut.py       where the budget ends, over all shards, with memory of one histogram
run.py       the passes: cut, measure, write

select(workspace, "best", SelectSettings(by="preselect_score", budget="10% tokens"), pool)
"""

from pipeline.select.run import select, select_stage
from pipeline.select.settings import SelectSettings

__all__ = ["SelectSettings", "select", "select_stage"]
