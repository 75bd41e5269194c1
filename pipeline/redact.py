"""What may be secret, taken out of whatever is kept or shown: logs, ledgers, stage.json, exports, messages.

An address keeps its place and loses user, password and query; a value under a telling key (password, api_key) and the
value of a telling variable of the environment (AWS_SECRET_ACCESS_KEY) become ***. Credentials belong into the
environment or fsspec's configuration files; where a command was given one all the same, it is used and not remembered.

    scrubbed("s3://key:secret@bucket/a.jsonl?sig=1")    # s3://bucket/a.jsonl
    scrubbed({"api_key": "abc"})                        # {"api_key": "***"}
"""

from __future__ import annotations

import os
import re
from typing import Any

HIDDEN = "***"
SECRET = re.compile(r"token$|secret|password|passwd|credential|api_?key|access_?key|authorization", re.IGNORECASE)
"""Keys, and names of variables, whose values are not for others."""
ADDRESS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<user>[^/\s@'\"]*@)?"
    r"(?P<rest>(?:(?![a-z][a-z0-9+.-]*://)[^\s?#'\"])*)(?P<query>[?#][^\s'\"]*)?",
    re.IGNORECASE,
)
MANGLED = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*:/)[^/\s@'\"]*:[^/\s@'\"]*@(?P<rest>[^\s?#'\"]*)([?#][^\s'\"]*)?", re.IGNORECASE
)
"""An address that a library took for a path: http:/user:password@host/a?query."""
ASSIGNED = re.compile(
    r"(?P<key>[\w-]*(?:(?<!eos)(?<!bos)(?<!pad)[_-]token|secret(?:_?key)?|password|passwd|api_?key|access_?key(?:_?id)?))"
    r"(?P<is>['\"]?\s*[=:]\s*['\"]?)(?P<value>[^\s'\",;&]{6,})",
    re.IGNORECASE,
)
"""key=value and "key": "value" within a text."""
SHORTEST = 8
"""Characters of a variable's value that may be looked for: a shorter one stands in half of all texts by chance."""


def scrubbed(value: Any) -> Any:
    """A copy without what may be secret: texts, and lists and dicts of them."""
    if isinstance(value, dict):
        return {
            key: HIDDEN if isinstance(inner, str) and SECRET.search(str(key)) else scrubbed(inner)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [scrubbed(item) for item in value]
    return without_addresses(_without_variables(value)) if isinstance(value, str) else value


def without_secrets(value: Any) -> Any:
    """As `scrubbed`, whatever the keys are: for records whose keys are names of the user's."""
    if isinstance(value, dict):
        return {key: without_secrets(inner) for key, inner in value.items()}
    return [without_secrets(item) for item in value] if isinstance(value, (list, tuple)) else scrubbed(value)


def message(text: str) -> str:
    """A text for people without secrets: as `scrubbed`; the value of a `password=...` in its middle is hidden too."""
    return ASSIGNED.sub(rf"\g<key>\g<is>{HIDDEN}", scrubbed(text))


def without_addresses(text: str) -> str:
    """The text, its addresses without user, password and query."""
    text = ADDRESS.sub(lambda found: f"{found['scheme']}://{found['rest']}", text) if "://" in text else text
    return MANGLED.sub(r"\g<scheme>\g<rest>", text) if ":/" in text and "@" in text else text


def _without_variables(text: str) -> str:
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and value in text and SECRET.search(name):
            text = text.replace(value, HIDDEN)
    return text
