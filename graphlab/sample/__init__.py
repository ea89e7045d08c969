"""Loaders over data in memory."""
