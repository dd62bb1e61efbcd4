"""The families of graph neural networks that studies search.

To add one, write a module in this package and append its `Family` to the end of `FAMILIES`. The
order must not change: it is that of the choices in recorded studies, and the first family is the
default.
"""

from trainables.models.families import deepgcn, gat, gcn, gin, painn, sage
from trainables.models.family import Family

FAMILIES: tuple[Family, ...] = (
    gcn.FAMILY,
    gat.FAMILY,
    sage.FAMILY,
    gin.FAMILY,
    deepgcn.FAMILY,
    painn.FAMILY,
)
