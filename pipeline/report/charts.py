"""Charts as Vega-Lite, without data, colours and width: the page fills in the rows, its theme and the room it has.

docs/decisions/0005-the-report-is-vega.md says why Vega-Lite. Names of fields are columns of the figure's query.
"""

from __future__ import annotations

from typing import Any

Chart = dict[str, Any]
SHORT, SHARE = "~s", ".0%"
HEIGHT = 220
COUNTS = {"labelExpr": "format(datum.value, '~s')", "tickMinStep": 1}
"""Of an axis of counts: each label by itself (0, 500, 1k and not 0k, 0.5k, 1k), and no half documents."""
TICKS = {"tickCount": 6}
LOG = {"tickCount": 2}
"""Of a logarithmic axis: powers of ten alone, or the numbers between where there is less than one."""


def histogram(color: str | None = "source", value: str = "documents", reads: str = "") -> Chart:
    """Bars from `low` to `high`, stacked by a column of names."""
    encoding: Chart = {
        "x": {"field": "low", "type": "quantitative", "title": None, "bin": {"binned": True}, "axis": {"tickCount": 6}},
        "x2": {"field": "high"},
        "y": {"field": value, "type": "quantitative", "title": value, "axis": COUNTS | {"tickCount": 5}},
        "tooltip": _tips("low", "high", value, *([color] if color else [])),
    }
    if color:
        encoding["color"] = {"field": color, "type": "nominal", "title": color}
    return {"mark": {"type": "bar", "binSpacing": 1}, "height": HEIGHT, "encoding": encoding}


def bars(
    name: str, value: str, color: str | None = None, tips: tuple[str, ...] = (), sort: Any = None, share: bool = False
) -> Chart:
    """Horizontal bars, one per name, in the order of the rows. share: the value is no count, but 0 to 1."""
    ticks = {"format": "~%"} if share else COUNTS
    encoding: Chart = {
        "y": {"field": name, "type": "nominal", "title": None, "sort": sort, "axis": {"labelLimit": 260}},
        "x": {"field": value, "type": "quantitative", "title": value, "axis": ticks | {"tickCount": 6}},
        "tooltip": _tips(name, value, *tips, *([color] if color else [])),
    }
    if color:
        encoding["color"] = {"field": color, "type": "nominal", "title": color}
    return {"mark": {"type": "bar"}, "height": {"step": 22}, "encoding": encoding}


