"""Write pictures of the live page: busy, idle and without its server, light and dark, wide and
narrow; and one of `top` (`make screenshots`)."""

import http.client
import io
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from gunicorn_raindrops.cli.top import view
from gunicorn_raindrops.cli.top.cells import Cells
from gunicorn_raindrops.cli.top.model import Model

from .bounds import WAIT
from .integration.browser import Browser
from .integration.servers import Server

SECONDS = 25
SIZES = [(1280, 800), (390, 844)]
ROUTES = ["/", "/cart", "/report", "/orders", "/export", "/", "/report", "/search"]
SHOP = """
import time

SECONDS = {"/cart": 0.05, "/orders": 0.6, "/report": 4, "/search": 1.5}


def fetch_rows(seconds):
    time.sleep(seconds)


def export():
    for _ in range(20):
        yield b"row"
        time.sleep(0.1)


def app(environ, start_response):
    path = environ["PATH_INFO"]
    fetch_rows(SECONDS.get(path, 0))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return export() if path == "/export" else [path.encode()]
"""
"""The application that is shown."""


def client(address, number, over):
    """Ask for one route after the other until it is over."""
    while not over.is_set():
        for route in ROUTES[number % 8 :] + ROUTES[: number % 8]:
            if over.is_set():
                return
            connection = http.client.HTTPConnection(*address, timeout=WAIT)
            try:
                connection.request("GET", route)
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                over.wait(0.2)
            finally:
                connection.close()


def shoot(browser, folder, name):
    """Write the pictures of one state, of a page that is as it should be."""
    for width, height in SIZES:
        for scheme in ("light", "dark"):
            browser.look(width, height, scheme)
            time.sleep(1.2)  # let it be drawn anew
            browser.shot(folder / f"{name}-{scheme}-{width}.png")


def load(server, clients, seconds):
    """Serve clients for so long; returns what ends them."""
    over = threading.Event()
    for number in range(clients):
        args = (server.address, number, over)
        threading.Thread(target=client, args=args, daemon=True).start()
    time.sleep(seconds)
    return over


WITHOUT_FONTS = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.S)
"""A terminal window as rich draws it, but for the fonts that it would load from elsewhere."""


def shoot_top(server, file, seconds):
    """Write a picture of `top`, after it has looked at a server for so long."""
    model = Model()
    for _ in range(seconds):
        model.feed(server.status())
        time.sleep(1)
    console = Console(record=True, file=io.StringIO(), width=100, force_terminal=True)
    name = f"arbiter {server.pid} in /srv/shop"
    for line in view.lines(model, name, Cells(False), console.width, 19):
        console.print(line, no_wrap=True)
    title = "gunicorn-raindrops top"
    file.write_text(console.export_svg(title=title, code_format=WITHOUT_FONTS))


def main():
    """Make them all."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shop-") as made:
        (Path(made) / "shop.py").write_text(SHOP)
        args = ["--workers", "4", "--threads", "2", "--chdir", made]
        server = Server(Path(made), *args, app="shop:app", tracebacks=None)
        with server, Browser(Path(made)) as browser:
            server.ready(4)
            browser.look(*SIZES[0])
            browser.open("http://{}:{}/".format(*server.status_address))
            time.sleep(3)
            shoot(browser, folder, "idle")
            load(server, 5, SECONDS / 2).set()
            time.sleep(SECONDS / 5)
            over = load(server, 14, SECONDS / 2)
            shoot_top(server, folder.parent / "top.svg", 20)
            server.send(9, server.workers()[1])
            time.sleep(3)
            shoot(browser, folder, "busy")
            browser.look(1280, 590)
            time.sleep(1.2)
            browser.shot(folder.parent / "page.png", whole=False)
            server.kill()
            over.set()
            time.sleep(3)
            shoot(browser, folder, "gone")


if __name__ == "__main__":
    main()
