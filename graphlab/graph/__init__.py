"""Graphs: CSC by target and CSR by source, built once, shared by all."""
