"""gRPC: the Open Inference Protocol over HTTP/2, for `--port`.

Nothing of it is imported unless a port is given. The layers, from the socket up:

- `h2/`         HTTP/2: connections, streams, flow control, limits; knows nothing of gRPC
- `framing`     messages inside of a stream, and their compression
- `status`      how a call ends, in gRPC's codes
- `calls`       one call: deadline, cancellation, one message or many
- `methods`     from paths to calls
- `wire`        protobuf's encoding; `infer_request` and `infer_response` are those of ModelInfer, `messages` has
                the small ones
- `services/`   inference over the same data plane as REST, health, reflection
- `server`      puts them together

Protobuf's own runtime is not used. It takes 3.6 us to read a small request and 54 us for a picture of 600 KB, which it
copies twice. The codec here takes 0.4 us and 0.6 us where a client repeats itself, 2.8 us and 3.6 us where it does
not, since tensors stay views on what was received, and it costs no memory. The runtime judges it in the tests.
"""
