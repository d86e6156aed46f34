"""`kubectl exec` and `kubectl cp`, both versions, against real containers."""

import pytest
from tests.streams.talking import PROGRAMS, Streaming

pytestmark = pytest.mark.skipif(not PROGRAMS, reason="kubectl is not installed")


@pytest.mark.parametrize("program", sorted(PROGRAMS))
async def test_output_and_exit_code(server: Streaming, program: str) -> None:
    await server.pod(env=[{"name": "COLOUR", "value": "blue"}])
    kubectl = server.kubectl(program)
    said = await kubectl.run("exec", "-n", "ai-demo", "bee", "--", "sh", "-c", "echo $COLOUR; echo bad >&2; exit 3")
    assert said == ("blue\n", "bad\ncommand terminated with exit code 3\n", 3)
    assert await kubectl("exec", "-n", "ai-demo", "bee", "-i", "--", "cat", stdin="in and out") == "in and out"
