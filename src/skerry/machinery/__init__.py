"""Kubernetes semantics without any kind: patches, selectors, quantities, tables, errors. Pure functions."""
