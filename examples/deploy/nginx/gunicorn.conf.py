"""Gunicorn behind nginx, over a unix socket: gunicorn -c gunicorn.conf.py myapp:app"""

import gunicorn_raindrops

bind = "unix:/run/app/gunicorn.sock"
workers = 4

# Who may connect to the socket: its owner and its group. Gunicorn and we trust the forwarding
# headers of whoever connects there, for a peer on a unix socket has no address that
# `forwarded_allow_ips` could name. With gunicorn's default, 0, every local user could connect.
umask = 0o007
# group = "www-data"    # nginx's, on Debian

gunicorn_raindrops.hooks.install(
    globals(),
    # An address of its own, which nginx does not pass on.
    bind="127.0.0.1:9180",
    # nginx says in X-Request-Start since when a request waits. The kernel knows it for TCP only.
    queue_header=True,
    # Those who wait for nginx itself.
    listeners=["0.0.0.0:80"],
)
