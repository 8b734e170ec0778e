"""The commands and their flags: names, environment variables and defaults are upstream Spegel's.

Flags that only this program has stand last in their command, and their defaults keep upstream's behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from daemon.cli.durations import parse_duration
from daemon.cli.flags import flag
from daemon.cli.values import parse_address, parse_bool, parse_int, parse_level, parse_size, parse_url


class UnusableFlagError(ValueError):
    """Flags that are well-formed do not fit together; the message names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """Flags of all commands; they may stand before the command too."""

    log_level: int = flag("Least level that is logged: DEBUG, INFO, WARN or ERROR.", "INFO", parse_level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Serve images to containerd and to other nodes; this is the daemon."""

    example: ClassVar[str] = (
        "spegel registry --bootstrap-kind http --http-bootstrap-url https://bootstrap.example.com/bootstrap-nodes"
    )

    bootstrap_kind: str = flag("How the first peers are found: dns, http or static.", required=True)
    dns_bootstrap_domain: str = flag("Domain whose addresses are peers; for kind dns.")
    http_bootstrap_addr: str = flag(
        "Address to serve this node's own peer info on, at /id; empty: not served."
    )
    http_bootstrap_url: str = flag("URL that answers with a list of peers; for kind http.", "", parse_url)
    http_bootstrap_cert_dir: str = flag("Directory with ca.crt, tls.crt and tls.key for that URL.")
    static_bootstrap_peers: tuple[str, ...] = flag("Multiaddrs of peers; for kind static.", many=True)
    metrics_addr: str = flag("Address of metrics and debug page.", ":9090", parse_address)
    containerd_sock: str = flag("containerd's socket.", "/run/containerd/containerd.sock")
    containerd_namespace: str = flag("containerd's namespace.", "k8s.io")
    containerd_content_path: str = flag(
        "Directory of containerd's content.", "/var/lib/containerd/io.containerd.content.v1.content"
    )
    data_dir: str = flag("Directory that keeps this node's identity; empty: a new one with every start.")
    router_addr: str = flag("Address of the router, for other nodes.", ":5001", parse_address)
    registry_addr: str = flag(
        "Address of the registry, for containerd and other nodes.", ":5000", parse_address
    )
    mirrored_registries: tuple[str, ...] = flag(
        "Registries to mirror, such as https://docker.io; none means all.", many=True
    )
    registry_filters: tuple[str, ...] = flag(
        "Regular expressions; images that match are neither served nor advertised.", many=True
    )
    mirror_resolve_timeout: float = flag("How long to look for a peer.", "20ms", parse_duration)
    mirror_resolve_retries: int = flag("How many peers to ask for one piece of content.", "3", parse_int)
    debug_web_enabled: bool = flag("Show the debug page /debug/web/.", "true", parse_bool)

    oci_layout: str = flag("Serve this OCI image layout directory instead of containerd's images.")
    verify_blobs: bool = flag("Compare blobs of peers with their digests on the way.", "false", parse_bool)
    upload_rate_limit: int = flag("Most bytes per second sent to other nodes; 0: no limit.", "0", parse_size)
    reconcile_interval: float = flag(
        "How often to compare what is advertised with the store.", "1m", parse_duration
    )
    shutdown_timeout: float = flag("How long transfers may go on after SIGTERM.", "10s", parse_duration)
    debug_profiling_enabled: bool = flag("Offer /debug/profile/ on the metrics address.", "false", parse_bool)

    def __post_init__(self) -> None:
        if self.bootstrap_kind not in {"dns", "http", "static"}:
            raise UnusableFlagError(f"--bootstrap-kind is dns, http or static, not {self.bootstrap_kind!r}")
        if self.bootstrap_kind == "dns" and not self.dns_bootstrap_domain:
            raise UnusableFlagError("--bootstrap-kind dns needs --dns-bootstrap-domain")
        if self.bootstrap_kind == "http" and not self.http_bootstrap_url:
            raise UnusableFlagError("--bootstrap-kind http needs --http-bootstrap-url")
        if self.http_bootstrap_addr:
            _checked("--http-bootstrap-addr", self.http_bootstrap_addr)
        for peer in self.static_bootstrap_peers:
            if not peer.startswith("/") or "/p2p/" not in peer:
                raise UnusableFlagError(
                    f"--static-bootstrap-peers: {peer!r} is no full multiaddr such as "
                    "/ip4/10.0.0.1/tcp/5001/p2p/12D3Koo..."
                )
        _at_least("--mirror-resolve-timeout", self.mirror_resolve_timeout, 0, "s")
        _at_least("--mirror-resolve-retries", self.mirror_resolve_retries, 0)
        _at_least("--reconcile-interval", self.reconcile_interval, 1, "s")
        _at_least("--shutdown-timeout", self.shutdown_timeout, 0, "s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Make containerd ask the registry first: write a hosts.toml for every mirrored registry."""

    example: ClassVar[str] = "spegel configuration --mirror-targets http://127.0.0.1:5000"

    containerd_registry_config_path: str = flag(
        "Directory of containerd's registry configuration.", "/etc/containerd/certs.d"
    )
    mirrored_registries: tuple[str, ...] = flag(
        "Registries to mirror, such as https://docker.io; none means all.", many=True
    )
    mirror_targets: tuple[str, ...] = flag("URLs of the registry, in order.", many=True, required=True)
    resolve_tags: bool = flag("Let the registry resolve tags too.", "true", parse_bool)
    prepend_existing: bool = flag("Keep existing configuration behind the new one.", "false", parse_bool)

    def __post_init__(self) -> None:
        if not self.mirror_targets:
            raise UnusableFlagError("--mirror-targets needs at least one URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleanup:
    """Put back the configuration that was there before, then answer readiness probes until stopped."""

    example: ClassVar[str] = "spegel cleanup --addr :8080"

    addr: str = flag("Address of the readiness probe.", None, parse_address, required=True)
    containerd_registry_config_path: str = flag(
        "Directory of containerd's registry configuration.", "/etc/containerd/certs.d"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupWait:
    """Wait until the cleanup has been done on all nodes."""

    example: ClassVar[str] = "spegel cleanup-wait --probe-endpoint cleanup.example.svc:8080"

    probe_endpoint: str = flag(
        "host:port; every address of the host is probed.", None, parse_address, required=True
    )
    threshold: int = flag("How many rounds in a row must succeed.", "3", parse_int)
    period: float = flag("Time from one round to the next.", "2s", parse_duration)

    def __post_init__(self) -> None:
        _at_least("--threshold", self.threshold, 1)
        _at_least("--period", self.period, 0.001, "s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Print the version."""

    example: ClassVar[str] = "spegel version --format json"

    format: str = flag("text or json.", "text", in_environment=False)

    def __post_init__(self) -> None:
        if self.format not in {"text", "json"}:
            raise UnusableFlagError(f"--format is text or json, not {self.format!r}")


Command = Registry | Configuration | Cleanup | CleanupWait | Version

COMMANDS: dict[str, type[Command]] = {
    "registry": Registry,
    "configuration": Configuration,
    "cleanup": Cleanup,
    "cleanup-wait": CleanupWait,
    "version": Version,
}


def _checked(option: str, address: str) -> None:
    try:
        parse_address(address)
    except ValueError as error:
        raise UnusableFlagError(f"{option}: {error}") from error


def _at_least(option: str, value: float, least: float, unit: str = "") -> None:
    if value < least:
        raise UnusableFlagError(f"{option} must be at least {least}{unit}")
