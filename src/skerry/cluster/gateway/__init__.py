"""What router and kube-proxy would do: an HTTP request for a Route or a Service goes to a ready pod.

Two halves that meet in one file, the routing table (`table.py`).

- The daemon's half computes the table from Routes, Services and EndpointSlices (`plan.py`), writes it when it changes
  (`publisher.py`) and keeps the gateway process alive (`process.py`).
- The process half, `python -m skerry.cluster.gateway`, reads the table at its start and on SIGHUP and carries the
  traffic. It lives in its own session: the daemon may be killed at any moment and no request notices. It imports
  asyncio, uvloop, httptools and msgspec, and nothing else that weighs.

Follow a request: `door.py` (which protocol is spoken) → `client.py` (heads of requests, pipelining, keep-alive) →
`routing.py` and `balance.py` (Host and path → Route → pod) → `exchange.py` (one request and its answer, the owner of
both connections while it lasts) → `upstream.py` (connections to pods).
"""
