import { setTimeout as sleep } from 'node:timers/promises'
import { badModes } from '../harness/receiver.ts'
import { poison } from '../books.ts'
import { isWorthRepeating } from '../load/clients.ts'
import type { Fault, Storm } from './fault.ts'
import type { Reply } from '../load/http.ts'

const inFlight = 64
const opposites = 1_000
const debits = 1_000

/** Faults that lie in what is asked and in who asks, and in the receivers of webhooks. */
export const shapes: readonly Fault[] = [
  {
    row: 'F2',
    name: 'client leaves after the body',
    targets: ['clients'],
    durationMs: 5_000,
    recoveryMs: 5_000,
    strike: async ({ load }, { durationMs }) => {
      load.leaveAfterBody(0.3)
      await sleep(durationMs)
      load.leaveAfterBody(0)
    },
  },
  {
    row: 'F14',
    name: 'A to B against B to A',
    targets: ['clients'],
    durationMs: 5_000,
    recoveryMs: 10_000,
    strike: async (storm) => {
      const [cast] = storm.casts
      const [a = '', b = ''] = cast?.hot ?? []
      await burst(storm, 'F14', opposites, (index) => ({
        source: index % 2 === 0 ? a : b,
        destination: index % 2 === 0 ? b : a,
        amount: 1,
      }))
    },
  },
  {
    row: 'F15',
    name: 'a thousand debits, funds for half',
    targets: ['clients'],
    durationMs: 6_000,
    recoveryMs: 10_000,
    strike: spendHalf,
  },
  {
    row: 'F16',
    name: 'poison among others',
    targets: ['clients'],
    durationMs: 5_000,
    recoveryMs: 10_000,
    strike: poisonOneIn,
  },
  {
    row: 'F18',
    name: 'receiver fails in every way',
    targets: ['receiver'],
    durationMs: 14_000,
    recoveryMs: 60_000,
    strike: async ({ receiver }, { durationMs }) => {
      for (const mode of badModes) {
        receiver.behave(mode)
        await sleep(durationMs / badModes.length)
      }
      receiver.behave('well')
    },
  },
]

type Payment = { source: string; destination: string; amount: number; description?: string }

/** A call that was lost or refused for now is repeated so often, 200 ms apart. */
const tries = 25

/**
 * Sends payments of the first tenant, so many at a time, to every API in turns, each until it is
 * answered for good. Returns the answers of those that were accepted.
 */
async function burst(
  storm: Storm,
  name: string,
  count: number,
  paymentOf: (index: number) => Payment,
): Promise<Reply[]> {
  const [cast] = storm.casts
  if (cast === undefined) throw new Error('there is no tenant')
  const replies: Reply[] = []
  let next = 0
  const prefix = `${name}-${Math.round(performance.now())}`
  const runs = Array.from({ length: inFlight }, async (_, lane) => {
    for (let index = next++; index < count; index = next++) {
      const api = storm.connections[index % storm.connections.length]
      if (api === undefined) throw new Error('there is no API')
      const operation = {
        kind: 'post',
        route: '/v1/transfers',
        key: `${prefix}-${index}`,
        body: { ...paymentOf(index), currency: cast.currency },
      } as const
      const client = `${prefix}-${lane}`
      for (let attempt = 1; attempt <= tries; attempt++) {
        const reply = await storm.caller.call({ client, tenant: cast.tenant, api, operation })
        if (reply?.status === 202) replies.push(reply)
        if (reply !== undefined && !isWorthRepeating(reply)) break
        await sleep(200)
      }
    }
  })
  await Promise.all(runs)
  return replies
}

