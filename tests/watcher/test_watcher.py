"""The Watcher's routes and headers, what it escapes, whom it lets reset, where it redirects to."""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import pytest

from gunicorn_raindrops import Watcher
from gunicorn_raindrops.watcher import pages, tail

from ..conftest import settled
from .stepped import HOST, NAME, Stepped

RUBBISH = "8\x00\x1b[31m<b>'\"&\u202e\udcff\n" * 600
HOSTILE = "@<script>alert('\"&')</script>\x1b[2J\x00\n\udcff\u202e\u00e9../%2e"
ESCAPED = "@<script>alert('\"&')</script>\\x1b[2J\\x00\\n\\xff\\u202e\u00e9../%2e"
AGO = "Thu, 01 Jan 1970 00:00:00 GMT"
HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")


@pytest.fixture
def stepped(monkeypatch: Any) -> Iterator[Stepped]:
    stepped = Stepped(monkeypatch, {HOSTILE: (7, 8), NAME: (0, 3)})
    yield stepped
    stepped.app.close()


class Page(HTMLParser):
    """What a browser would see: tags, texts, links and the buttons' targets."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.links: list[str] = []
        self.feed(body.decode("ascii"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "action")]
        assert {name for name, _ in attrs} <= {
            "action", "aria-label", "content", "href", "lang", "method", "name", "scope", "title",
            "type", "value",
        }  # fmt: skip

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_figures(stepped: Stepped) -> None:
    """Each header of both kinds, and the drawing."""
    for active in (3, 4):
        stepped.step({NAME: (active, 3)})
    status, headers, body = stepped.ask(f"/active/{NAME}.txt")
    dates = {name: headers.pop(name) for name in list(headers) if HTTP_DATE.match(headers[name])}
    assert list(dates) == ["X-Last-Reset", "X-First-Peak-At", "X-Last-Peak-At", "Expires"]
    assert (status, headers) == (
        200,
        {
            "X-Count": "3",
            "X-Min": "0",
            "X-Max": "4",
            "X-Mean": "2.3333333333333335",
            "X-Std-Dev": "2.081665999466133",
            "X-Outliers-Low": "1",
            "X-Outliers-High": "0",
            "X-Current": "4",
            "Content-Type": "text/plain",
            "Content-Length": str(len(body)),
            "X-Content-Type-Options": "nosniff",
        },
    )
    assert len(body.splitlines()) == 5
    headers = stepped.ask(f"/queued/{NAME}.txt")[1]
    assert (headers["X-Min"], headers["X-Max"], headers["X-Std-Dev"]) == ("3", "3", "0.0")


def test_index(stepped: Stepped) -> None:
    """All listeners, sorted, each with the ways to its pages, which answer."""
    status, headers, body = stepped.ask("/")
    page = Page(body)
    assert (status, headers["Content-Type"]) == (200, "text/html")
    assert all(HTTP_DATE.fullmatch(headers[name]) for name in ("Last-Modified", "Expires"))
    texts = [text for text in page.texts if text in (NAME, ESCAPED) or text.isdigit()]
    assert texts == [NAME, "0", "3", ESCAPED, "7", "8"]
    assert len(page.links) == 8
    assert page.links[4] == (
        "tail/%40%3Cscript%3Ealert%28%27%22%26%27%29%3C%2Fscript%3E%1B%5B2J%00%0A%FF%E2%80%AE"
        "%C3%A9..%2F%252e.txt"
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 404),
        ("GET", "/nope", 404),
        ("GET", "/active/.txt", 404),
        ("GET", f"/active/{NAME}.json", 404),
        ("GET", f"/reset/{NAME}", 404),
        ("POST", "/", 404),
        ("POST", f"/tail/{NAME}.txt", 404),
        ("POST", "/reset/", 404),
        ("POST", "/reset/nobody", 404),
        ("PUT", "/", 405),
        ("DELETE", f"/reset/{NAME}", 405),
        ("GET", "/active/nobody.html", 200),
    ],
)
def test_statuses(stepped: Stepped, method: str, path: str, status: int) -> None:
    """As the original's; what is wrong has a reason as text."""
    found, headers, body = stepped.ask(path, method)
    assert found == status
    assert headers["Content-Length"] == str(len(body))
    assert headers.get("Allow") == ("GET, HEAD, POST" if status == 405 else None)


@pytest.mark.parametrize("path", ["/", f"/active/{NAME}.txt", f"/queued/{NAME}.html", "/nope"])
def test_head(stepped: Stepped, path: str) -> None:
    """Is GET without its body."""
    assert stepped.ask(path, "HEAD") == (*stepped.ask(path)[:2], b"")


def test_head_of_a_tail(stepped: Stepped) -> None:
    """Does not wait for a line."""
    status, headers, body = stepped.ask(f"/tail/{NAME}.txt", "HEAD")
    assert (status, body) == (200, b"")
    assert (headers["Cache-Control"], headers["Expires"]) == ("no-transform", AGO)


