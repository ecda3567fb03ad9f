"""Applications of the frameworks, under the shipped config: counted to the request, and what they
answer is what they answer without us."""

import http.client

import pytest

from ..bounds import WAIT
from .classes import CLASSES, has
from .servers import Server, eventually
from .test_worker_classes import echoing, open_ones

ASKED = [
    ("GET", "/item/7", None, 200),
    ("GET", "/item/70", None, 404),
    ("POST", "/echo", b'{"a": [1, 2, 3]}', 201),
    ("GET", "/stream", None, 200),
    ("GET", "/later", None, 200),
    ("GET", "/file", None, 200),
    ("GET", "/nowhere", None, 404),
    ("GET", "/boom", None, 500),
    ("HEAD", "/item/7", None, None),
]
ROUNDS = 5
CASES = [
    ("flask", "wsgi", "gthread"),
    ("flask", "wsgi", "gevent"),
    ("django", "wsgi", "gthread"),
    ("django", "asgi", "asgi"),
    ("django", "asgi", "uvicorn_worker.UvicornWorker"),
    ("fastapi", "asgi", "asgi"),
    ("fastapi", "asgi", "uvicorn_worker.UvicornWorker"),
]


def answers(server):
    """Ask all there is, some times over on one connection; returns statuses, headers, bodies."""
    client = http.client.HTTPConnection(*server.address, timeout=WAIT)
    seen = []
    for _ in range(ROUNDS):
        for method, path, body, _ in ASKED:
            headers = {"Content-Type": "application/json"} if body else {}
            client.request(method, path, body, headers)
            answer = client.getresponse()
            kept = sorted((k, v) for k, v in answer.getheaders() if k.lower() != "date")
            seen.append((answer.status, kept, answer.read()))
            if path == "/boom":
                client.close()  # as some servers do, though they did not say so
    client.close()
    return seen


@pytest.mark.parametrize(("framework", "interface", "name"), CASES)
def test_frameworks(tmp_path, framework, interface, name):
    """Each answer is the one that the bare server gives, and each is counted once."""
    if not has("current", framework):
        pytest.skip(f"no {framework} here")
    kind = CLASSES[name]
    kind.available("current")
    app = f"framework_{framework}:{interface}"
    args = ["--workers", "1", "--env", "DJANGO_ALLOW_ASYNC_UNSAFE=1", *kind.args]
    with Server(tmp_path, *args, app=app, conf=None, tracebacks=None) as bare:
        expected = answers(bare)
        bare.kill()
    with Server(tmp_path, *args, app=app, tracebacks=None) as server:
        server.ready(1)
        assert answers(server) == expected
        total = ROUNDS * len(ASKED)
        after = eventually(
            lambda: (s := server.settled())["requests"] >= total and s, "all of them counted"
        )
        assert after["requests"] == total
        for hundreds in range(1, 6):
            seen = sum(status // 100 == hundreds for status, _, _ in expected)
            assert after["responses"][f"{hundreds}xx"] == seen
        for (_, _, _, status), (got, _, _) in zip(ASKED * ROUNDS, expected, strict=True):
            assert status is None or got == status
        # the others turn it into a response of their own
        assert after["errors"] == (ROUNDS if framework == "fastapi" else 0)
        if framework == "fastapi":
            one = echoing(server)
            open_ones(server, 1)
            one.close()
            open_ones(server, 0)
        assert server.warnings() == []
        server.kill()
