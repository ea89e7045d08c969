"""Datasets: a graph, named columns, splits and meta."""

from graphlab.datasets.column import Column as Column
from graphlab.datasets.column import MemmapColumn as MemmapColumn
from graphlab.datasets.column import SparseColumn as SparseColumn
from graphlab.datasets.column import gather as gather
from graphlab.datasets.convert import convert as convert
from graphlab.datasets.dataset import Dataset as Dataset
from graphlab.datasets.foreign import as_dataset as as_dataset
from graphlab.datasets.generate import generate as generate
from graphlab.datasets.info import info as info
from graphlab.datasets.link_splits import read_heart as read_heart
from graphlab.datasets.link_splits import split_links_ncn as split_links_ncn
from graphlab.datasets.link_splits import (
    split_links_temporal as split_links_temporal,
)
from graphlab.datasets.load import find as find
from graphlab.datasets.load import list_datasets as list_datasets
from graphlab.datasets.load import load as load
from graphlab.datasets.splits import split_links as split_links
from graphlab.datasets.splits import split_per_class as split_per_class
from graphlab.datasets.splits import split_random as split_random
from graphlab.datasets.storage import open as open

list = list_datasets
