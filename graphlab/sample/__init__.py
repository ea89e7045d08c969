"""Loaders over data in memory."""

from graphlab.sample.batch import to_data as to_data
from graphlab.sample.cluster import ClusterLoader as ClusterLoader
from graphlab.sample.link import LinkNeighborLoader as LinkNeighborLoader
from graphlab.sample.loader import Loader as Loader
from graphlab.sample.negative import NonEdges as NonEdges
from graphlab.sample.neighbor import NeighborLoader as NeighborLoader
from graphlab.sample.order import num_batches as num_batches
from graphlab.sample.order import seed_batches as seed_batches
from graphlab.sample.partition import partition as partition
from graphlab.sample.sampler import NeighborSampler as NeighborSampler
