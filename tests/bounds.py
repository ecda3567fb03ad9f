"""How long a test waits for what must come. They end hangs and nothing else, so none is short."""

WAIT = 60.0
"""Seconds for what takes a second or two where nothing else runs."""
LONG = 180.0
"""Seconds for thousands of requests, or for the start of many processes."""
