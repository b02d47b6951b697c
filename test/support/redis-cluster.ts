import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '@payonce/local/loopback-port'
import { Redis } from 'ioredis'
import { onTestFinished } from 'vitest'
import { startRedisServer, type RedisServer } from './redis-server.ts'
import { until } from './until.ts'

/** A Redis Cluster of three masters, each with a replica. It ends with the test. */
export type RedisCluster = {
  /** Two of its nodes, as `REDIS_URL` names them. */
  url: string
  /** The id, among the cluster's nodes, of the master that a key lives at. */
  masterOf(key: string): Promise<string>
  /** kill -9 of a node. */
  kill(id: string): Promise<void>
  /** Moves the slot of a key, with all that is in it, to another master, while it is in use. */
  moveSlotOf(key: string): Promise<void>
}

const slotCount = 16_384
const masterCount = 3
/** A second: after that a node that is silent is held for dead by the others. */
const nodeTimeoutMs = 1_000

type Node = { id: string; server: RedisServer; redis: Redis }

export async function startRedisCluster(): Promise<RedisCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'payonce-cluster-'))
  const nodes: Node[] = []
  onTestFinished(async () => {
    for (const { server, redis } of nodes) {
      redis.disconnect()
      if (server.isRunning()) process.kill(server.pid, 'SIGKILL')
      await server.exited
    }
    await rm(folder, { recursive: true })
  })
  for (let n = 0; n < 2 * masterCount; n++) nodes.push(await startNode(folder, n))
  await joinNodes(nodes)

  /** Of a node that is still there. */
  function slotOf(key: string): Promise<number> {
    return alive().redis.cluster('KEYSLOT', key)
  }

  function alive(): Node {
    const node = nodes.find(({ server }) => server.isRunning())
    if (node === undefined) throw new Error('all nodes are dead')
    return node
  }

  async function masterOf(key: string): Promise<string> {
    const slot = await slotOf(key)
    const text = String(await alive().redis.cluster('NODES'))
    const line = text.split('\n').find((one) => isMasterOf(one, slot))
    if (line === undefined) throw new Error(`nobody has slot ${slot}:\n${text}`)
    return line.split(' ')[0] ?? ''
  }

  return {
    url: nodes
      .slice(0, 2)
      .map(({ server }) => server.url)
      .join(','),
    masterOf,
    kill: async (id) => {
      const { server } = nodeOf(nodes, id)
      process.kill(server.pid, 'SIGKILL')
      await server.exited
    },
    moveSlotOf: async (key) => {
      const slot = await slotOf(key)
      const from = nodeOf(nodes, await masterOf(key))
      const to = nodes.slice(0, masterCount).find((node) => node !== from)
      if (to === undefined) throw new Error('there is no other master')
      await moveSlot(slot, from, to)
    },
  }
}

async function startNode(folder: string, n: number): Promise<Node> {
  const server = await startRedisServer(undefined, {
    'cluster-enabled': 'yes',
    'cluster-port': await freePort(),
    'cluster-config-file': join(folder, `node-${n}.conf`),
    'cluster-node-timeout': nodeTimeoutMs,
  })
  const redis = new Redis(server.url)
  redis.on('error', () => undefined)
  return { id: await redis.cluster('MYID'), server, redis }
}

/** Gives the first ones the slots, makes the others their replicas, and waits until all agree. */
async function joinNodes(nodes: readonly Node[]): Promise<void> {
  const [first, ...others] = nodes
  for (const node of others) {
    const bus = await busPortOf(node)
    await first?.redis.call('CLUSTER', 'MEET', '127.0.0.1', node.server.port, bus)
  }
  for (const [n, { redis }] of nodes.slice(0, masterCount).entries()) {
    const bound = (share: number) => Math.floor((share * slotCount) / masterCount)
    await redis.call('CLUSTER', 'ADDSLOTSRANGE', bound(n), bound(n + 1) - 1)
  }
  await until('all know of all', async () => {
    const texts = await Promise.all(nodes.map(({ redis }) => redis.cluster('NODES')))
    return texts.every((text) => nodes.every(({ id }) => String(text).includes(id)))
  })
  for (const [n, { redis }] of nodes.slice(masterCount).entries()) {
    await redis.call('CLUSTER', 'REPLICATE', nodes[n]?.id ?? '')
  }
  await until(
    'the cluster is up, and its replicas follow',
    async () => {
      const texts = await Promise.all(
        nodes.map(async ({ redis }) => [
          await redis.cluster('INFO'),
          await redis.info('replication'),
        ]),
      )
      return texts.every(
        ([cluster, replication = '']) =>
          String(cluster).includes('cluster_state:ok') &&
          (replication.includes('role:master') || replication.includes('master_link_status:up')),
      )
    },
    { withinMs: 20_000 },
  )
}

async function busPortOf({ redis }: Node): Promise<string> {
  const [, port = ''] = await redis.config('GET', 'cluster-port')
  return port
}

/** As redis-cli does it when it reshards. */
async function moveSlot(slot: number, from: Node, to: Node): Promise<void> {
  await to.redis.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id)
  await from.redis.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id)
  for (;;) {
    const keys = (await from.redis.call('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[]
    if (keys.length === 0) break
    await from.redis.call('MIGRATE', '127.0.0.1', to.server.port, '', 0, 5_000, 'KEYS', ...keys)
  }
  for (const { redis } of [to, from]) {
    await redis.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id)
  }
}

function nodeOf(nodes: readonly Node[], id: string): Node {
  const node = nodes.find((one) => one.id === id)
  if (node === undefined) throw new Error(`there is no node ${id}`)
  return node
}

/** A line of CLUSTER NODES: id, address, flags, …, ranges of slots. */
function isMasterOf(line: string, slot: number): boolean {
  const [, , flags = '', , , , , , ...ranges] = line.split(' ')
  if (!flags.includes('master') || flags.includes('fail')) return false
  return ranges.some((range) => {
    const [low = NaN, high = low] = range.split('-').map(Number)
    return slot >= low && slot <= high
  })
}