def test_tail(stepped: Stepped) -> None:
    """A line for each sample that has enough of both, none for a failure, to the end of the
    sampler; the name is escaped."""
    body = stepped.open(
        f"/tail/{HOSTILE}.txt".encode(errors="surrogateescape").decode("latin-1"),
        QUERY_STRING="active_min=2&queued_min=1",
    )[2]
    lines: list[bytes] = []
    failure = OSError("no kernel")
    for found in ({HOSTILE: (2, 1)}, failure, {HOSTILE: (1, 9)}, {HOSTILE: (9, 0)}, {},
                  {HOSTILE: (12, 3)}):  # fmt: skip
        stepped.step_when_awaited(found)
        lines.append(next(body))
    stamp = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")
    name = ESCAPED.encode()
    assert [stamp.sub(b"", line) for line in lines] == [
        name + b"          2          1\n", b"", b"", b"", b"", name + b"         12          3\n"
    ]  # fmt: skip
    stepped.app.close()
    assert list(body) == []


@pytest.mark.parametrize(
    ("query", "least"),
    [
        ("", (0, 0)),
        ("active_min=5", (5, 0)),
        ("queued_min=+7&active_min=-3", (-3, 7)),
        ("queued_min=%2B7", (0, 7)),
        ("active_min=12abc&queued_min=abc", (12, 0)),
        ("active_min=1&active_min=2", (2, 0)),
        ("active_min=" + "9" * 9000, (10**18 - 1, 0)),
        ("active_min&&=&%zz=%ff", (0, 0)),
    ],
)
def test_queries(query: str, least: tuple[int, int]) -> None:
    """An integer that a value begins with, else 0."""
    assert tail.least_of(query) == least


def test_who_has_gone() -> None:
    """A TCP client that closed; of others it is not known."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted = listener.accept()[0]
        with client, accepted:
            assert not tail.has_gone(accepted)
            client.close()
            assert settled(lambda: tail.has_gone(accepted), True)
        assert not any(map(tail.has_gone, (None, accepted)))


def test_a_tail_ends_with_its_client(monkeypatch: Any, stepped: Stepped) -> None:
    """Even if there is never a line for it."""
    monkeypatch.setattr(tail, "has_gone", lambda sock: sock == "gone")
    body = stepped.open("/tail/nobody.txt", **{"gunicorn.socket": "gone"})[2]
    stepped.step_when_awaited({})
    assert list(body) == []


# Hostile names.


def test_hostile_pages(stepped: Stepped) -> None:
    """A listener's name and a client's rubbish are text, cut, and nothing else."""
    for name, expected in ((HOSTILE, ESCAPED), (RUBBISH, None)):
        path = f"/active/{name}.html".encode(errors="surrogateescape").decode("latin-1")
        status, headers, body = stepped.ask(path)
        page = Page(body)
        assert status == 200
        assert "script" not in page.tags and "b" not in page.tags
        heading = page.texts[page.texts.index("active connections") - 1]
        assert heading == expected or (expected is None and heading.endswith("..."))
        assert len(heading) <= pages.LONGEST_NAME
        assert all(text.replace("\n", "").isprintable() for text in page.texts)
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha")
    assert Page(stepped.ask("/")[2]).tags.isdisjoint({"script", "b", "img"})


def test_links_lead_back(stepped: Stepped) -> None:
    """To the listener, whatever its name, as a server decodes them."""
    links = Page(stepped.ask("/")[2]).links
    for link in links[4:6]:
        path = urlsplit(urljoin("http://x/", link)).path
        name = unquote_to_bytes(path.rsplit("/", 1)[1].rpartition(".")[0])
        assert os.fsdecode(name) == HOSTILE


# Resets.


def reset(stepped: Stepped, name: str = NAME, **environ: str) -> tuple[int, dict[str, str], bytes]:
    """Return the answer to a reset; the sample that it waits for is taken, if it does."""
    stepped.step_when_awaited(stepped.found)
    return stepped.ask(f"/reset/{name}", "POST", **environ)


def test_reset(stepped: Stepped) -> None:
    """The figures of one listener begin anew, both kinds."""
    for _ in range(3):
        stepped.step(stepped.found)
    status, headers, body = reset(stepped)
    assert (status, headers["Location"], headers["Content-Type"]) == (302, "/", "text/plain")
    assert headers["Content-Length"] == str(len(body))
    other = HOSTILE.encode(errors="surrogateescape").decode("latin-1")
    counts = [
        stepped.ask(f"/{kind}/{name}.txt")[1]["X-Count"]
        for name in (NAME, other)
        for kind in ("active", "queued")
    ]
    assert counts == ["1", "1", "5", "5"]


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({}, 302),
        ({"HTTP_ORIGIN": f"http://{HOST}"}, 302),
        ({"HTTP_ORIGIN": f"https://{HOST}", "HTTP_SEC_FETCH_SITE": "same-origin"}, 302),
        ({"HTTP_ORIGIN": "http://evil.example"}, 403),
        ({"HTTP_ORIGIN": "null"}, 403),
        ({"HTTP_ORIGIN": f"http://{HOST}.evil.example"}, 403),
        ({"HTTP_SEC_FETCH_SITE": "cross-site"}, 403),
        ({"HTTP_SEC_FETCH_SITE": "same-site", "HTTP_ORIGIN": "http://other.example"}, 403),
    ],
)
def test_who_may_reset(stepped: Stepped, environ: dict[str, str], status: int) -> None:
    """Anybody but another site's page, which changes nothing."""
    stepped.step(stepped.found)
    assert reset(stepped, **environ)[0] == status
    count = stepped.ask(f"/active/{NAME}.txt")[1]["X-Count"]
    assert count == {302: "1", 403: "2"}[status]


