"""Interop: foreign objects read and written as plain arrays.

One module a library; each imports it inside its functions.
"""

from graphlab.interop import arrow as arrow
from graphlab.interop import dgl as dgl
from graphlab.interop import edge_list as edge_list
from graphlab.interop import networkx as networkx
from graphlab.interop import ogb as ogb
from graphlab.interop import pickled as pickled
from graphlab.interop import pyg as pyg
from graphlab.interop import scipy as scipy
from graphlab.interop.arrays import as_tensor as as_tensor
