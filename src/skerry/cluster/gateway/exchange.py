"""One request and its answer: the only owner of the two connections while it lasts.

    CONNECTING ──connected──▶ HEAD ──final head──▶ BODY ──last byte──▶ DONE
        ▲                     │ │ 101
        └──refused, stale─────┘ └──▶ TUNNEL ──either side closes──▶ DONE

Bodies stream both ways with back-pressure. A second attempt is made on another pod when a connection is refused, and
on a fresh connection when a kept one turns out closed before it answered a byte. A pod that takes a request and dies
over it is not such a case (it shows later than `_STALE_WINDOW`): the request may be what killed it.

Time-outs: the client's while it is the client that is waited for, the route's while it is the pod.
"""

import enum
import time
from typing import TYPE_CHECKING, Final

from skerry.cluster.gateway import forward
from skerry.cluster.gateway.answer import Answer
from skerry.cluster.gateway.attempts import Attempts
from skerry.cluster.gateway.framing import Chunked, Empty, Framing, Length, MalformedBody
from skerry.cluster.gateway.head import BadHead, RequestHead, ResponseHead, parse_response
from skerry.cluster.gateway.incoming import Incoming
from skerry.cluster.gateway.outgoing import Outgoing

if TYPE_CHECKING:
    from skerry.cluster.gateway.balance import Target
    from skerry.cluster.gateway.client import Client
    from skerry.cluster.gateway.core import Gateway
    from skerry.cluster.gateway.endpoint import Endpoint
    from skerry.cluster.gateway.prepared import Prepared
    from skerry.cluster.gateway.upstream import Upstream

_STALE_WINDOW: Final = 1.0
_CLIENT_LEFT: Final = 499  # nginx's code for a client that did not wait
_SWITCHING: Final = 101


class Phase(enum.Enum):
    """Where the exchange is."""

    CONNECTING = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    TUNNEL = enum.auto()
    DONE = enum.auto()


# In Python 3.11 `Phase.HEAD` runs a method of the metaclass each time; these are read on every packet.
_CONNECTING: Final = Phase.CONNECTING
_HEAD: Final = Phase.HEAD
_BODY: Final = Phase.BODY
_TUNNEL: Final = Phase.TUNNEL
_DONE: Final = Phase.DONE


