"""Throughput of a hello-world on two sync workers, with us and without.

Bar: the median ratio is within the noise floor of the same gunicorn against itself. One request
costs gunicorn some 200 µs and us less than one, so no throughput can tell the two apart; this
shows that there is nothing else, which `request.py` in its one process could not see.
"""

import shutil
import sys

import common


def main() -> None:
    quick = common.arguments(__doc__).quick
    if shutil.which("wrk") is None:
        common.skipped("throughput", "wrk")
        sys.exit(0)
    blocks, pairs = (2, 3) if quick else (6, 5)
    print("throughput of a hello-world, gunicorn --workers 2 --worker-class sync, wrk -c8")
    found = common.rates("hello", 2, blocks=blocks, pairs=pairs, seconds=1)
    ratio, floor = common.print_rates(found)
    passed = ratio >= 1 - floor
    figure = f"ratio {ratio:.3f}"
    common.finish([common.verdict(passed, "throughput", figure, f"at least {1 - floor:.3f}, A/A")])


if __name__ == "__main__":
    main()
