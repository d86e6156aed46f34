"""Conversations with pods over a WebSocket; nothing of it is loaded before the first one.

    handshake        which subprotocol, or why not
    remote_command   exec and attach: one channel a standard stream, v4 and v5 of `channel.k8s.io`
    port_channels    port-forward as Python clients do it: two channels a port
    port_tunnel      port-forward as kubectl does it: SPDY/3.1 inside the WebSocket
    spdy             the frames of SPDY/3.1

Facts: k8s.io/apimachinery `pkg/util/remotecommand`, `pkg/util/httpstream`, the SPDY/3.1 draft, and what kubectl sends.
"""
