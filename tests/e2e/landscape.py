"""A landscape: garden, registries, a seed with one shoot, and its nodes, each a machine on one network."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.apiserver import Object
from tests.daemon.images import make_image
from tests.e2e.garden import Garden
from tests.e2e.network import Machine, Network
from tests.e2e.node.agent import apply
from tests.e2e.node.machine import Node
from tests.e2e.seed.controlplane import BOOTSTRAPPER, ControlPlane
from tests.e2e.seed.gardenlet import Gardenlet
from tests.e2e.seed.upstream import CACHED, Upstream


class Landscape:
    """All of it; the program of the nodes is published first, and then everything comes from the chart.

    Args:
        network: what its machines are on.
        program: the daemon, as one file.
        directory: for files.
        logs: for the log of each process.
    """

    def __init__(self, network: Network, program: Path, directory: Path, logs: Path) -> None:
        self._network = network
        self._directory = directory
        self._logs = logs
        self.nodes: dict[str, Node] = {}
        """By name, those that there are at present."""
        self.upstream = Upstream(
            network.machine("upstream", 2, 5, 6),
            network.machine("cache", 3),
            self._new_directory("upstream"),
            logs,
        )
        self.control = ControlPlane(network.machine("seed", 4), self._new_directory("seed"), logs)
        self._parts = contextlib.ExitStack()
        self._parts.callback(self.control.close)
        try:
            self._garden = Garden(network.machine("garden", 7), self._new_directory("garden"), logs)
            self._parts.callback(self._garden.close)
            self.upstream.start()
            pause = self.upstream.publish(make_image(3, layers=1, pullable=True), "pause")
            self.gardenlet = Gardenlet(
                self.control.seed,
                self.control.shoot,
                self.control.admission,
                directory,
                containerd={"sandboxImage": pause, "registries": [self._cache_entry()]},
            )
            self.control.install(self.upstream.publish_program(program))
            self.gardenlet.create()
            self.gardenlet.enable()
            self.control.wait_for_webhook()
            self.control.wait_for_bootstrapper()
            self._garden.wait()
        except BaseException:
            self.close()
            raise

    @property
    def names(self) -> dict[str, str]:
        """What the domain name system says: addresses by host."""
        seed = self.control.machine.address
        return self.upstream.names | dict.fromkeys(self.control.ingress.hosts, seed)

    def osc(self) -> Object:
        """Return the OperatingSystemConfig as nodes get it now."""
        return self.gardenlet.config()

    def join(self, *numbers: int) -> list[Node]:
        """Add nodes, all at once: machines with addresses that end in these numbers."""
        config = self.osc()
        machines = [self._network.machine(f"node-{number}", number) for number in numbers]

        def join(machine: Machine) -> Node:
            node = Node(
                machine,
                self._new_directory(machine.name),
                names=self.names,
                authority=self.upstream.authority,
                logs=self._logs,
            )
            self.nodes[machine.name] = node
            apply(node, config)
            return node

        for machine in machines:
            self.gardenlet.register(machine.name, machine.address)
        with ThreadPoolExecutor(len(machines)) as executor:
            return list(executor.map(join, machines))

    def leave(self, node: Node) -> None:
        """Remove a node for good."""
        self.gardenlet.deregister(node.name)
        del self.nodes[node.name]
        node.close()
        shutil.rmtree(self._directory / node.name)

    def apply(self, nodes: Sequence[Node]) -> None:
        """Let nodes apply the OperatingSystemConfig as it is now."""
        config = self.osc()
        with ThreadPoolExecutor(len(nodes)) as executor:
            list(executor.map(lambda node: apply(node, config), nodes))

    def configure(self, config: Object | None) -> None:
        """Change the configuration of the extension in the Shoot, from the garden to the seed.

        Raises:
            DeniedError: the garden does not allow it.
        """
        shoot = self.gardenlet.shoot(config)
        self._garden.admission.validate(shoot)
        self.gardenlet.configure(shoot)

    def stop_bootstrapper(self) -> None:
        """Take the bootstrapper away."""
        self.control.kubelet.hold(BOOTSTRAPPER)
        self.control.wait_for_bootstrapper(is_ready=False)

    def start_bootstrapper(self) -> None:
        """Let it come back."""
        self.control.kubelet.release(BOOTSTRAPPER)
        self.control.wait_for_bootstrapper()

    def close(self) -> None:
        """End everything but the machines."""
        with self._parts:
            for node in self.nodes.values():
                self._parts.callback(node.close)

    def _cache_entry(self) -> Object:
        """What the extension registry-cache adds for a host."""
        host = {"url": self.upstream.cache, "capabilities": ["pull", "resolve"]}
        return {
            "upstream": CACHED,
            "server": f"https://{CACHED}",
            "hosts": [host],
            "readinessProbe": True,
        }

    def _new_directory(self, name: str) -> Path:
        directory = self._directory / name
        directory.mkdir()
        return directory