def stacked(name: str, values: tuple[str, str], tips: tuple[str, ...] = ()) -> Chart:
    """Horizontal bars of two parts, such as what is left after a step and what was lost in it."""
    return {
        "transform": [{"fold": list(values), "as": ["part", "count"]}],
        "mark": {"type": "bar"},
        "height": {"step": 24},
        "encoding": {
            "y": {"field": name, "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 260}},
            "x": {"field": "count", "type": "quantitative", "title": None, "axis": COUNTS | {"tickCount": 6}},
            "color": {"field": "part", "type": "nominal", "title": None, "sort": list(values)},
            "order": {"field": "part", "sort": "descending" if values[0] > values[1] else "ascending"},
            "tooltip": _tips(name, *values, *tips),
        },
    }


def spread(name: str, title: str = "") -> Chart:
    """A box per name: the middle half, the median, and lines to the 5 % and 95 % quantiles."""
    y = {"field": name, "type": "nominal", "title": None, "axis": {"labelLimit": 260}}

    def x(column: str) -> Chart:
        return {"field": column, "type": "quantitative", "title": title or None, "axis": {"tickCount": 4}}

    tips = _tips(name, "documents", "mean", "min", "q05", "q25", "q50", "q75", "q95", "max")
    return {
        "height": {"step": 30},
        "encoding": {"y": y, "tooltip": tips},
        "layer": [
            {"mark": {"type": "rule"}, "encoding": {"x": x("q05"), "x2": {"field": "q95"}}},
            {"mark": {"type": "bar", "height": 14}, "encoding": {"x": x("q25"), "x2": {"field": "q75"}}},
            {"mark": {"type": "tick", "height": 20, "thickness": 3, "style": "median"}, "encoding": {"x": x("q50")}},
        ],
    }


def lines(
    x: str,
    y: str,
    color: str | None = None,
    tips: tuple[str, ...] = (),
    points: bool = False,
    format: str = SHORT,
    zero: bool = False,
    dash: str | None = None,
    titles: tuple[str | None, str | None] = (None, None),
    log: bool = False,
) -> Chart:
    """Lines, one per value of `color`. log: both axes are logarithmic."""
    scale_x, scale_y = ({"type": "log"}, {"type": "log"}) if log else ({"zero": False}, {"zero": zero})
    ticks: Chart = LOG if log else {"tickCount": 6}
    if x in ("tokens", "step") or log:
        ticks = ticks | {"labelExpr": COUNTS["labelExpr"]}
    encoding: Chart = {
        "x": {"field": x, "type": "quantitative", "title": titles[0] or x, "axis": ticks, "scale": scale_x},
        "y": {
            "field": y,
            "type": "quantitative",
            "title": titles[1] or y,
            "axis": {"format": format} | (LOG if log else {}),
            "scale": scale_y,
        },
        "tooltip": _tips(*([color] if color else []), x, y, *tips),
    }
    if color:
        encoding["color"] = {"field": color, "type": "nominal", "title": color, "sort": None}
    if dash:
        encoding["strokeDash"] = {"field": dash, "type": "nominal", "title": None}
    return {"mark": {"type": "line", "point": points}, "height": HEIGHT, "encoding": encoding}


def points(
    x: str,
    y: str,
    color: str | None,
    tips: tuple[str, ...] = (),
    titles: tuple[str | None, ...] = (None, None),
    log_y: bool = False,
) -> Chart:
    """A point per row."""
    encoding: Chart = {
        "x": {"field": x, "type": "quantitative", "title": titles[0], "scale": {"zero": False}, "axis": TICKS},
        "y": {"field": y, "type": "quantitative", "title": titles[1], "scale": {"zero": False}, "axis": TICKS},
        "tooltip": _tips(x, y, *([color] if color else []), *tips),
    }
    if color:
        encoding["color"] = {"field": color, "type": "nominal", "title": color}
    if log_y:
        encoding["x"] |= {"title": x, "scale": {"domain": [0, 1]}, "axis": {"format": SHARE, "tickCount": 6}}
        encoding["y"] |= {"title": y, "scale": {"type": "log"}, "axis": {"format": "~g", "tickCount": 3}}
        encoding["shape"] = {"field": color, "type": "nominal", "title": color}
        return {"mark": {"type": "point", "filled": True, "size": 60}, "height": HEIGHT, "encoding": encoding}
    return {"mark": {"type": "point", "filled": True, "size": 22}, "height": 320, "encoding": encoding}


def ranges(x: str, y: str, low: str, high: str, color: str, tips: tuple[str, ...] = ()) -> Chart:
    """Shares with their intervals, side by side for each x."""
    scale = {"type": "quantitative", "scale": {"domain": [0, 1]}, "axis": {"format": SHARE, "tickCount": 5}}
    shade = {"field": color, "type": "nominal", "title": color, "sort": None}
    return {
        "height": HEIGHT,
        "encoding": {
            "x": {"field": x, "type": "ordinal", "title": x, "axis": {"labelAngle": 0}},
            "xOffset": shade,
            "color": shade,
            "tooltip": _tips(x, color, y, low, high, *tips),
        },
        "layer": [
            {"mark": {"type": "rule"}, "encoding": {"y": {"field": low, "title": y, **scale}, "y2": {"field": high}}},
            {
                "mark": {"type": "point", "filled": True, "size": 60},
                "encoding": {"y": {"field": y, "title": y, **scale}},
            },
        ],
    }


def heat(x: str, y: str, value: str) -> Chart:
    """A square per pair, from -1 to 1, with its number in it."""
    return {
        "height": {"step": 26},
        "encoding": {
            "x": {"field": x, "type": "nominal", "title": None, "sort": None, "axis": {"labelAngle": -40}},
            "y": {"field": y, "type": "nominal", "title": None, "sort": None},
            "tooltip": _tips(x, y, value),
        },
        "layer": [
            {
                "mark": {"type": "rect"},
                "encoding": {
                    "color": {
                        "field": value,
                        "type": "quantitative",
                        "scale": {"domain": [-1, 0, 1], "range": ["#D55E00", "#F4F4F4", "#0072B2"]},
                        "legend": None,
                    }
                },
            },
            {
                "mark": {"type": "text", "fontSize": 10, "style": "inside"},
                "encoding": {
                    "text": {"field": value, "type": "quantitative", "format": ".2f"},
                    "color": {
                        "condition": {"test": f"abs(datum['{value}']) > 0.6", "value": "#FFFFFF"},
                        "value": "#222222",
                    },
                },
            },
        ],
    }


def interval(name: str, mean: str, low: str, high: str, tips: tuple[str, ...] = ()) -> Chart:
    """A point per name with the interval of its mean."""
    y = {"field": name, "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 260}}

    def x(column: str) -> Chart:
        return {"field": column, "type": "quantitative", "title": None, "scale": {"zero": False}}

    return {
        "height": {"step": 30},
        "encoding": {"y": y, "tooltip": _tips(name, mean, low, high, *tips)},
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {"x": x(low), "x2": {"field": high}}},
            {"mark": {"type": "point", "filled": True, "size": 90}, "encoding": {"x": x(mean)}},
        ],
    }


def _tips(*columns: str) -> list[Chart]:
    return [{"field": column} for column in dict.fromkeys(columns)]
