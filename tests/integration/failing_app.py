"""An application that fails: /HOW/WHEN. How: an error that it raises, or what else it does wrong.
When: "call", before it has given a status; "start", after that; "first", before the first chunk;
"middle", after a chunk; "close", when its response is closed."""

import errno
import ssl

ERRORS = {
    "value": lambda: ValueError("no"),
    "stop": StopIteration,
    "stop-in-except": StopIteration,
    "disk": lambda: OSError(errno.EIO, "no"),
    "bare-os": lambda: OSError("no number"),
    "reset": lambda: ConnectionResetError(errno.ECONNRESET, "the application's own connection"),
    "tls": lambda: ssl.SSLError(1, "the application's own connection"),
    "exit": SystemExit,
}


def begin(start_response):
    # a new list each time: tornado appends its own headers to what it is given
    start_response("200 OK", [("Content-Type", "text/plain")])


def app(environ, start_response):
    how, _, when = environ["PATH_INFO"].strip("/").partition("/")
    if how in ERRORS:
        return fail(how, when, start_response)
    if how == "read":
        environ["wsgi.input"].read()
    if how == "header":
        start_response("200 OK", [("Bad\nname", "x")])
    if how == "status":
        start_response("strange", [])
        return [b"fine"]
    if how == "length":
        start_response("200 OK", [("Content-Length", {"more": "9", "less": "2"}[when])])
        return [b"fine"]
    if when != "silent":
        begin(start_response)
    return {"none": None, "number": 1, "text": "text", "empty": []}.get(how, [b"fine"])


def fail(how, when, start_response):
    if when == "call":
        throw(how)
    begin(start_response)
    if when == "start":
        throw(how)
    return Body(how, when)


def throw(how):
    if how != "stop-in-except":
        raise ERRORS[how]()
    try:
        raise ConnectionResetError("the websocket is closed")
    except ConnectionResetError:
        raise StopIteration  # noqa: B904  # the very case


class Body:
    def __init__(self, how, when):
        self.how, self.when, self.step = how, when, 0

    def __iter__(self):
        return self

    def __next__(self):
        self.step += 1
        if self.when == "first" and self.how != "stop":
            throw(self.how)
        if self.step == 1:
            return b"chunk"
        if self.when == "middle" and self.how != "stop":
            throw(self.how)
        raise StopIteration

    def close(self):
        if self.when == "close":
            throw(self.how)
