"""The status app: which URL has which body, and who may read it."""

import json

import pytest

from gunicorn_raindrops.exporters import json as render
from gunicorn_raindrops.exporters import text
from gunicorn_raindrops.settings import load
from gunicorn_raindrops.status.app import StatusApp

from ..exporters.test_json import SNAPSHOT


class Taker:
    """Takes the same snapshot again and again, and counts."""

    def __init__(self):
        self.times = 0

    def __call__(self, since=None):
        self.times += 1
        self.since = since
        return SNAPSHOT


@pytest.fixture
def take():
    return Taker()


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def app(take, warnings):
    def make(**keywords):
        return StatusApp(load(keywords, {}), take, warnings.append)

    return make


def header(answer, name):
    (value,) = [value for key, value in answer.all_headers() if key.lower() == name.lower()]
    return value


# Routes.


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/_raindrops", "/other/path"])
def test_text_and_json(app, take, method, path):
    """PATH is the text, PATH.json everything; each answer is a snapshot of its own."""
    status = app(path=path)
    plain = status.answer(method, path, None)
    assert (plain.status, plain.body) == (200, text.encode(SNAPSHOT))
    assert plain.status_line == "200 OK"
    assert header(plain, "Content-Type") == "text/plain; charset=utf-8"
    whole = status.answer(method, f"{path}.json", None)
    assert (whole.status, json.loads(whole.body)) == (200, render.as_dict(SNAPSHOT))
    assert header(whole, "Content-Type") == "application/json"
    assert take.times == 2


@pytest.mark.parametrize(
    ("query", "since"),
    [
        ("", None),
        ("since=1700000000.25", 1700000000.25),
        ("a=1&since=0&b", 0.0),
        ("sincere=1", None),
        ("xsince=1", None),
    ],
)
def test_marks_since_an_instant(app, take, query, since):
    """The instant is the reader's own; other words in the query mean nothing."""
    status = app(expose=True)
    assert status.answer("GET", "/_raindrops.json", query=query).status == 200
    assert take.since == since
    take.since = "not asked"
    assert status.exposed(environ(path="/_raindrops.json", QUERY_STRING=query)).status == 200
    assert take.since == since


@pytest.mark.parametrize("value", ["", "now", "-1", "1e9", "nan", "+1", "1_0", "9" * 13])
def test_an_instant_that_is_none(app, take, value):
    """One line says what is wanted; nothing is read."""
    answer = app().answer("GET", "/_raindrops.json", query=f"since={value}")
    assert (answer.status, take.times) == (400, 0)
    assert answer.body == b"since must be Unix time, such as 1700000000.5\n"


def test_headers(app):
    """The length is the body's; nobody keeps a status or guesses its type."""
    for path in ("/_raindrops", "/nowhere"):
        answer = app().answer("GET", path, None)
        assert header(answer, "Content-Length") == str(len(answer.body))
        assert header(answer, "Cache-Control") == "no-store"
        assert header(answer, "X-Content-Type-Options") == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/_raindrops/", "/_raindrop", "/_RAINDROPS", "/_raindrops.xml", "//_raindrops", "_raindrops",
     "*", "/.json", "/_raindrops.json/", "/nowhere"],
)  # fmt: skip
def test_unknown(app, take, path):
    """Anything else is 404, and no snapshot is taken for it."""
    assert app().answer("GET", path, None).status == 404
    assert take.times == 0


def test_another_path_hides_the_default(app):
    """Only the path of the settings is served."""
    assert app(path="/s").answer("GET", "/_raindrops", None).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "X"])
def test_other_methods(app, take, method):
    """405, which says what is allowed."""
    answer = app().answer(method, "/_raindrops", None)
    assert answer.status == 405
    assert header(answer, "Allow") == "GET, HEAD"
    assert take.times == 0


def test_a_status_that_cannot_be_told(warnings):
    """500 and a warning, on the status address and on the application's listeners."""

    def fail():
        raise LookupError("no figures")

    status = StatusApp(load({}, {}), fail, warnings.append)
    answers = [status.answer("GET", "/_raindrops"), status.exposed(environ())]
    assert [(answer.status, answer.body) for answer in answers] == [(500, b"internal error\n")] * 2
    assert warnings == ["the status cannot be told: LookupError: no figures"] * 2


# The token.


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "s3cret",
        "Bearer",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3cret1",
        "Bearer S3CRET",
        "Basic s3cret",
        "Bearers3cret",
        "Token s3cret",
        "Bearer s3cret, Bearer x",
        "Bearer \xe9\xff",
        "Bearer \udcff",
        "Bearer s3cret\0",
    ],
)
def test_without_the_token(app, take, given):
    """401 that asks for one, whatever is asked for; no snapshot is taken."""
    status = app(token="s3cret")
    for method, path in (("GET", "/_raindrops"), ("GET", "/nowhere"), ("POST", "/_raindrops")):
        answer = status.answer(method, path, given)
        assert answer.status == 401
        assert header(answer, "WWW-Authenticate").startswith("Bearer")
        assert b"s3cret" not in answer.body
    assert take.times == 0


@pytest.mark.parametrize("given", ["Bearer s3cret", "bearer s3cret", "BEARER s3cret"])
def test_with_the_token(app, given):
    """The scheme's case does not matter (RFC 9110, section 11.1)."""
    status = app(token="s3cret")
    assert status.answer("GET", "/_raindrops", given).status == 200
    assert status.answer("GET", "/nowhere", given).status == 404
    assert status.answer("POST", "/_raindrops", given).status == 405


def test_a_token_that_nobody_asked_for(app):
    """Without one in the settings none is needed, and any is ignored."""
    assert app().answer("GET", "/_raindrops", "Bearer whatever").status == 200


# On the application's own listeners.


def environ(peer="127.0.0.1", path="/_raindrops", **more):
    """What gunicorn makes of a request."""
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "REMOTE_ADDR": peer,
        "HTTP_HOST": "localhost",
        **more,
    }


@pytest.mark.parametrize("path", ["/_raindrops", "/_raindrops.json"])
def test_exposed(app, path):
    """Whoever may read gets the same answer as on the status address."""
    status = app(expose=True)
    request = environ(path=path)
    assert status.exposes_to(request)
    assert status.exposed(request) == status.answer("GET", path, None)


@pytest.mark.parametrize("path", ["/", "", "/_raindrops/", "/_raindropsx", "/app", "/_raindrops.x"])
def test_other_paths_are_the_applications(app, path):
    """Unknown ones too: they are not 404 here."""
    assert not app(expose=True).exposes_to(environ(path=path))


def test_without_an_address(app):
    """An environ that lacks what it should have admits nobody, and does not fail."""
    status = app(expose=True)
    assert not status.exposes_to({})
    assert not status.exposes_to({"PATH_INFO": "/_raindrops"})


def test_exposed_with_a_token(app):
    """The address alone is not enough then: whoever is admitted still needs the token."""
    status = app(expose=True, token="s3cret")
    assert status.exposes_to(environ())
    assert status.exposed(environ()).status == 401
    assert status.exposed(environ(HTTP_AUTHORIZATION="Bearer s3cret")).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
def test_exposed_to_other_methods(app, method):
    """405, as on the status address."""
    request = environ(REQUEST_METHOD=method)
    status = app(expose=True)
    assert not status.exposes_to(request) or status.exposed(request).status == 405
