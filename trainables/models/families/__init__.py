"""The families of graph neural networks: a new one is a module here and an entry below.

Its place is the end: the order of the families is that of the choices in recorded studies, and the
first is the default.
"""

from trainables.models.families import deepgcn, gat, gcn, gin, sage
from trainables.models.family import Family

FAMILIES: tuple[Family, ...] = (
    gcn.FAMILY,
    gat.FAMILY,
    sage.FAMILY,
    gin.FAMILY,
    deepgcn.FAMILY,
)
