"""Words too common to say anything: function words that also stand in lists for passphrases."""

from __future__ import annotations

_TEXT = """
a about above after again against all along also although am among an and another any are around as at away
back be became because been before behind being below between both but by can cannot could did do does doing done
down during each either else enough even ever every few first for from further get give go had has have having he
her here hers herself him himself his how however i if in indeed instead into is it its itself just last least less
like made make many may me might mine more most much must my myself near neither never next no none nor not nothing
now of off often on once one only onto or other others ought our ours out over own per perhaps quite rather same
say see seem several shall she should since so some such take than that the their theirs them themselves then
there therefore these they thing this those though through thus till to together too toward towards two under
unless until up upon us use used very was we well were what whatever when where whether which while who whole whom
whose why will with within without would yet you your yours yourself
"""
STOP_WORDS = frozenset(_TEXT.split())
