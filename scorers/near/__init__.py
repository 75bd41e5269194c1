"""Near-duplicate documents: what makes two documents candidates, and how alike they are, as kernels over Arrow buffers.

folding.py    case and punctuation that do not count
minhash.py    signatures and band keys: which pairs of documents are worth a look
grams.py      sets of word n-grams, and the exact overlap of two documents
union.py      connected components
choice.py     which documents of a cluster stay

They are put together by pipeline/near, since a cluster is nothing that one batch of documents can show.
"""
