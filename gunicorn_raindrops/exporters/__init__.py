"""A snapshot in the formats that leave the house: text, JSON, Prometheus, statsd."""
