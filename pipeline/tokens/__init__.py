"""Token selection for fine-tuning data: losses and attention of every token, selections from them, exports.

    tokens/<corpus>/<name>-<hash8>/            the token table (table): ids, roles, turns, offsets, losses, masses
    token-passes/<corpus>/<role>-<hash8>/      what one checkpoint says of the tokens (passes)
    token-selections/<corpus>/<name>-<hash8>/  which tokens carry loss, and the random control beside them (select)

One module each: settings, encode (documents to tokens with roles), passes and table (score), select, export, show,
steps (a config's section).
"""
