"""Interop: foreign objects read and written as plain arrays."""
