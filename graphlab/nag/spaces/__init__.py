"""Search spaces: NAS-Bench-201, MobileNetV3, NAS-Bench-Graph, trainable GNNs, user DAGs."""

from graphlab.nag.spaces.dag import DAG as DAG
from graphlab.nag.spaces.dag import from_json as from_json
from graphlab.nag.spaces.dag import from_networkx as from_networkx
from graphlab.nag.spaces.gnn import GNN as GNN
from graphlab.nag.spaces.mobilenet import MobileNetV3 as MobileNetV3
from graphlab.nag.spaces.named import names as names
from graphlab.nag.spaces.named import open as open
from graphlab.nag.spaces.nas_bench_graph import NASBenchGraph as NASBenchGraph
from graphlab.nag.spaces.nb201 import NB201 as NB201