class Exchange:
    """Made by the client's connection when a request head is complete; `start` comes next."""

    __slots__ = (
        "_answer",
        "_attempts",
        "_began",
        "_client",
        "_fresh",
        "_gateway",
        "_half_closed",
        "_incoming",
        "_interim",
        "_outgoing",
        "_phase",
        "_prepared",
        "_request",
        "_reused",
        "_route",
        "_sent_at",
        "_status",
        "_target",
        "_upstream",
    )

    def __init__(self, client: "Client", prepared: "Prepared", gateway: "Gateway") -> None:
        self._client = client
        self._gateway = gateway
        self._prepared = prepared
        self._request = request = prepared.head
        self._route = prepared.route
        self._outgoing = Outgoing(prepared.to_pod, _framing(request), gateway.limits.replay)
        self._incoming = Incoming()
        self._phase = _CONNECTING
        self._answer: Answer | None = None
        self._attempts = Attempts(prepared, client, gateway)
        self._target: Target | None = None
        self._upstream: Upstream | None = None
        self._reused = False
        self._fresh = False
        self._sent_at = 0.0
        self._interim = False
        self._half_closed = False
        self._status = 0
        self._began = time.perf_counter()
        self._route.tally.in_flight += 1

    # What the client's connection calls.

    @property
    def wants_half_open(self) -> bool:
        """A client that said it is done may close its side before it has the answer; others that close have left."""
        return self._phase is _TUNNEL or (self._outgoing.complete and not self._request.keep_alive)

    def start(self, data: bytes) -> int:
        """Choose a pod and send it the request; return how much of `data`, which follows the head, was taken."""
        try:
            taken = len(self._outgoing.take(data)) if data else 0
        except MalformedBody as error:
            self._fail(400, str(error))
            return len(data)
        self._route.tally.bytes_in += taken
        self._attempt()
        return taken

    def request_data(self, data: bytes) -> int:
        """Forward what belongs to this request; return how much of `data` that was."""
        if self._phase is _TUNNEL:
            piece = data
            self._client.deadline.set(self._route.rule.tunnel_timeout)
        elif self._outgoing.complete:
            return 0
        else:
            try:
                piece = self._outgoing.take(data)
            except MalformedBody as error:
                self._fail(400, str(error))
                return len(data)
        self._route.tally.bytes_in += len(piece)
        if self._upstream is not None:
            self._upstream.write(piece)
            if self._phase is not _TUNNEL:
                self._wait()
        return len(piece)

    def client_ended(self) -> None:
        """The client has closed its side of a tunnel."""
        if self._phase is not _TUNNEL:
            return
        if self._half_closed:
            self._hang_up()
            return
        self._half_closed = True
        if self._upstream is not None:
            self._upstream.end_writing()
        self._client.deadline.set(self._gateway.timeouts.linger)

    def client_lost(self) -> None:
        """The client has gone: the pod need not go on."""
        if self._phase is not _DONE:
            self._status = self._status or _CLIENT_LEFT
            self._end(reuse=False)

    def client_full(self) -> None:
        """The client reads more slowly than the pod sends."""
        if self._upstream is not None:
            self._upstream.pause()
        if self._phase is _BODY:
            self._client.deadline.set(self._gateway.timeouts.client)

    def client_drained(self) -> None:
        if self._upstream is not None:
            self._upstream.resume()
        if self._phase is _BODY:
            self._client.deadline.set(self._route.rule.timeout)

    def expired(self) -> None:
        """Nobody did anything in time."""
        if self._phase is _HEAD or self._phase is _CONNECTING:
            if self._client_owes():
                self._fail(408, "the request's body stopped coming")
            else:
                self._fail(504, f"the pod did not answer within {self._route.rule.timeout:g} s")
        else:
            self._hang_up()

    # What the connection to the pod calls.

    def connected(self, upstream: "Upstream") -> None:
        """A connection that was asked for is there."""
        if self._phase is not _CONNECTING:
            self._gateway.rest(upstream)
            return
        self._begin(upstream, reused=False)

    def connect_failed(self, endpoint: "Endpoint") -> None:
        """A pod refuses connections, or does not answer at all: another one may do better."""
        if self._phase is not _CONNECTING:
            return
        self._drop_target()
        if self._attempts.refused(endpoint):
            self._attempt()
        else:
            self._unavailable()

    def response_data(self, data: bytes) -> None:
        """Bytes from the pod."""
        if self._phase is _BODY:
            self._forward_body(data)
        elif self._phase is _TUNNEL:
            self._client.write(data)
            self._route.tally.bytes_out += len(data)
            self._client.deadline.set(self._route.rule.tunnel_timeout)
        else:
            self._read_heads(data)

    def upstream_ended(self) -> bool:
        """The pod has closed its side; True keeps ours open."""
        if self._phase is _TUNNEL and not self._half_closed:
            self._half_closed = True
            self._client.end_writing()
            self._client.deadline.set(self._gateway.timeouts.linger)
            return True
        self.upstream_lost()
        return False

    def upstream_lost(self) -> None:
        """The connection to the pod is gone."""
        if self._phase is _TUNNEL:
            self._hang_up()
        elif self._phase is _BODY:
            if self._answer is not None and self._answer.ends_with_connection:
                self._end(reuse=False)
                self._client.finished(keep=False, unread=not self._outgoing.complete)
            else:
                self._hang_up()
        elif self._phase is _HEAD:
            self._upstream_silent()

    def upstream_full(self) -> None:
        """The pod reads more slowly than the client sends."""
        self._client.pause()
        if self._phase is _HEAD:
            self._wait()

    def upstream_drained(self) -> None:
        self._client.resume()
        if self._phase is _HEAD:
            self._wait()

    # The request's way.

    def _attempt(self) -> None:
        target = self._attempts.choose()
        if target is None:
            self._unavailable()
            return
        if self._attempts.prepared is not self._prepared:
            self._move(self._attempts.prepared)
        self._target = target
        target.endpoint.active += 1
        upstream = None if self._fresh else target.endpoint.reuse()
        if upstream is not None:
            self._begin(upstream, reused=True)
            return
        self._phase = _CONNECTING
        self._client.deadline.clear()  # connecting has a time-out of its own
        if not self._outgoing.complete:
            self._client.pause()
        self._gateway.connect(target.endpoint, self)

    def _move(self, prepared: "Prepared") -> None:
        """Belong to another route: the table has changed, and only the new one has a pod."""
        self._route.tally.in_flight -= 1
        self._prepared, self._route = prepared, prepared.route
        self._route.tally.in_flight += 1
        self._outgoing.head = prepared.to_pod

    def _begin(self, upstream: "Upstream", *, reused: bool) -> None:
        self._phase = _HEAD
        self._upstream = upstream
        self._reused = reused
        if reused:
            self._sent_at = self._gateway.time()
        upstream.serve(self)
        upstream.write(self._outgoing.start())
        if not upstream.paused:
            self._client.resume()
        self._wait()

    def _wait(self) -> None:
        owes = self._phase is _HEAD and self._client_owes()
        timeout = self._gateway.timeouts.client if owes else self._route.rule.timeout
        self._client.deadline.set(timeout)

    def _client_owes(self) -> bool:
        return not self._outgoing.complete and self._upstream is not None and not self._upstream.paused

    def _upstream_silent(self) -> None:
        """The pod closed without a complete head."""
        stale = (
            self._reused
            and not self._incoming.started
            and self._outgoing.replayable
            and self._gateway.time() - self._sent_at < _STALE_WINDOW
        )
        if not stale:
            self._fail(502, "the pod closed the connection before it had answered")
            return
        self._drop_target()
        self._fresh = True
        self._attempt()

    # The answer's way.

    def _read_heads(self, data: bytes) -> None:
        known = self._prepared.answer
        if known is not None and self._answers_again(known, data):
            self._begin_answer(known, data[len(known.data) :])
            return
        limits = self._gateway.limits
        try:
            while (raw := self._incoming.next_head(data, limits.head)) is not None:
                data = b""
                head = parse_response(raw, limits.headers)
                if head.status >= 200:
                    self._work_out(raw, head)
                    return
                if head.status == _SWITCHING:
                    self._switch(head)
                    return
                self._forward_interim(head)
        except BadHead as error:
            self._fail(502, f"the pod's answer cannot be read: {error.why}")

    def _answers_again(self, known: Answer, data: bytes) -> bool:
        """Tell whether this is the answer that the request got the last time, so that nothing need be worked out."""
        return (
            known.target is self._target
            and data.startswith(known.data)
            and not self._incoming.started
            and not self._gateway.draining
        )

    def _forward_interim(self, head: ResponseHead) -> None:
        self._interim = True
        self._wait()
        if self._request.modern:
            self._client.write(forward.response_bytes(head, b""))

    def _work_out(self, raw: bytes, head: ResponseHead) -> None:
        target = self._target
        assert target is not None
        request = self._request
        # A client that was not told to continue may send its body now, or not: nobody could tell.
        unsure = request.expects_continue and not self._interim and not self._outgoing.complete
        last = unsure or self._gateway.draining
        pin = target.cookie if self._route.cookie and self._prepared.pinned != target.cookie else b""
        answer = Answer(raw, head, request, self._route.rule, pin, target, last=last)
        if not last and not request.expects_continue:
            self._prepared.answer = answer
        self._begin_answer(answer, self._incoming.partial)

    def _begin_answer(self, answer: Answer, data: bytes) -> None:
        self._answer = answer
        self._status = answer.status
        self._phase = _BODY
        self._outgoing.forget()
        self._incoming.begin_body(answer)
        self._forward_body(data, answer.start)

    def _forward_body(self, data: bytes, start: bytes = b"") -> None:
        incoming = self._incoming
        try:
            piece = incoming.take(data)
        except MalformedBody:
            self._client.write(start)
            self._hang_up()
            return
        self._route.tally.bytes_out += len(piece)
        if start or piece:
            self._client.write(start + piece if start else piece)
        if incoming.complete:
            self._finish()
        elif self._phase is _BODY and not self._client.full:
            self._client.deadline.set(self._route.rule.timeout)

    def _switch(self, head: ResponseHead) -> None:
        if not self._request.upgrade:
            self._fail(502, "the pod switched protocols, which nobody had asked for")
            return
        self._status = _SWITCHING
        self._phase = _TUNNEL
        upgrade = b"\r\nconnection: upgrade\r\nupgrade: " + (head.upgrade or self._request.upgrade)
        self._client.write(forward.response_bytes(head, upgrade) + self._incoming.partial)
        self._client.deadline.set(self._route.rule.tunnel_timeout)
        self._client.tunnel()

    # The end.

    def _finish(self) -> None:
        complete = self._outgoing.complete
        upstream, answer = self._upstream, self._answer
        assert upstream is not None
        assert answer is not None
        self._end(reuse=complete and answer.keep_pod and not self._incoming.surplus and not upstream.paused)
        self._client.finished(keep=answer.keep_client, unread=not complete)

    def _unavailable(self) -> None:
        self._status = 503
        self._end(reuse=False)
        self._client.unavailable(body=self._request.method != b"HEAD")

    def _fail(self, status: int, why: str) -> None:
        """Answer in the pod's place; nothing of the final answer has been sent."""
        self._status = status
        self._end(reuse=False)
        self._client.refuse(status, why, body=self._request.method != b"HEAD")

    def _hang_up(self) -> None:
        """Close both sides: a tunnel ends, or an answer breaks off, which the client must see."""
        self._end(reuse=False)
        self._client.close()

    def _drop_target(self) -> None:
        target, self._target = self._target, None
        if target is not None:
            target.endpoint.active -= 1
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.close()

    def _end(self, *, reuse: bool) -> None:
        tunnel = self._phase is _TUNNEL
        self._phase = _DONE
        if self._upstream is not None and (reuse or tunnel):
            upstream, self._upstream = self._upstream, None
            if reuse:
                self._gateway.rest(upstream)
            else:
                upstream.finish()
        self._drop_target()
        tally = self._route.tally
        tally.in_flight -= 1
        seconds = time.perf_counter() - self._began
        tally.count(self._status, seconds)
        if self._gateway.access_log:
            self._gateway.log_access(self._client, self._request, self._route, self._status, seconds)


def _framing(request: RequestHead) -> Framing:
    if request.chunked:
        return Chunked()
    return Length(request.length) if request.length else Empty()
