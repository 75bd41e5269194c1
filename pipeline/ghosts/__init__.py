"""Ghost sentences over corpora: registry, draw, insert, find, strip, plan, survive (scorers/ghosts has the kernels)."""
