"""Interop: foreign objects read and written as plain arrays."""

from graphlab.interop.arrays import as_tensor as as_tensor
