"""Repeated spans and units over whole corpora, or against others.

from pipeline.repeats import SpanSettings, count_spans

with held(workspace.store), Pool(Compute(memory="512MB"), workspace) as pool:
    count_spans(workspace, "repeats", SpanSettings(corpora=["web"]), pool)
"""

from pipeline.repeats.run import count_spans, estimated, finished, plan_spans
from pipeline.repeats.settings import SpanSettings

__all__ = ["SpanSettings", "count_spans", "estimated", "finished", "plan_spans"]
