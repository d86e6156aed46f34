"""The model server: the Open Inference Protocol over engines, in a process of its own (`python -m skerry.server`).

It imports no other room of Skerry and no other room imports it. A request walks down this list:

- `http/`      bytes ↔ requests and responses: an asyncio protocol on uvloop and httptools; knows nothing of models
- `rest/`      paths and JSON ↔ tensors: Open Inference Protocol v2 with its binary extension
- `dataplane`  the operations themselves, without a transport (gRPC will be its second caller)
- `registry`   which models and versions are served, and in which state
- `execution`  when an inference runs: at once on the event loop, or in a bounded pool of threads
- `engines/`   what runs it: OpenVINO, scikit-learn, trees of XGBoost and LightGBM, Python code; the files choose

Beside it: `repository` (versions on disk), `repository_models` (which of them are served, and the config file),
`loading`, `metrics`, `options` (OVMS's command line), `serving` (the composition
root). NumPy, OpenVINO and OpenCV are imported only after the socket is open, so that a probe gets an answer early.
"""
