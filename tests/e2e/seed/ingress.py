"""nginx as a seed's ingress controller in small: TLS is passed through by the name in its handshake."""

from __future__ import annotations

from pathlib import Path

from tests.daemon.clients.programs import missing, program
from tests.e2e.process import Process
from tests.e2e.seed.kubelet import Kubelet
from tests.e2e.seed.objects import Objects

_CLASS = "nginx-ingress-gardener"
_PASSTHROUGH = "nginx.ingress.kubernetes.io/ssl-passthrough"
_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
_CONFIGURATION = """\
load_module {module};
daemon off; pid {directory}/nginx.pid; error_log stderr; worker_processes 1;
events {{ worker_connections 256; }}
stream {{
    log_format connections '$remote_addr $ssl_preread_server_name $upstream_addr $status $bytes_sent';
    access_log /dev/stdout connections;
    map $ssl_preread_server_name $service {{
        {routes}
    }}
    server {{ listen {address}:443; ssl_preread on; proxy_pass $service; }}
}}
"""


class Ingress:
    """Follows the Ingress objects of a seed."""

    def __init__(self, objects: Objects, kubelet: Kubelet, directory: Path, logs: Path) -> None:
        self._objects = objects
        self._kubelet = kubelet
        self._directory = directory
        self._log = logs / "nginx.log"
        self._routes: dict[str, int] = {}
        self._process: Process | None = None
        if not _MODULE.exists():
            missing("nginx has no stream module (Debian's package is libnginx-mod-stream)")

    @property
    def hosts(self) -> set[str]:
        """The host names that lead here."""
        return {
            rule["host"] for thing in self._objects.all("Ingress") for rule in thing["spec"].get("rules", ())
        }

    @property
    def is_ready(self) -> bool:
        """Whether every host leads to a pod that is ready."""
        return self._process is not None and self.hosts == self._routes.keys()

    def sync(self) -> None:
        """Do what is to be done now."""
        routes = self._find_routes()
        if self._process is not None and routes == self._routes:
            return
        address = self._kubelet.machine.address  # of all pods, too
        lines = [f"{host} {address}:{port};" for host, port in sorted(routes.items())]
        file = self._directory / "nginx.conf"
        file.write_text(
            _CONFIGURATION.format(
                module=_MODULE,
                directory=self._directory,
                address=address,
                routes="\n        ".join(lines),
            )
        )
        # After a reload, the old configuration would be served for a moment more, and nothing tells its end.
        self.stop()
        self._start(file)
        self._routes = routes

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop()

    def _start(self, file: Path) -> None:
        machine = self._kubelet.machine
        self._process = machine.start([program("nginx"), "-c", file, "-e", "stderr"], self._log)
        machine.wait_for_port(443, self._process)

    def _find_routes(self) -> dict[str, int]:
        routes = {}
        for thing in self._objects.all("Ingress"):
            annotations = thing["metadata"].get("annotations") or {}
            if thing["spec"].get("ingressClassName") != _CLASS or annotations.get(_PASSTHROUGH) != "true":
                continue
            for rule in thing["spec"]["rules"]:
                (path,) = rule["http"]["paths"]
                service = path["backend"]["service"]
                port = self._kubelet.port_of(
                    thing["metadata"]["namespace"], service["name"], service["port"]["number"]
                )
                if port is not None:
                    routes[rule["host"]] = port
        return routes
