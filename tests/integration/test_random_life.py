"""Random lives: real gunicorns under load, driven through sequences of events.

After each event, with the load held for a moment: the gauges are what the clients see, the totals
what they got and never less than before, the arbiter has the descriptors and threads that it had
at first, and the status answers within a second.

`make test` drives a few sequences, the same each time. `make life` drives 100 of 30 events; other
numbers by LIFE=SEQUENCESxEVENTS, another seed by SEED=NUMBER. A sequence that fails is printed.
"""

import collections
import contextlib
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ..processes import alive
from .classes import CLASSES, LIVING
from .load import Gate, Load
from .servers import BROKEN, GUNICORNS, SERVING, Server, eventually
from .test_clean import at_rest, descriptors, threads
from .test_life import STAYS
from .test_violence import Poll

FEW = "3x10"
WORKERS, MOST = 2, 4
# One request that is held leaves each worker a thread to answer with.
# gunicorn's timeout is none for a request there: it is for workers that hang, as one may that takes
# its SIGABRT while it starts a thread.
ARGUMENTS = {
    "sync": (["--timeout", "600"], 1),
    "gthread": (["--timeout", "6", "--threads", "2"], 2),
}
GRACE = 1
FIRST, SECOND = 0, -1
WORKER_FILES = collections.Counter({"worker tmp": 1000})


def held_most(kind, workers):
    """How many requests may be held while so many workers go on with the load. A gthread worker
    takes connections though its threads are all held."""
    return max(workers - 1, 0) if kind == "sync" else min(workers, 1)


EVENTS = collections.Counter()
"""How often each has happened, for whoever wants to know."""


