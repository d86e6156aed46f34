"""The Open Inference Protocol v2 over HTTP: paths and JSON on one side, the data plane on the other."""
