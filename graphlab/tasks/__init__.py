"""Training runs: many seeds, run folders, exact resume, recipes."""

from graphlab.tasks import cluster as cluster
from graphlab.tasks import embed as embed
from graphlab.tasks import link as link
from graphlab.tasks import nas as nas
from graphlab.tasks import node as node
from graphlab.tasks.callbacks import Callback as Callback
from graphlab.tasks.callbacks import TensorBoard as TensorBoard
from graphlab.tasks.cluster_result import ClusterResult as ClusterResult
from graphlab.tasks.interrupt import Interrupted as Interrupted
from graphlab.tasks.link_result import LinkResult as LinkResult
from graphlab.tasks.result import Result as Result
from graphlab.tasks.schema import ConfigError as ConfigError
from graphlab.tasks.scoring import DivergedError as DivergedError
