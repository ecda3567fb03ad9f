"""Throughput of a gthread worker with four CPU-bound threads, with us and without.

Bar: within 3 %. A counter update that gave up the GIL would have to wait for it behind three
threads, up to 15 ms each time (the switch interval): measured with cffi's default, the worker
falls to a quarter of its throughput. Ours keep the GIL.
"""

import shutil
import sys

import common

OPTIONS = ("--worker-class", "gthread", "--threads", "4")
LEAST = 0.97


def main() -> None:
    quick = common.arguments(__doc__).quick
    if shutil.which("wrk") is None:
        common.skipped("convoy", "wrk")
        sys.exit(0)
    blocks, pairs = (2, 3) if quick else (6, 5)
    print("5 ms of pure Python a request, gunicorn --worker-class gthread --threads 4, wrk -c8")
    found = common.rates("burn", 1, *OPTIONS, blocks=blocks, pairs=pairs, seconds=1)
    ratio, floor = common.print_rates(found)
    bar = f"at least {LEAST}; A/A floor ±{floor:.1%}"
    common.finish([common.verdict(ratio >= LEAST, "no convoy", f"ratio {ratio:.3f}", bar)])


if __name__ == "__main__":
    main()
