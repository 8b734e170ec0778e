// Runs js-libp2p nodes for tests. Requests come as lines of JSON, {id, node, call, parameters}, and so do answers,
// {id, result} or {id, error}. Ends with its input.

import { createInterface } from 'node:readline'
import { identify, identifyPush } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'

const PROTOCOL = '/spegel/kad/1.0.0'
const nodes = new Map()

async function cid (text) {
  return CID.createV1(raw.code, await sha256.digest(new TextEncoder().encode(text)))
}

const calls = {
  async start (name) {
    const node = await createLibp2p({
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      // All nodes of a test have one address.
      connectionManager: { inboundConnectionThreshold: 10000, maxIncomingPendingConnections: 1000 },
      services: {
        identify: identify(),
        push: identifyPush(),
        ping: ping(),
        dht: kadDHT({ protocol: PROTOCOL, clientMode: false, peerInfoMapper: passthroughMapper })
      }
    })
    nodes.set(name, node)
    return { id: node.peerId.toString(), addresses: node.getMultiaddrs().map(String) }
  },
  async dial (name, address) {
    const connection = await nodes.get(name).dial(multiaddr(address))
    return connection.remotePeer.toString()
  },
  async ping (name, address) {
    return await nodes.get(name).services.ping.ping(multiaddr(address))
  },
  async identified (name, peer) {
    const known = await nodes.get(name).peerStore.all()
    const found = known.find(({ id }) => id.toString() === peer)
    return {
      addresses: found?.addresses.map(({ multiaddr }) => multiaddr.toString()) ?? [],
      protocols: found?.protocols ?? [],
      agent: new TextDecoder().decode(found?.metadata.get('AgentVersion'))
    }
  },
  async connections (name) {
    return nodes.get(name).getConnections().map(connection => ({
      peer: connection.remotePeer.toString(),
      direction: connection.direction,
      encryption: connection.encryption,
      multiplexer: connection.multiplexer
    }))
  },
  async table (name) {
    return nodes.get(name).services.dht.routingTable.size
  },
  async refresh (name) {
    await nodes.get(name).services.dht.refreshRoutingTable()
  },
  async provide (name, key) {
    await nodes.get(name).contentRouting.provide(await cid(key))
  },
  async find (name, key, count) {
    const found = new Map()
    for await (const provider of nodes.get(name).contentRouting.findProviders(await cid(key))) {
      found.set(provider.id.toString(), provider.multiaddrs.map(String))
      if (found.size >= count) break
    }
    return Object.fromEntries(found)
  },
  async closest (name, key) {
    const found = []
    for await (const peer of nodes.get(name).peerRouting.getClosestPeers((await cid(key)).multihash.bytes)) {
      found.push(peer.id.toString())
    }
    return found
  },
  async stop (name) {
    await nodes.get(name).stop()
    nodes.delete(name)
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, node, call, parameters } = JSON.parse(line)
  calls[call](node, ...parameters).then(
    result => { process.stdout.write(JSON.stringify({ id, result: result ?? null }) + '\n') },
    error => { process.stdout.write(JSON.stringify({ id, error: String(error?.stack ?? error) }) + '\n') }
  )
}
process.exit(0)