@pytest.mark.parametrize(
    ("referer", "mount", "location"),
    [
        ("/", "", "/"),
        (f"/active/{NAME}.html", "", "/active/127.0.0.1%3A80.html"),
        ("/queued/%2Frun%2F%C3%A9.html?x#y", "", "/queued/%2Frun%2F%C3%A9.html"),
        ("/watch/active/x.html", "/watch", "/watch/active/x.html"),
        ("/watch/", "/watch", "/watch/"),
        ("/elsewhere", "", "/"),
        ("/active/x.txt", "", "/"),
        ("//evil.example/active/x.html", "", "/"),
        ("/active/x\r\nX-Evil: 1.html", "", "/active/xX-Evil%3A%201.html"),
        ("//evil.example/active/x.html", "//evil.example", "/evil.example/active/x.html"),
        ("/", "/\\evil.example", "/%5Cevil.example/"),
    ],
)
def test_redirects(stepped: Stepped, referer: str, mount: str, location: str) -> None:
    """To the page whose button it was, or the index, below where the Watcher is mounted; always a
    path of one slash."""
    environ = {"HTTP_REFERER": f"http://{HOST}{referer}", "SCRIPT_NAME": mount}
    assert reset(stepped, **environ)[1]["Location"] == location


@pytest.mark.parametrize(
    "referer",
    [
        "http://evil.example/active/x.html",
        f"http://{HOST}@evil.example/active/x.html",
        f"javascript://{HOST}/active/x.html",
        "http://[/active/x.html",
    ],
)
def test_foreign_referers(stepped: Stepped, referer: str) -> None:
    """Are not followed, whatever Host says."""
    assert reset(stepped, HTTP_REFERER=referer)[1]["Location"] == "/"


# The rest.


def test_a_failure_is_told_once(stepped: Stepped, caplog: Any) -> None:
    """And the pages go on with what was last known."""
    stepped.step({NAME: (5, 0)})
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            stepped.step(OSError(1, "no"))
    assert len(caplog.records) == 1
    assert stepped.ask(f"/active/{NAME}.txt")[1]["X-Current"] == "5"
    stepped.step({NAME: (6, 0)})
    assert stepped.ask(f"/active/{NAME}.txt")[1]["X-Count"] == "3"


def test_a_forked_child_has_its_own(fork: Callable[..., Any], stepped: Stepped) -> None:
    """Thread and figures, even if the parent's lock was held; the parent's go on."""
    stepped.step(stepped.found)
    with stepped.sampler._turned:
        child = fork(in_child, stepped)
    assert child.link.hear() == b"1"
    child.check()
    assert stepped.ask(f"/active/{NAME}.txt")[1]["X-Count"] == "2"


def in_child(link: Any, stepped: Stepped) -> None:
    count = stepped.ask(f"/active/{NAME}.txt")[1]["X-Count"]
    assert threading.active_count() == 2
    stepped.app.close()
    link.say(count.encode())


def test_close(stepped: Stepped) -> None:
    """Ends the thread; a later request begins anew. Where there was none it does nothing."""
    before = threading.active_count()
    stepped.app.close()
    stepped.step(stepped.found)
    assert threading.active_count() == before + 1
    stepped.app.close()
    assert settled(threading.active_count, before) == before
    assert stepped.ask(f"/active/{NAME}.txt")[1]["X-Count"] == "1"


def test_real_listeners() -> None:
    """Those named, of any kind, and all by default."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"\0grd-{os.getpid()}")
        unix.listen(3)
        names = {f"127.0.0.1:{tcp.getsockname()[1]}", f"@grd-{os.getpid()}"}
        for asked in (names, f"unix:@grd-{os.getpid()}", None, []):
            app = Watcher(asked)
            found = set(app._sampler().snapshot.listeners)
            app.close()
            if asked == names:
                assert found == names
            elif asked:
                assert found == {f"@grd-{os.getpid()}"}
            else:
                assert found >= names


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((["nonsense:port"],), ValueError),
        (("127.0.0.1",), ValueError),
        (([5],), TypeError),
        ((b"/run/x",), TypeError),
        ((5,), TypeError),
        ((None, 0), ValueError),
        ((None, float("nan")), ValueError),
        ((None, "1"), TypeError),
    ],
)
def test_wrong_arguments(args: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Watcher(*args)
