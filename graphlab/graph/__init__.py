"""Graphs: CSC by target and CSR by source, built once, shared by all."""

from graphlab.graph.adjacency import Adjacency as Adjacency
from graphlab.graph.graph import Graph as Graph
from graphlab.graph.overlap import common_neighbors as common_neighbors
from graphlab.graph.overlap import neighbor_rows as neighbor_rows
