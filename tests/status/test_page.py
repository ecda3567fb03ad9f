"""The live page: where it is, to whom it is answered, and what a browser is told about it."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from gunicorn_raindrops.settings import load
from gunicorn_raindrops.status import page
from gunicorn_raindrops.status.access import Sender
from gunicorn_raindrops.status.app import StatusApp

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
SOURCE = page.FILE.read_text()


@pytest.fixture
def app():
    """Return an app that cannot take a snapshot: the page needs none."""
    return lambda **keywords: StatusApp(
        load(keywords, {}), lambda: pytest.fail("taken"), pytest.fail
    )


def is_page(answer):
    """Tell whether an answer is the page, as a browser has to be told."""
    return (answer.status, answer.content_type) == (200, page.HTML)


def environ(path, **more):
    """What gunicorn makes of a request of this machine's."""
    made = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "REMOTE_ADDR": "127.0.0.1"}
    return {**made, "QUERY_STRING": "", **more}


# Routes.


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/_raindrops.html"])
def test_routes(app, method, path):
    """It is at / and at PATH.html, whatever is accepted, and bears the path of the status."""
    answer = app().answer(method, path)
    assert is_page(answer)
    assert b'<meta name="raindrops-path" content="/_raindrops">' in answer.body
    assert b'<meta name="raindrops-token" content="no">' in answer.body
    other = app(path="/it's/&c").answer(method, "/it's/&c.html")
    assert b'content="/it&#x27;s/&amp;c"' in other.body


@pytest.mark.parametrize("path", ["/", "/_raindrops.html"])
def test_other_methods(app, path):
    """Nothing can be sent to it, with a token in the settings or without."""
    for status in (app(), app(token="s3cret")):
        assert status.answer("POST", path).status == 405


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML ; q=0.9, text/plain;q=0.8", True),
        ("text/html;level=1;q=0.7,*/*;q=0.5", True),
        ("*/*", False),
        (None, False),
        ("", False),
        ("text/html;q=0", False),
        ("text/html, text/plain", False),
        ("text/html;q=0.5, text/*", False),
        ("text/html;q=x", False),
        ("text/html;q=1e9", False),
        ("application/json", False),
        (";q=,,;" * 1000, False),
    ],
)
def test_accept(accept, wanted):
    """HTML has to be named, and wanted more than text: curl names nothing."""
    assert page.prefers_html(accept) is wanted


def test_a_browser_at_the_path():
    """It gets the page where curl gets the text; both say that this depends."""
    text = []
    status = StatusApp(load({}, {}), lambda: text.append(1), lambda line: None)
    found = status.answer("GET", "/_raindrops", None, BROWSER)
    assert is_page(found)
    assert ("Vary", "Accept") in found.all_headers()
    assert not text
    status.answer("GET", "/_raindrops", None, "*/*")
    status.answer("GET", "/_raindrops.json", None, BROWSER)
    assert len(text) == 2


def test_a_readiness_url_there(app):
    """`ready` cannot be /, so nothing of the settings is hidden by the page."""
    with pytest.raises(ValueError, match="ready"):
        app(ready="/")


def test_on_the_applications_listeners(app):
    """PATH.html and PATH are the status's there, / is the application's; who may not read the
    status does not learn that there is a page."""
    status = app(expose=True, token="s3cret")
    for path in ("/_raindrops.html", "/_raindrops"):
        request = environ(path, HTTP_ACCEPT=BROWSER)
        assert status.exposes_to(request)
        assert is_page(status.exposed(request))
        assert not status.exposes_to({**request, "REMOTE_ADDR": "192.0.2.1"})
        assert not status.exposes_to({**request, "HTTP_VIA": "1.1 proxy"})
    assert not status.exposes_to(environ("/", HTTP_ACCEPT=BROWSER))


def test_other_status_paths_have_no_page():
    """Where other routes stand in place of the status's, the page would have nothing to ask."""
    settings = load({"path": "/other"}, {})
    status = StatusApp(settings, lambda: None, pytest.fail, {"/other": lambda *args: "the other"})
    assert status.answer("GET", "/other", None, BROWSER) == "the other"
    assert status.answer("GET", "/").status == 404
    assert not status.serves("/other.html")


