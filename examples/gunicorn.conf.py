"""The shipped config as a file to copy: gunicorn -c gunicorn.conf.py myapp:app

Each setting is also an environment variable, RAINDROPS_BIND and so on; what stands here wins.
"""

import gunicorn_raindrops

# Your own settings and hooks, as ever. Hooks of yours go on running: install() wraps them.
workers = 2
threads = 2


def when_ready(server):
    server.log.info("ready")


# As the last line, so that it sees your hooks. All of these are optional.
gunicorn_raindrops.hooks.install(
    globals(),
    # Where the status is served: host:port, [v6]:port, unix:/path, or "" for nowhere.
    bind="127.0.0.1:9180",
    # Permissions of the status socket, if it is a unix one.
    mode=0o600,
    # Its path: text there, everything as JSON at /_raindrops.json, the live page at
    # /_raindrops.html and, on the status address, at /.
    path="/_raindrops",
    # Also answer that path on the application's own listeners, to whom `allow` admits. Behind a
    # proxy, leave this off: every visitor seems to come from the proxy's address.
    expose=False,
    allow=["127.0.0.1", "::1"],
    # Ask readers for "Authorization: Bearer TOKEN". Set one if `bind` can be reached from outside,
    # or if readers ask by another name than localhost or the one in `bind`.
    token=None,
    # More listeners to report beside this server's own: nginx in front, a database behind.
    listeners=[],
    # Keep the counts in this file, so that they outlive the server.
    file=None,
    # Slots; a worker beyond them serves but is not counted.
    max_workers=1024,
    # Show method and path of requests in flight, and the line that a slow one stands at; the same
    # of those that workers were killed in.
    current=True,
    # Seconds after which a request is logged, once, with its Python stack.
    slow=None,
    # Read from trusted proxies' X-Request-Start or X-Queue-Start how long requests have waited.
    queue_header=False,
    # Have the kernel hand connections over with their request, not before.
    defer_accept=False,
    # A path on the status address that answers 503 while no worker takes requests; also, where
    # `ready_above` is set, while the saturation is above it.
    ready=None,
    ready_above=None,
    # Counters of your own to show: a Struct, or "module:name" of one.
    counters=None,
)
