"""The failing application in WSGI containers of its own: one has threads, one sends by itself."""

from concurrent.futures import ThreadPoolExecutor

import failing_app
from tornado.httputil import HTTPHeaders, ResponseStartLine
from tornado.wsgi import WSGIContainer


class Sending(WSGIContainer):
    async def handle_request(self, request):
        told = []
        body = self.wsgi_application(self.environ(request), lambda *args: told.extend(args))
        code, reason = told[0].split(" ", 1)
        head = ResponseStartLine("HTTP/1.1", int(code), reason)
        await request.connection.write_headers(head, HTTPHeaders(told[1]), b"".join(body))
        request.connection.finish()


app = WSGIContainer(failing_app.app, executor=ThreadPoolExecutor(2))
sending = Sending(failing_app.app)
