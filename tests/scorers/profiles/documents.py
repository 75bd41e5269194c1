"""The documents of the goldens: real manuals that ship with the demo, and cases on which the tools disagree.

Nothing but the standard library and zstandard is imported: the peers' environments read what `documents` gives as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[3]
REAL = ("python-docs", "postgresql-docs")
EVERY, CHARACTERS = 17, 4000
"""Each so many a document of the demo, cut to so many characters."""

PARAGRAPH = (
    "The sieve is held in one hand and struck with the other, so that what is fine enough falls through the cloth "
    "while what is coarse stays behind and is ground again before supper."
)
CRAFTS = """Millers grind wheat
Bakers knead dough
Smiths forge iron
Weavers spin wool
Masons cut stone
Tanners cure hides
Potters throw clay
Coopers bend staves
Fishers mend nets
Brewers boil hops
Joiners plane oak
Shepherds fold lambs"""
EDGES = {
    "empty": "",
    "blank": " \n\n \n",
    "one word": "tamis",
    "twice": f"{PARAGRAPH}\n\n{PARAGRAPH}",
    "thrice in lines": "\n".join([PARAGRAPH] * 3),
    "six long words": "extraordinarily incomprehensible characteristics notwithstanding straightforward documentation",
    "a a a": "a " * 200,
    "half equal lines": "one line of it\nanother line here\n" + "the same again\n" * 3 + "and the end",
    "blank lines between": CRAFTS.replace("\n", "\n\n"),
    "nine words": "there are exactly nine words in this short line",
    "ab c": "ab c d e f. a bc d e f. ab cd e f g. abc d e f g.",
    "ties": "red green blue red green blue one two three one two three",
    "double spaces": "to be  or not to be or\nnot to  be that is the question to be or not to be",
    "leading newline": "\n\nfirst\n\nsecond\nfirst\n",
    "punctuation": "Wait... what?! (No.) \"Yes,\" she said; 'yes' -- 3.14 & e.g. this, wait... what?!",
    "accents": "Déjà vu, déjà vu! Ångström naïve façade déjà vu, encore déjà vu.",
    "chinese": "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。天地玄黄，宇宙洪荒。",
    "greek and emoji": "Ο ουρανός είναι μπλε 🙂 Ο ουρανός είναι μπλε 🙂 Ο ουρανός είναι μπλε",
    "carriage returns": "one\r\ntwo\r\n\r\none\r\ntwo\r\n",
}
GERMAN = {
    "paragraph": "Der Müller siebt das Mehl durch ein feines Tuch, und was zu grob ist, wird noch einmal gemahlen. "
    "Am Abend backt seine Frau das Brot, das am nächsten Morgen auf dem Markt verkauft wird.",
    "repeated": "Der Müller siebt das Mehl durch ein feines Tuch.\n" * 4 + "Am Abend wird gebacken.\n",
    "some": "Heute ist Markt auf dem Platz vor der alten Kirche am Fluss. Wer Brot kaufen will, kommt früh.\n"
    "Heute ist Markt auf dem Platz vor der alten Kirche am Fluss.\nWer Käse kaufen will, kommt nach dem Mittag.\n",
}


def documents() -> dict[str, str]:
    """{name: text}"""
    import zstandard

    found = dict(EDGES)
    for name in REAL:
        path = ROOT / "configs" / "demo" / "data" / f"{name}.jsonl.zst"
        lines = zstandard.ZstdDecompressor().stream_reader(path.open("rb")).read().splitlines()
        for number in range(0, len(lines), EVERY):
            found[f"{name} {number}"] = json.loads(lines[number])["text"][:CHARACTERS]
    return found
