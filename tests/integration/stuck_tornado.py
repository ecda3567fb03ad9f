"""An application of tornado's own whose requests are slow."""

import tornado.web
from stuck import awaiting, outer


class Sleep(tornado.web.RequestHandler):
    async def get(self):
        await awaiting(float(self.get_argument("s")))


class Block(tornado.web.RequestHandler):
    def get(self):
        outer(float(self.get_argument("s")))


app = tornado.web.Application([("/sleep", Sleep), ("/block", Block)])