# Who gets it.


def test_without_the_token(app):
    """The page holds no figures, and asks for the token; the figures need it as before."""
    status = app(token="s3cret")
    answer = status.answer("GET", "/_raindrops", None, BROWSER)
    assert is_page(answer)
    assert b'<meta name="raindrops-token" content="yes">' in answer.body
    assert b"s3cret" not in answer.body
    assert status.answer("GET", "/_raindrops.json", None, BROWSER).status == 401


@pytest.mark.parametrize(
    ("sender", "refusal"),
    [
        (Sender("127.0.0.1:9180"), None),
        (Sender("127.0.0.1:9180", fetch_site="same-origin"), None),
        (Sender("evil.example:9180"), 421),
        (Sender("127.0.0.1:9180", "https://evil.example"), 403),
        (Sender("127.0.0.1:9180", None, "cross-site"), 403),
    ],
)
def test_other_sites(app, sender, refusal):
    """They do not get it, by a name that they made up or by a page of theirs."""
    for path in ("/", "/_raindrops.html", "/_raindrops"):
        answer = app().answer("GET", path, None, BROWSER, "", sender)
        assert answer.status == (refusal or 200)
        assert is_page(answer) is (refusal is None)


# What a browser is told.


def policy(app):
    """Return the Content-Security-Policy, by directive."""
    answer = app().answer("GET", "/")
    (found,) = [value for name, value in answer.all_headers() if name == "Content-Security-Policy"]
    return {name: value for name, _, value in (one.partition(" ") for one in found.split("; "))}


def test_headers(app):
    """Nobody frames, keeps or guesses it, and it tells no other site where it was."""
    headers = app().answer("GET", "/").all_headers()
    assert len({name for name, _ in headers}) == len(headers)
    assert {
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("X-Frame-Options", "DENY"),
    } < set(headers)


def test_policy(app):
    """Nothing but its own script and style, by their hashes, and its own origin."""
    body = app(path="/other").answer("GET", "/").body
    found = policy(app)
    for kind in ("script", "style"):
        (text,) = re.findall(rb"<%s>(.*?)</%s>" % (kind.encode(), kind.encode()), body, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        assert found.pop(f"{kind}-src") == f"'sha256-{digest}'"
    assert found == {
        "default-src": "'none'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }


class Parts(HTMLParser):
    """The attributes of a page's elements."""

    def __init__(self):
        super().__init__()
        self.attributes = []

    def handle_starttag(self, tag, attributes):
        self.attributes += attributes


def test_self_contained():
    """It is under 60 kB, and names no other file. Data is written as text, and no element has a
    style or a script of its own, which the policy would refuse."""
    assert len(page.FILE.read_bytes()) < 60_000
    assert set(re.findall(r"[a-z]+://[^\s\"'`]*", SOURCE)) == {"http://www.w3.org/2000/svg"}
    parts = Parts()
    parts.feed(SOURCE)
    names = dict(parts.attributes)
    assert not [name for name in names if name.startswith("on") or name in ("style", "src")]
    assert {value for name, value in parts.attributes if name == "href"} == {"data:,", "#main"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", SOURCE)


def test_a_file_that_is_gone(app, monkeypatch, tmp_path):
    """One answer fails, and says why."""
    monkeypatch.setattr(page, "FILE", tmp_path / "missing")
    page.load.cache_clear()
    try:
        answer = app().answer("GET", "/")
    finally:
        page.load.cache_clear()
    assert (answer.status, answer.body) == (501, b"the page cannot be read\n")


def test_read_before_the_thread_runs(app, monkeypatch):
    """`load` of the app reads it; answers read nothing."""
    from gunicorn_raindrops.status import app as module

    page.load.cache_clear()
    module.load.cache_clear()
    module.load()
    monkeypatch.setattr(page, "FILE", None)
    assert is_page(app().answer("GET", "/"))