async function spendHalf(storm: Storm): Promise<void> {
  const [cast] = storm.casts
  const [api] = storm.connections
  if (cast === undefined || api === undefined) throw new Error('there is nobody to spend')
  const { body } = await api.ask({
    method: 'POST',
    path: '/v1/accounts',
    headers: {
      authorization: `Bearer ${cast.tenant.apiKey}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ currency: cast.currency, name: 'one that is emptied' }),
  })
  const account = String(body.id)
  const funds = debits / 2
  const [funding] = await burst(storm, 'F15-funds', 1, () => ({
    source: cast.world,
    destination: account,
    amount: funds,
  }))
  const ids = [funding, ...(await awaitFunds())].map((reply) => String(reply?.body.id))
  const settled = await countSucceeded(storm, ids.slice(1))
  if (settled !== funds) storm.find(`F15: ${settled} of ${debits} debits succeeded, not ${funds}`)

  async function awaitFunds(): Promise<Reply[]> {
    await countSucceeded(storm, [String(funding?.body.id)])
    return burst(storm, 'F15', debits, () => ({
      source: account,
      destination: cast?.hot[0] ?? '',
      amount: 1,
    }))
  }
}

/** Waits until all of these have ended, and tells how many of them succeeded. */
async function countSucceeded({ pool }: Storm, wireIds: readonly string[]): Promise<number> {
  const ids = wireIds.map(storedForm)
  const deadline = performance.now() + 20_000
  for (;;) {
    const { rows } = await pool.query<{ ended: number; succeeded: number }>(
      `SELECT count(*)::int AS ended,
              count(*) FILTER (WHERE status = 'succeeded')::int AS succeeded
         FROM transfers WHERE replace(id::text, '-', '') = ANY ($1)`,
      [ids],
    )
    const { ended = 0, succeeded = 0 } = rows[0] ?? {}
    if (ended === ids.length || performance.now() > deadline) return succeeded
    await sleep(100)
  }
}

/** The digits of an id, without what makes it one of a transfer. */
function storedForm(wireId: string): string {
  return wireId.replace(/^tr_/, '')
}

const poisoned = 400
/** One in so many makes settlement throw by itself. */
const poisonEvery = 100
const neighboursSettleWithinMs = 5_000

/** Makes Postgres refuse single transfers with an error that is no outage, for a while. */
async function poisonOneIn(storm: Storm): Promise<void> {
  const { pool } = storm
  const [cast] = storm.casts
  await pool.query(
    `CREATE FUNCTION storm_poison() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN RAISE EXCEPTION 'poison' USING ERRCODE = 'data_exception'; END $$`,
  )
  await pool.query(
    `CREATE TRIGGER storm_poison BEFORE INSERT ON transfers FOR EACH ROW
       WHEN (NEW.description = '${poison}') EXECUTE FUNCTION storm_poison()`,
  )
  try {
    const replies = await burst(storm, 'F16', poisoned, (index) => ({
      source: cast?.world ?? '',
      destination: cast?.hot[0] ?? '',
      amount: 1,
      ...(index % poisonEvery === 0 ? { description: poison } : {}),
    }))
    if (replies.length < poisoned) storm.find(`F16: only ${replies.length} were accepted`)
    const neighbours = replies.filter(({ body }) => body.description !== poison)
    const ids = neighbours.map(({ body }) => String(body.id))
    const succeeded = await countSucceeded(storm, ids)
    const { rows } = await pool.query<{ longest: number }>(
      `SELECT coalesce(max(extract(epoch FROM settled_at - created_at) * 1000), 0)::int AS longest
         FROM transfers
        WHERE replace(id::text, '-', '') = ANY ($1)`,
      [ids.map(storedForm)],
    )
    const longest = rows[0]?.longest ?? 0
    storm.tell(`${succeeded} neighbours of poison, the last settled after ${longest} ms`)
    if (succeeded !== ids.length) storm.find(`F16: ${ids.length - succeeded} neighbours wait`)
    if (longest > neighboursSettleWithinMs) storm.find(`F16: a neighbour waited ${longest} ms`)
  } finally {
    await pool.query('DROP FUNCTION storm_poison CASCADE')
  }
}
