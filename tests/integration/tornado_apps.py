"""An application of tornado's own, with as many routes as its tests need."""

import asyncio

import tornado.web
import tornado.websocket


class Hello(tornado.web.RequestHandler):
    def get(self):
        self.write(b"hello\n")


class Sleep(tornado.web.RequestHandler):
    async def get(self):
        await asyncio.sleep(float(self.get_argument("s")))
        self.write(b"slept\n")


class Stream(tornado.web.RequestHandler):
    async def get(self):
        for _ in range(int(self.get_argument("n"))):
            self.write(b"x" * 10)
            await self.flush()
            await asyncio.sleep(float(self.get_argument("s")))


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
        ("/sleep", Sleep),
        ("/stream", Stream),
        ("/boom", Boom),
        ("/short", Short),
        ("/refused", Refused),
        ("/websocket", Echo),
    ]
)
