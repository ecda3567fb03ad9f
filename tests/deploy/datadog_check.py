"""Run Datadog's OpenMetrics check twice, in an environment that has it, and print as JSON what it
would send: python datadog_check.py INSTANCE, which is JSON as well."""

import json
import sys

from datadog_checks.base import OpenMetricsBaseCheckV2
from datadog_checks.base.stubs import aggregator

TYPES = {number: name for name, number in aggregator.METRIC_ENUM_MAP.items()}

check = OpenMetricsBaseCheckV2("openmetrics", {}, [json.loads(sys.argv[1])])
errors = [error for _ in range(2) if (error := check.run())]
sent = [
    (name, TYPES[metric.type], metric.value, sorted(metric.tags))
    for name in aggregator.metric_names
    for metric in aggregator.metrics(name)
]
sent += [
    (name, "distribution", bucket.value, sorted(bucket.tags))
    for name in aggregator._histogram_buckets
    for bucket in aggregator.histogram_bucket(name)
]
json.dump({"errors": errors, "sent": sent}, sys.stdout)
