"""Which characters separate words, stand as words of their own, end sentences or close quotes.

A committed table, so that a split is the same under every Python: space and marks are those of Unicode 14.0
(categories Mn, Mc and Me), the rest is chosen here and named below. ``lookup_table`` turns it into two arrays that
a kernel reads with two loads:

>>> table = lookup_table()
>>> int(table.pages[table.index[0x3002 >> 7], 0x3002 & 127]) == SPACELESS | WIDE_END
True
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

UNICODE_VERSION = "14.0"

SPACE = 1  # separates words; exactly the characters that str.split() splits at
SPACELESS = 2  # of a script written without spaces: a word of its own
MARK = 4  # stays with the character before it
NARROW_END = 8  # ends a sentence when white space (or the end of the text) follows
WIDE_END = 16  # ends a sentence whatever follows
CLOSER = 32  # a quote or bracket that stays with the sentence it closes
OPENER = 64  # a quote or bracket that may stand before the first letter of a word

_SPACES = "0009-000D 001C-0020 0085 00A0 1680 2000-200A 2028-2029 202F 205F 3000"

# Mn, Mc, Me, and the two joiners.
_MARKS = """
0300-036F 0483-0489 0591-05BD 05BF 05C1-05C2 05C4-05C5 05C7 0610-061A 064B-065F 0670 06D6-06DC 06DF-06E4
06E7-06E8 06EA-06ED 0711 0730-074A 07A6-07B0 07EB-07F3 07FD 0816-0819 081B-0823 0825-0827 0829-082D
0859-085B 0898-089F 08CA-08E1 08E3-0903 093A-093C 093E-094F 0951-0957 0962-0963 0981-0983 09BC 09BE-09C4
09C7-09C8 09CB-09CD 09D7 09E2-09E3 09FE 0A01-0A03 0A3C 0A3E-0A42 0A47-0A48 0A4B-0A4D 0A51 0A70-0A71 0A75
0A81-0A83 0ABC 0ABE-0AC5 0AC7-0AC9 0ACB-0ACD 0AE2-0AE3 0AFA-0AFF 0B01-0B03 0B3C 0B3E-0B44 0B47-0B48
0B4B-0B4D 0B55-0B57 0B62-0B63 0B82 0BBE-0BC2 0BC6-0BC8 0BCA-0BCD 0BD7 0C00-0C04 0C3C 0C3E-0C44 0C46-0C48
0C4A-0C4D 0C55-0C56 0C62-0C63 0C81-0C83 0CBC 0CBE-0CC4 0CC6-0CC8 0CCA-0CCD 0CD5-0CD6 0CE2-0CE3 0D00-0D03
0D3B-0D3C 0D3E-0D44 0D46-0D48 0D4A-0D4D 0D57 0D62-0D63 0D81-0D83 0DCA 0DCF-0DD4 0DD6 0DD8-0DDF 0DF2-0DF3
0E31 0E34-0E3A 0E47-0E4E 0EB1 0EB4-0EBC 0EC8-0ECD 0F18-0F19 0F35 0F37 0F39 0F3E-0F3F 0F71-0F84 0F86-0F87
0F8D-0F97 0F99-0FBC 0FC6 102B-103E 1056-1059 105E-1060 1062-1064 1067-106D 1071-1074 1082-108D 108F
109A-109D 135D-135F 1712-1715 1732-1734 1752-1753 1772-1773 17B4-17D3 17DD 180B-180D 180F 1885-1886 18A9
1920-192B 1930-193B 1A17-1A1B 1A55-1A5E 1A60-1A7C 1A7F 1AB0-1ACE 1B00-1B04 1B34-1B44 1B6B-1B73 1B80-1B82
1BA1-1BAD 1BE6-1BF3 1C24-1C37 1CD0-1CD2 1CD4-1CE8 1CED 1CF4 1CF7-1CF9 1DC0-1DFF 200C-200D 20D0-20F0
2CEF-2CF1 2D7F 2DE0-2DFF 302A-302F 3099-309A A66F-A672 A674-A67D A69E-A69F A6F0-A6F1 A802 A806 A80B
A823-A827 A82C A880-A881 A8B4-A8C5 A8E0-A8F1 A8FF A926-A92D A947-A953 A980-A983 A9B3-A9C0 A9E5 AA29-AA36
AA43 AA4C-AA4D AA7B-AA7D AAB0 AAB2-AAB4 AAB7-AAB8 AABE-AABF AAC1 AAEB-AAEF AAF5-AAF6 ABE3-ABEA ABEC-ABED
FB1E FE00-FE0F FE20-FE2F 101FD 102E0 10376-1037A 10A01-10A03 10A05-10A06 10A0C-10A0F 10A38-10A3A 10A3F
10AE5-10AE6 10D24-10D27 10EAB-10EAC 10F46-10F50 10F82-10F85 11000-11002 11038-11046 11070 11073-11074
1107F-11082 110B0-110BA 110C2 11100-11102 11127-11134 11145-11146 11173 11180-11182 111B3-111C0 111C9-111CC
111CE-111CF 1122C-11237 1123E 112DF-112EA 11300-11303 1133B-1133C 1133E-11344 11347-11348 1134B-1134D 11357
11362-11363 11366-1136C 11370-11374 11435-11446 1145E 114B0-114C3 115AF-115B5 115B8-115C0 115DC-115DD
11630-11640 116AB-116B7 1171D-1172B 1182C-1183A 11930-11935 11937-11938 1193B-1193E 11940 11942-11943
119D1-119D7 119DA-119E0 119E4 11A01-11A0A 11A33-11A39 11A3B-11A3E 11A47 11A51-11A5B 11A8A-11A99 11C2F-11C36
11C38-11C3F 11C92-11CA7 11CA9-11CB6 11D31-11D36 11D3A 11D3C-11D3D 11D3F-11D45 11D47 11D8A-11D8E 11D90-11D91
11D93-11D97 11EF3-11EF6 16AF0-16AF4 16B30-16B36 16F4F 16F51-16F87 16F8F-16F92 16FE4 16FF0-16FF1 1BC9D-1BC9E
1CF00-1CF2D 1CF30-1CF46 1D165-1D169 1D16D-1D172 1D17B-1D182 1D185-1D18B 1D1AA-1D1AD 1D242-1D244 1DA00-1DA36
1DA3B-1DA6C 1DA75 1DA84 1DA9B-1DA9F 1DAA1-1DAAF 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A
1E130-1E136 1E2AE 1E2EC-1E2EF 1E8D0-1E8D6 1E944-1E94A E0100-E01EF
"""

# Han, kana and bopomofo with their punctuation and the fullwidth and halfwidth forms that are no letters or digits of
# a spaced script, and the blocks whose line breaking needs a dictionary (Thai, Lao, Myanmar, Khmer, Tai), and Tibetan.
_SPACELESS = """
2E80-2FFF 3001-312F 3190-33FF 3400-4DBF 4E00-9FFF F900-FAFF FE30-FE4F FF01-FF0F FF1A-FF20 FF3B-FF40 FF5B-FF9F
1B000-1B16F 20000-3FFFD 0E00-0FFF 1000-109F 1780-17FF 1950-19FF 1A20-1AAF A9E0-A9FF AA60-AADF
"""

# . ! ? ... and the full stops of spaced scripts: Armenian, Arabic and Urdu, Devanagari, Ethiopic. The Greek
# question mark is a semicolon in practice and left out.
_NARROW_ENDS = "0021 002E 003F 2026 203C-203D 2047-2049 0589 061F 06D4 0964-0965 1362 1367-1368 2E2E 2E3C"

# Ideographic and halfwidth full stop, fullwidth ! . ?, Myanmar section, Khmer khan and bariyoosan, Tibetan shad.
_WIDE_ENDS = "3002 FF61 FF01 FF0E FF1F 104B 17D4-17D5 0F0D-0F0E FE52 FE56-FE57"

_CLOSERS = """0022 0027 0029 005D 007D 00BB 2019 201D 203A 3009 300B 300D 300F 3011 3015 3017 3019 301B 301E-301F
FE36 FE38 FE3A FE3C FE3E FE40 FE42 FE44 FF02 FF07 FF09 FF3D FF5D FF60 FF63"""

_OPENERS = "0022 0027 0028 005B 007B 00AB 00BF 00A1 2018 201A 201C 201E 2039"


@dataclass(frozen=True)
class CharacterTable:
    """index: uint16 of shape (8704,), the page of code point c at ``index[c >> 7]``.

    pages: uint8 of shape (number of pages, 128), the classes; page 0 is ASCII.
    """

    index: np.ndarray
    pages: np.ndarray


def _spans(text: str) -> list[tuple[int, int]]:
    pairs = [span.split("-") for span in text.split()]
    return [(int(pair[0], 16), int(pair[-1], 16)) for pair in pairs]


def character_classes() -> np.ndarray:
    """uint8 of shape (0x110000,): the classes of every code point, or-ed together."""
    classes = np.zeros(0x110000, np.uint8)
    for first, last in _spans(_SPACELESS):
        classes[first : last + 1] = SPACELESS
    for first, last in _spans(_MARKS):
        classes[first : last + 1] = MARK
    for first, last in _spans(_SPACES):
        classes[first : last + 1] = SPACE
    for spans, flag in (
        (_NARROW_ENDS, NARROW_END),
        (_WIDE_ENDS, WIDE_END),
        (_CLOSERS, CLOSER),
        (_OPENERS, OPENER),
    ):
        for first, last in _spans(spans):
            classes[first : last + 1] |= flag
    return classes


@cache
def lookup_table(split: str = "unicode") -> CharacterTable:
    """The table of a split: "unicode" as above, "whitespace" without SPACELESS, "characters" with it everywhere."""
    classes = character_classes()
    if split == "whitespace":
        classes &= np.uint8(0xFF ^ SPACELESS)
    elif split == "characters":
        classes[(classes & (SPACE | MARK)) == 0] |= SPACELESS
    elif split != "unicode":
        raise ValueError(f"split: {split!r}; expected 'unicode', 'whitespace' or 'characters'")
    pages, first, index = np.unique(classes.reshape(-1, 128), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # by first use, so that page 0 is ASCII
    return CharacterTable(np.argsort(order)[index.ravel()].astype(np.uint16), np.ascontiguousarray(pages[order]))
