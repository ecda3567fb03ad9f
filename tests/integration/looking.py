"""Applications that look at what stands in their place on their worker: objects and functions."""

worker = None
"""Set by the conf."""


class Looking:
    """What is looked for."""

    jobs = "the jobs"


def seen(application, kind):
    """Return what the worker's application looks like, as a body."""
    found = worker.asgi if hasattr(worker, "asgi") else worker.wsgi
    found.more = "more"
    looks = [found.jobs, application.more, isinstance(found, kind), callable(found)]
    return repr(looks).encode()


class WSGI(Looking):
    """A WSGI application."""

    def __call__(self, environ, start_response):
        """Answer with what is seen."""
        body = seen(self, Looking)
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


class ASGI(Looking):
    """An ASGI application."""

    async def __call__(self, scope, receive, send):
        """Answer with what is seen."""
        if scope["type"] == "http":
            await answer(send, seen(self, Looking))


async def answer(send, body):
    """Send a response."""
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ, start_response):
    """Answer with what is seen."""
    body = seen(wsgi, type(seen))
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    """Answer with what is seen."""
    if scope["type"] == "http":
        await answer(send, seen(asgi, type(seen)))


wsgi.jobs = asgi.jobs = Looking.jobs
wsgi_object, asgi_object = WSGI(), ASGI()
