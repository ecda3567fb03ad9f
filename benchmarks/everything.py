"""What we add to a request with all that can be switched on: request.py, with another bar.

Bar: under 5 µs. A proxy's header says how long the request has waited, and is read and recorded.
"""

import os

os.environ["RAINDROPS_QUEUE_HEADER"] = "on"

import request

request.BAR = 5.0
request.RUBY_COUNTS = {}

if __name__ == "__main__":
    request.main()
