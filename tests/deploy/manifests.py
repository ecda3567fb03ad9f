"""What the shipped Kubernetes manifests say, as the tests need it."""

import argparse
import shlex
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent.parent.parent / "examples/deploy/kubernetes"
FILES = ("app.yaml", "podmonitor.yaml", "keda.yaml", "hpa.yaml")


def documents(name):
    """Return the documents of one file."""
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def find(kind):
    """Return the one object of a kind."""
    (found,) = [one for name in FILES for one in documents(name) if one["kind"] == kind]
    return found


@dataclass(frozen=True)
class Probe:
    """A probe by HTTP; times in seconds, with the API's defaults. `port` is a port's name."""

    port: str
    path: str
    delay: float = 0
    period: float = 10
    timeout: float = 1
    successes: int = 1
    failures: int = 3

    @classmethod
    def of(cls, manifest):
        """Return what a container's `startupProbe` and so on says."""
        action = manifest["httpGet"]
        keys = {
            "delay": "initialDelaySeconds",
            "period": "periodSeconds",
            "timeout": "timeoutSeconds",
            "successes": "successThreshold",
            "failures": "failureThreshold",
        }
        given = {name: manifest[key] for name, key in keys.items() if key in manifest}
        return cls(action["port"], action["path"], **given)


@dataclass(frozen=True)
class Gunicorn:
    """What the command line of the container says."""

    workers: int
    threads: int
    timeout: int
    graceful_timeout: int
    worker_connections: int
    backlog: int
    keep_alive: int

    @classmethod
    def of(cls, arguments):
        """Parse what GUNICORN_CMD_ARGS has."""
        parser = argparse.ArgumentParser()
        for name in (field.name for field in fields(cls)):
            option = "--" + name.replace("_", "-")
            parser.add_argument(option, type=int, required=True)
        known, _ = parser.parse_known_args(shlex.split(arguments))
        return cls(**vars(known))

    @property
    def capacity(self):
        """Requests that a pod can run at once."""
        return self.workers * self.threads

    @property
    def room(self):
        """Requests that may be in a pod: accepted ones, and the accept queue, which has room for
        one more than its limit."""
        return self.workers * self.worker_connections + self.backlog + 1


@dataclass(frozen=True)
class App:
    """The Deployment's pod."""

    startup: Probe
    readiness: Probe
    liveness: Probe
    env: dict[str, str]
    ports: dict[str, int]
    gunicorn: Gunicorn
    pre_stop: float
    grace: float


def app():
    """Return what the Deployment says of a pod."""
    pod = find("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    env = {pair["name"]: pair["value"] for pair in container["env"]}
    return App(
        *(Probe.of(container[f"{name}Probe"]) for name in ("startup", "readiness", "liveness")),
        env=env,
        ports={port["name"]: port["containerPort"] for port in container["ports"]},
        gunicorn=Gunicorn.of(env["GUNICORN_CMD_ARGS"]),
        pre_stop=container["lifecycle"]["preStop"]["sleep"]["seconds"],
        grace=pod["terminationGracePeriodSeconds"],
    )
