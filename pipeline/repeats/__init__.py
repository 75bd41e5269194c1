"""Repeated spans and units over whole corpora, or against others.

from pipeline.repeats import SpanSettings, count_repeats

with held(workspace.store), Pool(Compute(memory="512MB"), workspace) as pool:
    count_repeats(workspace, "repeats", SpanSettings(corpora=["web"]), pool)
"""

from pipeline.repeats.plan import finished, plan_repeats, takes
from pipeline.repeats.run import count_repeats
from pipeline.repeats.settings import SpanSettings, UnitSettings

__all__ = ["SpanSettings", "UnitSettings", "count_repeats", "finished", "plan_repeats", "takes"]
