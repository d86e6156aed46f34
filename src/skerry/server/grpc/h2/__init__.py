"""HTTP/2 (RFC 9113) for the data path: the server's half, without push and without priorities.

Hand-written for the same reason as `skerry.server.http`: on a small model a ready-made stack costs several times what
the model does. Here a connection is one object and a stream another; a call that fits into its frames is read,
answered and written within one turn of the event loop.

- `frames`      numbers and bytes of the wire
- `errors`      what ends a stream, and what ends a connection
- `hpack`       header compression; `huffman` is its code
- `heads`       from header fields to a request that is well-formed, and from names to blocks
- `inbound`     bytes to frames: nothing of a DATA frame is held back, every other frame comes whole
- `outbound`    frames to bytes: flow control towards the client, one write per turn of the loop
- `guard`       how much a client may cost without asking for anything
- `stream`      one exchange; what it means is the business of the layer above
- `connection`  frames to streams
- `listener`    sockets, and what all connections share

A stream, as the server sees it. There is no half-closed (local): a server that has answered needs no more of the
request, so it resets the stream with NO_ERROR.

    idle ──HEADERS──▶ open ──END_STREAM──▶ half-closed (remote) ──answered──▶ closed
                        └──────────── RST_STREAM from either side ─────────────▶ closed

| a frame comes in | idle                  | open              | half-closed       | closed                         |
|------------------|-----------------------|-------------------|-------------------|--------------------------------|
| HEADERS          | opens it              | trailers          | STREAM_CLOSED     | STREAM_CLOSED for the          |
|                  |                       |                   |                   | connection, or PROTOCOL_ERROR  |
| DATA             | ends the connection   | to the stream     | STREAM_CLOSED     | STREAM_CLOSED                  |
| RST_STREAM       | ends the connection   | closed            | closed            | ignored                        |
| WINDOW_UPDATE    | ends the connection   | more may be sent  | more may be sent  | ignored                        |
| PRIORITY         | ignored               | ignored           | ignored           | ignored                        |

Whatever comes for a stream that this server has reset a moment ago is ignored: the client did not know yet.
"""
