"""The server of `kserve_peer.py` with gRPC; runs in the same environment of its own."""

# mypy: ignore-errors
import argparse
import logging

import kserve
from kserve import ModelServer
from kserve_peer import Bare

if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
    parser.add_argument("xml")
    options, _ = parser.parse_known_args()
    server = ModelServer(http_port=options.http_port, grpc_port=options.grpc_port, enable_grpc=True, workers=1)
    logging.disable(logging.INFO)  # a line for each request would be most of its time
    server.start([Bare(options.xml)])
