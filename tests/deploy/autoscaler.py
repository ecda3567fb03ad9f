"""How many pods the HorizontalPodAutoscaler wants: the algorithm of
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale, and what KEDA feeds it.
Nothing in here waits or asks; the simulation and the real loop (`overload`) share it.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from . import manifests

SYNC = 15
"""Seconds from one decision to the next."""
TOLERANCE = 0.1


@dataclass(frozen=True)
class Scaling:
    """What KEDA's ScaledObject or an autoscaler's manifest says."""

    least: int
    most: int
    target: float
    behavior: dict[str, Any]
    window: float = 0
    null_is_error: bool = True
    fallback: dict[str, Any] | None = None

    @classmethod
    def of_keda(cls):
        """Of the shipped ScaledObject."""
        spec = manifests.find("ScaledObject")["spec"]
        (trigger,) = spec["triggers"]
        assert trigger["metricType"] == "AverageValue"
        window = re.search(r"last_over_time\(.*\[(\d+)m\]\)", trigger["metadata"]["query"])
        return cls(
            spec["minReplicaCount"],
            spec["maxReplicaCount"],
            float(trigger["metadata"]["threshold"]),
            spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
            60 * int(window[1]),
            trigger["metadata"]["ignoreNullValues"] == "false",
            spec["fallback"],
        )

    @classmethod
    def of_hpa(cls):
        """Of the shipped HorizontalPodAutoscaler."""
        spec = manifests.find("HorizontalPodAutoscaler")["spec"]
        (metric,) = spec["metrics"]
        target = metric["pods"]["target"]
        assert target["type"] == "AverageValue"
        return cls(
            spec["minReplicas"], spec["maxReplicas"], float(target["averageValue"]),
            spec["behavior"],
        )  # fmt: skip


def by_total(total, target, current):
    """Return how many pods a figure of all of them wants (External, AverageValue)."""
    if abs(1 - total / (target * current)) <= TOLERANCE:
        return current
    return math.ceil(total / target)


def by_pods(values, missing, target, current):
    """Return how many pods a figure of each wants (Pods, AverageValue).

    Args:
        values: of those that have one.
        missing: how many have none. They are taken for ones that speak against a change.
    """
    if not values:
        return current
    ratio = sum(values) / len(values) / target
    if not missing:
        return current if abs(1 - ratio) <= TOLERANCE else math.ceil(ratio * len(values))
    filled = [*values, *[target if ratio < 1 else 0] * missing]
    new = sum(filled) / len(filled) / target
    if abs(1 - new) <= TOLERANCE or (ratio < 1) != (new < 1):
        return current
    wanted = math.ceil(new * len(filled))
    return current if (wanted > current) != (new > 1) else wanted


class Autoscaler:
    """Brings what is wanted within limits, windows and policies."""

    def __init__(self, scaling):
        self._scaling = scaling
        self._wanted = []
        self._changes = []

    def decide(self, now, current, wanted):
        """Return how many pods there are to be."""
        self._wanted.append((now, wanted))
        wanted = self._stabilized(now, current)
        if wanted > current:
            wanted = min(wanted, self._limit(now, current, "scaleUp", 1))
        elif wanted < current:
            wanted = max(wanted, self._limit(now, current, "scaleDown", -1))
        wanted = min(max(wanted, self._scaling.least), self._scaling.most)
        self._changes.append((now, wanted - current))
        return wanted

    def _stabilized(self, now, current):
        """Up to the least that was wanted within its window, down to the most within the other."""
        up, down = (
            [wanted for at, wanted in self._wanted if at >= now - self._window(direction)]
            for direction in ("scaleUp", "scaleDown")
        )
        return min(max(current, min(up)), max(down))

    def _window(self, direction):
        return self._scaling.behavior[direction]["stabilizationWindowSeconds"]

    def _limit(self, now, current, direction, sign):
        """Return the furthest that a policy lets it go (selectPolicy Max, the default)."""
        limits = []
        for policy in self._scaling.behavior[direction]["policies"]:
            recent = [by for at, by in self._changes if at > now - policy["periodSeconds"]]
            start = current - sum(recent)
            step = policy["value"]
            if policy["type"] == "Percent":
                step = start * step / 100
            limits.append(start + sign * step)
        return math.ceil(max(limits)) if sign > 0 else math.floor(min(limits))


class Keda:
    """What KEDA answers to the autoscaler: the figure, an error, or its fallback's figure."""

    def __init__(self, scaling):
        self._scaling = scaling
        self._failures = 0

    def wanted(self, total, current):
        """Return how many pods are wanted.

        Args:
            total: the query's result, None if it has none.
        """
        if total is None and not self._scaling.null_is_error:
            total = 0
        if total is not None:
            self._failures = 0
            return by_total(total, self._scaling.target, current)
        self._failures += 1
        fallback = self._scaling.fallback
        if fallback is None or self._failures <= fallback["failureThreshold"]:
            return current
        return self._fallback(fallback, current)

    @staticmethod
    def _fallback(fallback, current):
        if fallback.get("behavior", "static") == "currentReplicasIfHigher":
            return max(current, fallback["replicas"])
        assert fallback.get("behavior", "static") == "static"
        return fallback["replicas"]
