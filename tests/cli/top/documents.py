"""Statuses as JSON has them, of servers that never ran."""


def worker(slot=0, *, pid=None, state="idle", current=None, **figures):
    """Return a worker's."""
    return {
        "slot": slot,
        "pid": 100 + slot if pid is None else pid,
        "state": state,
        "requests": 0,
        "cpu_seconds": 0.0,
        "rss_bytes": 2**20,
        "current": current,
    } | figures


def request(path="/", seconds=1.0, where=None, method="GET"):
    """Return a request's."""
    return {"method": method, "path": path, "seconds": seconds, "where": where}


def listener(address="127.0.0.1:8000", queued=0, backlog=2048, dropped=0):
    """Return a listener's."""
    figures = {"active": 0, "queued": queued, "waiting": 0, "backlog": backlog, "dropped": dropped}
    return {"address": address, **figures}


def status(*workers, time=1e9, listeners=(), **figures):
    """Return a server's."""
    letters = {"calling": "C", "writing": "W"}
    return {
        "version": 1,
        "time": time,
        "uptime": 60.0,
        "arbiter": {
            "pid": 99,
            "gunicorn": "27.0.1",
            "raindrops": "0.1.0",
            "worker_class": "sync",
            "workers_wanted": len(workers),
        },
        "calling": sum(one["state"] == "calling" for one in workers),
        "writing": 0,
        "reading": 0,
        "waiting": 0,
        "requests": sum(one["requests"] for one in workers),
        "saturation": 0.0,
        "scoreboard": "".join(letters.get(one["state"], "_") for one in workers) + "....",
        "workers": list(workers),
        "exits": {"graceful": 0, "killed": 0},
        "killed": [],
        "listeners": list(listeners),
    } | figures
