"""Graphs: CSC by target and CSR by source, built once, shared by all."""

from graphlab.graph.adjacency import Adjacency as Adjacency
from graphlab.graph.directed import DirectedOperators as DirectedOperators
from graphlab.graph.graph import Graph as Graph
from graphlab.graph.influence import influence as influence
from graphlab.graph.knn import knn_graph as knn_graph
from graphlab.graph.overlap import common_neighbors as common_neighbors
from graphlab.graph.overlap import neighbor_rows as neighbor_rows
from graphlab.graph.walks import WalkGraph as WalkGraph
from graphlab.graph.walks import random_walk as random_walk
from graphlab.graph.walks import walk_graph as walk_graph
