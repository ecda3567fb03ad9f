"""An application of tornado's own, with as many routes as its tests need."""

import tornado.web
import tornado.websocket
from asgi_apps import hold


class Hello(tornado.web.RequestHandler):
    def get(self):
        self.write(b"hello\n")


class Hold(tornado.web.RequestHandler):
    async def get(self):
        await hold(self.get_argument("port"))
        self.write(b"held\n")


class HoldWriting(tornado.web.RequestHandler):
    async def get(self):
        self.write(b"x" * 10)
        await self.flush()
        await hold(self.get_argument("port"))
        self.write(b"x" * 20)


class Boom(tornado.web.RequestHandler):
    def get(self):
        raise RuntimeError("boom")


class Short(tornado.web.RequestHandler):
    def get(self):
        self.set_header("Content-Length", "9")
        self.write(b"less")


class Refused(tornado.web.RequestHandler):
    def get(self):
        self._headers["X-Name"] = "\u20ac"  # set_header would refuse it before tornado does
        self.write(b"x")


class Echo(tornado.websocket.WebSocketHandler):
    def on_message(self, message):
        if message == "bye":
            self.close()
        else:
            self.write_message(message)


app = tornado.web.Application(
    [
        ("/", Hello),
        ("/hold", Hold),
        ("/hold-writing", HoldWriting),
        ("/boom", Boom),
        ("/short", Short),
        ("/refused", Refused),
        ("/websocket", Echo),
    ]
)
