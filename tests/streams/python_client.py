"""What a user of the `kubernetes` Python client writes; run as `python python_client.py KUBECONFIG CASE…`.

A process of its own: the client leaves sockets for the garbage collector, which is an error among the tests; and one
for all cases, since it takes seconds to load. A case is a function's name, with `/v4` for the older protocol.
"""

import contextlib
import http.client
import sys
from collections.abc import Callable, Iterator
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream

protocol = ""


@contextlib.contextmanager
def core() -> Iterator[client.CoreV1Api]:
    """A client of its own for each call: `stream` changes the one that it is given."""
    with config.new_client_from_config(sys.argv[1]) as api:  # type: ignore[no-untyped-call]
        if protocol:
            api.set_default_header("sec-websocket-protocol", f"{protocol}.channel.k8s.io")
        yield client.CoreV1Api(api)


def execute() -> None:
    asked = {"name": "bee", "namespace": "ai-demo", "stdout": True, "stderr": True, "tty": False}
    with core() as api:
        said = stream(api.connect_get_namespaced_pod_exec, command=["echo", "a b", "c"], stdin=False, **asked)
        assert said == "a b c\n", said
    with core() as api:
        command = ["sh", "-c", "read line; echo got $line; echo oops >&2; exit 7"]
        call = api.connect_get_namespaced_pod_exec
        talk = stream(call, command=command, stdin=True, _preload_content=False, **asked)
        talk.write_stdin("hello\n")
        talk.run_forever(timeout=20)
        ended = (talk.read_stdout(), talk.read_stderr(), talk.returncode)
        assert ended == ("got hello\n", "oops\n", 7), ended


def error_of(call: Callable[[client.CoreV1Api], object]) -> ApiException:
    """Do what is refused."""
    with core() as api:
        try:
            call(api)
        except ApiException as error:
            return error
    raise AssertionError("not refused")


def refusals() -> None:
    def ask(name: str, **more: Any) -> ApiException:
        asked = {"name": name, "namespace": "ai-demo", "stdout": True, **more}
        return error_of(lambda api: stream(api.connect_get_namespaced_pod_exec, **asked))

    absent = str(ask("nobody", command=["true"]))
    assert "404 Not Found" in absent, absent
    assert "nobody" in absent, absent
    assert "400 Bad Request" in str(ask("bee"))
    # A plain request, as made without `stream`.
    plain = error_of(lambda api: api.connect_get_namespaced_pod_exec("bee", "ai-demo", command=["true"], stdout=True))
    assert plain.status == 400, plain
    assert "Upgrade request required" in str(plain), plain


def leave() -> None:
    with core() as api:
        call = api.connect_get_namespaced_pod_exec
        talk = stream(call, "bee", "ai-demo", command=["sleep", "4244"], stdout=True, _preload_content=False)
        talk.close()


def forward() -> None:
    with core() as api:
        forwards = portforward(api.connect_get_namespaced_pod_portforward, "ports", "ai-demo", ports="8001,8002,9")
        greeting, mirror = forwards.socket(8001), forwards.socket(8002)
        greeting.settimeout(20)
        mirror.settimeout(20)
        assert greeting.recv(100) == b"hello from port 8001"
        mirror.sendall(b"x" * 100_000)
        seen = b""
        while len(seen) < 100_000:
            seen += mirror.recv(65536)
        assert "connection refused" in str(forwards.error(9)), forwards.error(9)
        mirror.sendall(b"the other ports go on")
        assert mirror.recv(100) == b"the other ports go on"
        mirror.close()


def web() -> None:
    with core() as api:
        forwards = portforward(api.connect_get_namespaced_pod_portforward, "web", "ai-demo", ports="8080")
        connection = http.client.HTTPConnection("127.0.0.1", 8080)
        connection.sock = forwards.socket(8080)
        connection.request("GET", "/etc/passwd")
        assert b"root" in connection.getresponse().read()
        connection.close()


def attach() -> None:
    with core() as api:
        call = api.connect_get_namespaced_pod_attach
        talk = stream(call, "typed", "ai-demo", stdin=True, stdout=True, _preload_content=False)
        talk.write_stdin("this\n")
        said = talk.readline_stdout(timeout=20)
        assert said == "got this", said
        talk.close()


CASES = {each.__name__: each for each in (execute, refusals, leave, forward, web, attach)}

if __name__ == "__main__":
    for case in sys.argv[2:]:
        name, _, protocol = case.partition("/")
        CASES[name]()
        sys.stdout.write(f"{case} as expected\n")
