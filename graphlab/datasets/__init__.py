"""Datasets: a graph, named columns, splits and meta."""
