"""Custom resources in the API server: which definitions there are, what of them is served, `scale`, OpenAPI."""
