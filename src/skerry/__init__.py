"""Skerry serves AI models on one small Linux machine, with KServe's API and no cluster."""

__version__ = "0.1.0"
