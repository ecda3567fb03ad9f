"""The shipped rules and config of Prometheus, and the same with all their durations scaled down."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
FOLDER = ROOT / "examples/deploy/prometheus"
CONFIG = FOLDER / "prometheus.yml"
RULES = [FOLDER / name for name in ("recording.yml", "alerts.yml")]
SITES = [FOLDER / "sites.yml"]
"""Those of a Prometheus above others."""
TESTS = FOLDER / "rules_test.yml"

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_RANGE = re.compile(r"\[(\d+)(ms|s|m|h)\]")
_DURATION = re.compile(r"(\d+)(ms|s|m|h)")


def groups(path):
    """Return the groups of a file of rules."""
    return yaml.safe_load(path.read_text())["groups"]


def alerts():
    """Return all alerts that are shipped, by name."""
    found = [rule for path in RULES for group in groups(path) for rule in group["rules"]]
    return {rule["alert"]: rule for rule in found if "alert" in rule}


def shorter(duration, factor):
    """Return a duration of Prometheus's, "5m" say, so many times as short."""
    number, unit = _DURATION.fullmatch(duration).groups()
    return f"{int(number) * _UNITS[unit] // factor}ms"


def write_faster(folder, factor, rules=RULES):
    """Write files of rules so many times as fast; returns the files.

    All intervals, `for`s and ranges of expressions are scaled. What is compared is not: a request
    is stuck after the same 15 seconds.
    """
    written = []
    for path in rules:
        faster = [_faster(group, factor) for group in groups(path)]
        written.append(folder / path.name)
        written[-1].write_text(yaml.safe_dump({"groups": faster}))
    return written


def _faster(group, factor):
    def expression(rule):
        return _RANGE.sub(lambda found: f"[{shorter(found[0][1:-1], factor)}]", rule["expr"])

    rules = [rule | {"expr": expression(rule)} for rule in group["rules"]]
    for rule in rules:
        if "for" in rule:
            rule["for"] = shorter(rule["for"], factor)
    return group | {"interval": shorter(group["interval"], factor), "rules": rules}


def config(files, targets, factor):
    """Return the text of a config like the shipped one, so many times as fast, for these files of
    rules and these targets."""
    shipped = yaml.safe_load(CONFIG.read_text())
    shipped["rule_files"] = [str(path) for path in files]
    shipped["global"] = {key: shorter(value, factor) for key, value in shipped["global"].items()}
    (job,) = shipped["scrape_configs"]
    for key in ("scrape_interval", "scrape_timeout"):
        job[key] = shorter(job[key], factor)
    job["static_configs"] = [{"targets": list(targets)}]
    return yaml.safe_dump(shipped)
