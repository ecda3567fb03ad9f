"""The native half, in three extension modules.

- `_objects` takes Python objects: counters, recording, the steps of a request. Plain CPython API.
- `_scoreboard` reads and keeps the scoreboard. cffi, with the GIL held: its functions never wait.
- `_diag` asks the kernel about sockets. cffi, without the GIL: its functions may wait.

setup.py builds the first, build.py declares the other two. The headers say how shared memory is
laid out, and what each function promises.
"""
