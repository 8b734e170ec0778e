"""The story: from an OperatingSystemConfig to images that nodes give each other, with every part at work."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from demo import image as images
from demo import review
from demo.admission import ApiServerClient
from demo.agent import Setup, read_setup
from demo.cluster import Cluster, Node, address_of
from demo.ports import replacements
from demo.processes import Processes
from demo.puller import Reference
from demo.report import Pull, Report, size
from demo.seed import Seed, seed
from demo.upstream import RATE, Upstream

_NODES = 3
"""Nodes that there are from the start."""
_ADDRESSES = [address_of(number) for number in range(1, _NODES + 3)]
"""Of these, of the one that comes later, and of the empty one that --keep adds."""
_CONFIG_API = "spegel.extensions.gardener.cloud/v1alpha1"


@dataclass(frozen=True, slots=True)
class Options:
    """What to tell."""

    file: str
    """With the OperatingSystemConfig."""
    diff: bool
    """Show all that the webhook changes, not only where."""
    keep: bool
    """Stay up until a signal comes."""


async def tell(options: Options, report: Report) -> None:
    """Tell the story.

    Raises:
        DemoError: it does not go as it should.
        documents.DocumentError: the file cannot be read.
    """
    started = time.perf_counter()
    osc = review.operating_system_config(options.file)
    namespace = osc["metadata"]["namespace"]
    report.title("registry-spegel: from an OperatingSystemConfig to a peer-to-peer pull")
    with tempfile.TemporaryDirectory(prefix="registry-spegel-demo-") as temporary:
        directory = Path(temporary)
        async with AsyncExitStack() as stack:
            processes = await stack.enter_async_context(Processes(directory))
            session = await stack.enter_async_context(_session())
            report.step("A seed, which sets up the nodes of a Shoot")
            others = stack.enter_context(replacements(_ADDRESSES))
            with report.waiting("starting"):
                its_seed = await stack.enter_async_context(
                    seed(
                        processes,
                        session,
                        directory,
                        namespace,
                        provider_config=_provider_config(others),
                        nodes=[(f"node-{number}", address_of(number)) for number in range(1, _NODES + 1)],
                    )
                )
            _show_seed(report, its_seed, namespace, others)
            client = ApiServerClient(session, its_seed.webhook_port, its_seed.webhook_authority)
            after = await review.admit(report, client, osc, diff=options.diff)
            setup = read_setup(after)
            if setup is None:
                report.gap()
                report.note("the webhook leaves this one alone: its nodes get no cache")
                return
            cluster = Cluster(processes, session, directory, setup, its_seed.secret)
            upstream = await stack.enter_async_context(Upstream(await asyncio.to_thread(images.make_image)))
            image = Reference(upstream.name, images.REPOSITORY, images.TAG)
            pulls = await _show_pulls(report, cluster, setup, upstream, image)
            report.note(f"all of it took {time.perf_counter() - started:.1f} s")
            if options.keep:
                await _keep(report, cluster, image, pulls[0].fetched[0].part.digest)
            else:
                report.note("now it ends; --keep would leave it running for you to explore")


def _session() -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=30)
    return aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))


def _provider_config(others: Mapping[str, tuple[int, int]]) -> dict[str, Any] | None:
    if not others:
        return None
    fields = {field: new for field, (_, new) in others.items()}
    return {"apiVersion": _CONFIG_API, "kind": "SpegelConfig", **fields}


def _show_seed(report: Report, its_seed: Seed, namespace: str, others: Mapping[str, tuple[int, int]]) -> None:
    report.line("API server", f"{its_seed.api_server} has Extension, Cluster and Secret of {namespace}")
    report.line("webhook", f"https://127.0.0.1:{its_seed.webhook_port} changes OperatingSystemConfigs")
    report.line("bootstrapper", f"{its_seed.bootstrap_url} names nodes to nodes that show a certificate")
    for field, (taken, new) in others.items():
        report.line("taken", f"port {taken}, so the Shoot asks for {field}: {new}")


async def _show_pulls(
    report: Report, cluster: Cluster, setup: Setup, upstream: Upstream, image: Reference
) -> list[Pull]:
    report.step("Three nodes do what it says")
    report.line("spegel", " ".join(setup.command))
    url = f"http://localhost:{setup.ports['registry']}"
    report.line("hosts.toml", f"of _default: {url} ({', '.join(setup.capabilities)}), then upstream")
    with report.waiting("starting"):
        await cluster.add(_NODES)
        await cluster.until_met()
    for node in cluster.nodes:
        report.line(node.name, f"{node.address} has met the others; {node.debug_page}")

    report.step(f"Each of them pulls {image}")
    report.note(f"upstream sends {size(RATE)}/s at most, as a registry far away might")
    pulls: list[Pull] = []
    for node in cluster.nodes:
        pull = await _pull(report, cluster, node, image, pulls)
        pulls.append(replace(pull, seen=upstream.take()))

    report.step("Upstream stops, and a fresh node pulls the same image")
    await upstream.stop()
    [node] = await cluster.add()
    with report.waiting("starting"):
        await cluster.until_met()
    pulls.append(await _pull(report, cluster, node, image, pulls))
    report.step("What came from where")
    report.table(pulls)
    return pulls


async def _pull(
    report: Report, cluster: Cluster, node: Node, image: Reference, before: Sequence[Pull]
) -> Pull:
    """Let a node pull, once it knows what others have from the pulls before; and let it offer what it has."""
    if before:
        parts = [fetched.part for fetched in before[0].fetched]
        with report.waiting(f"{before[-1].node} tells the others what it has"):
            await cluster.nodes[len(before) - 1].until_advertised(len(parts) + 1)
            await node.until_it_finds(image, parts)
    with report.pulling(node.name, node.address) as view:
        started = time.perf_counter()
        fetched = await node.pull(image, view)
        seconds = time.perf_counter() - started
        names = await cluster.names()
        mirrored = [one.part.digest for one in fetched if one.host.namespace]
        peers = await node.sources(mirrored)
        sources = {one.part.digest: "upstream" for one in fetched} | {
            digest: ", ".join(names[peer] for peer in peers[digest]) for digest in mirrored
        }
        view.came_from(sources)
    return Pull(node.name, fetched, sources, seconds, None)


async def _keep(report: Report, cluster: Cluster, image: Reference, digest: str) -> None:
    """Stay until cancelled, and say what can be tried."""
    with report.waiting("starting"):
        [node] = await cluster.add()
        await cluster.until_met()
    report.step("All of it stays up until Ctrl-C")
    report.line("debug pages", *(each.debug_page for each in cluster.nodes))
    report.line(
        node.name, f"{node.registry} has nothing of its own: it gets from the others what you ask for"
    )
    report.note("what can be tried from another terminal, while upstream is stopped:")
    report.gap()
    by_digest = f"{node.registry}/{image.repository}@{digest}"
    for command in (
        f"curl 'http://{node.registry}/v2/{image.repository}/manifests/{image.tag}?ns={image.registry}'",
        f"skopeo copy --src-tls-verify=false docker://{by_digest} dir:shop",
        f"crane pull --insecure {by_digest} shop.tar",
        f"sudo ctr images pull --hosts-dir {node.certs_d} {image}",
    ):
        report.plain(command)
    await asyncio.Event().wait()
