"""Datasets: a graph, named columns, splits and meta."""

from graphlab.datasets.column import Column as Column
from graphlab.datasets.column import MemmapColumn as MemmapColumn
from graphlab.datasets.column import SparseColumn as SparseColumn
from graphlab.datasets.column import gather as gather
from graphlab.datasets.dataset import Dataset as Dataset
from graphlab.datasets.foreign import as_dataset as as_dataset
from graphlab.datasets.storage import open as open
