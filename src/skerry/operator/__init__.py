"""KServe's controllers; they know a Kubernetes API client and nothing else of the world."""
