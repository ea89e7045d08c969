"""Metrics, evaluators with guards, stamps."""