class Life(RuleBasedStateMachine):
    """One server, its clients, and what they know of it."""

    @initialize(
        gunicorn=st.sampled_from([name for name in GUNICORNS if GUNICORNS[name].exists()]),
        kind=st.sampled_from(LIVING),
        kept=st.booleans(),
    )
    def start(self, gunicorn, kind, kept):
        self.over = contextlib.ExitStack()
        directory = Path(self.over.enter_context(tempfile.TemporaryDirectory()))
        self.kind = kind
        more, self.threads = ARGUMENTS[kind]
        args = ["--workers", str(WORKERS), *CLASSES[kind].args, *more]
        args += ["--daemon", "--graceful-timeout", str(GRACE)]
        env = STAYS | ({"RAINDROPS_FILE": str(directory / "board")} if kept else {})
        self.server = Server(directory, *args, gunicorn=gunicorn, env=env, tracebacks=None)
        self.over.push(self._end_server)
        self.server.__enter__()
        self.server.ready(WORKERS)
        version = self.server.logged(r"Starting gunicorn (\d+)\.(\d+)")
        if (int(version[1]), int(version[2])) >= (25, 1):
            self.server.logged("Control socket listening")  # with descriptors, and in a thread
        self.sizes = {self.server.pid: WORKERS}
        self.gate = self.over.enter_context(contextlib.closing(Gate()))
        self.held = []
        # requests beside the load's: that ended surely, that may have; that may be missing
        self.sure, self.maybe, self.missing = 0, 0, 0
        self.last = 0
        self.baseline = at_rest(self.server.pid) - WORKER_FILES, threads(self.server.pid)
        self.poll = Poll(self.server)
        self.load = self.over.enter_context(Load(self.server.address, rate=50, clients=2))
        self.background = threading.Thread(target=self.poll.run, args=(1000,), daemon=True)
        self.background.start()
        self.over.callback(self.background.join, 30)
        self.over.callback(self.poll.over.set)

    def _end_server(self, kind, *_):
        failed = kind if self.good else AssertionError
        self.server.__exit__(failed)
        told = [line for line in self.server.warnings() if " was killed in " not in line]
        assert failed or told == []

    def _belongings(self, pid):
        return descriptors(pid) - WORKER_FILES, threads(pid)

    @property
    def total(self):
        return sum(self.sizes.values())

    @property
    def upgrading(self):
        return len(self.sizes) > 1

    def arbiter(self, which):
        """The pid of the first or the second generation's arbiter, if there are two."""
        return list(self.sizes)[which]

    # What is checked after each event.

    def teardown(self):
        if not hasattr(self, "over"):
            return
        self.good = sys.exc_info()[0] is None  # hypothesis tears down before it passes it on
        with self.over:
            if self.good:
                self.keep_held(0)
                self.check()

    def check(self):
        """Check all that must be true while nothing happens."""
        EVENTS[sys._getframe(1).f_code.co_name] += 1
        self.settle()
        self.load.pause()
        self.lose(lambda one: not alive(one.pid) or one.is_lost())
        eventually(self.is_true, lambda: f"{self.known()}: {self.server.status()}")
        self.server.ask()
        for pid in self.sizes:
            eventually(
                lambda pid=pid: self._belongings(pid) == self.baseline,
                lambda pid=pid: f"{self.baseline} as at the start: {self._belongings(pid)}",
            )
        assert self.poll.back == []
        assert self.poll.late == []
        self.load.go_on()

    def settle(self):
        """Wait until all workers are ready, and others are there only for a request they have."""

        def settled():
            with contextlib.suppress(*BROKEN):
                rows = self.rows = self.server.status()["workers"]
                ready = [row for row in rows if row["state"] in SERVING]
                lingering = {row["pid"] for row in rows} - {row["pid"] for row in ready}
                return len(ready) == self.total and lingering <= {one.pid for one in self.held}
            return False

        held = {one.pid for one in self.held}
        eventually(settled, lambda: f"{self.sizes} workers, held by {held}: {self.rows}")

    def lose(self, lost):
        """Forget the held requests for which `lost` holds: they may be counted, or not."""
        for one in [one for one in self.held if lost(one)]:
            one.hang_up()
            self.held.remove(one)
            self.maybe += 1

    def is_true(self):
        status = self.server.status()
        assert status["requests"] >= self.last
        self.last = status["requests"]
        sure = self.load.total + self.sure
        most = sure + self.maybe + self.load.broken
        assert status["requests"] <= most, (status, most)
        return (
            (status["calling"], status["writing"]) == (len(self.held), 0)
            and status["requests"] >= sure - self.missing
            and status["capacity"] == self.total * self.threads
            and status["untracked"] == 0
        )

    def known(self):
        """What the clients know."""
        return (
            f"{self.load.total} + {self.sure} requests, perhaps {self.maybe} + {self.load.broken} "
            f"more or {self.missing} less, held by {[one.pid for one in self.held]}, {self.sizes}"
        )

    def keep_held(self, most):
        """Let requests go until no more than so many are held."""
        while len(self.held) > most:
            self.let_go(self.held.pop(0))

    def release_the_finishing(self):
        """Let workers go that are told to: gunicorn counts them until then, and starts fewer."""
        ready = self.server.ready_workers()
        for one in [one for one in self.held if one.pid not in ready]:
            self.held.remove(one)
            self.let_go(one)

    def let_go(self, one):
        if one.release():
            self.sure += 1
        else:
            self.maybe += 1

    # The events.

    @rule()
    def burst(self):
        self.load.at_once(20)
        self.check()

    # Who holds a request is the kernel's choice, and so is whom a kill takes along. What hypothesis
    # may choose next must not depend on it: these rules see for themselves, and where there is
    # nothing for them to do, a burst is the event.

    @rule()
    def hold(self):
        if len(self.held) < held_most(self.kind, self.total):
            self.held.append(self.gate.hold(self.server.address))
            self.check()
        else:
            self.burst()

    @rule()
    def release(self):
        if self.held:
            self.let_go(self.held.pop(0))
            self.check()
        else:
            self.burst()

    @rule()
    def hang_up(self):
        if self.held:
            self.held.pop().hang_up()
            self.sure += 1
            self.check()
        else:
            self.burst()

    @rule(which=st.sampled_from([FIRST, SECOND]))
    def hup(self, which):
        pid = self.arbiter(which)
        self.keep_held(0 if self.kind == "gthread" else 1)
        others = set(self.server.workers(pid))
        self.server.send(signal.SIGHUP, pid)
        self.sizes[pid] = WORKERS
        held = {one.pid for one in self.held} | set(self.sizes)
        eventually(lambda: not (others - held) & set(self.server.workers(pid)), "new workers")
        self.check()

    @precondition(lambda self: self.sizes[self.arbiter(SECOND)] < MOST)
    @rule()
    def ttin(self):
        pid = self.arbiter(SECOND)
        self.release_the_finishing()
        self.server.send(signal.SIGTTIN, pid)
        self.sizes[pid] += 1
        self.check()

    @precondition(lambda self: self.sizes[self.arbiter(SECOND)] > 1)
    @rule()
    def ttou(self):
        pid = self.arbiter(SECOND)
        self.release_the_finishing()
        self.keep_held(held_most(self.kind, self.total - 1))
        self.server.send(signal.SIGTTOU, pid)
        self.sizes[pid] -= 1
        self.check()

    @rule(which=st.sampled_from([FIRST, SECOND]))
    def usr1(self, which):
        self.server.send(signal.SIGUSR1, self.arbiter(which))
        self.check()

    @rule(sig=st.sampled_from([signal.SIGKILL, signal.SIGABRT]), number=st.integers(0, 2 * MOST))
    def kill(self, sig, number):
        self.release_the_finishing()
        rows = self.server.ready_workers()
        victim = rows[number % len(rows)]
        # gunicorn's answer may have reached its client, and not yet the scoreboard
        self.missing += self.threads
        self.server.send(sig, victim)
        if sig == signal.SIGABRT:  # a gthread worker waits for its threads
            self.lose(lambda one: one.pid == victim)
        eventually(lambda: not alive(victim), "its end")
        self.check()

    @precondition(lambda self: not self.upgrading)
    @rule()
    def upgrade(self):
        pid = self.server.upgrade(WORKERS)
        self.sizes[pid] = WORKERS
        self.check()

    @precondition(lambda self: self.upgrading)
    @rule(sig=st.sampled_from([signal.SIGTERM, signal.SIGQUIT]))
    def finish(self, sig):
        self.end(self.arbiter(FIRST), sig)

    @precondition(lambda self: self.upgrading)
    @rule(sig=st.sampled_from([signal.SIGTERM, signal.SIGQUIT]))
    def back_out(self, sig):
        if not self.sizes[self.arbiter(FIRST)]:
            self.hup(FIRST)
        self.end(self.arbiter(SECOND), sig)

    def end(self, pid, sig):
        rest = self.total - self.sizes[pid]
        self.keep_held(held_most(self.kind, rest))
        if sig == signal.SIGQUIT:
            self.missing += self.threads * self.sizes[pid]
        del self.sizes[pid]
        self.server.end(pid, sig)
        self.check()

    @rule()
    def winch(self):
        """Alone, it comes back by a HUP; beside a second generation it may wait for its end."""
        pid = self.arbiter(FIRST)
        self.keep_held(0)
        before = set(self.server.workers(pid)) - set(self.sizes)
        self.server.send(signal.SIGWINCH, pid)
        self.sizes[pid] = 0
        eventually(lambda: not before & set(self.server.workers(pid)), "no workers")
        if not self.upgrading:
            self.server.send(signal.SIGHUP, pid)
            self.sizes[pid] = WORKERS
        self.check()


def test_random_life():
    """Sequences of events; see above."""
    chosen = os.environ.get("LIFE")
    sequences, events = (int(number) for number in (chosen or FEW).split("x"))
    config = settings(
        max_examples=sequences,
        stateful_step_count=1 + events,  # the start is one
        derandomize=not chosen,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # to shrink one would take hours of servers
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    if chosen:
        seed(int(os.environ.get("SEED", "0")))(Life)
    run_state_machine_as_test(Life, settings=config)
    print(f"{EVENTS.pop('teardown')} sequences of {EVENTS.total()} events: {dict(EVENTS)}")
