import { setTimeout as sleep } from 'node:timers/promises'
import { decodeId } from '@payonce/core/ids'
import type { Endpoint, Receiver } from '../harness/receiver.ts'
import type { Tenant } from '../harness/database.ts'
import type { Caller } from './caller.ts'
import type { ApiConnection, Reply } from './http.ts'

/** Who takes part: a tenant, its accounts, and where its events are sent. */
export type Cast = {
  tenant: Tenant
  currency: string
  world: string
  /** Everybody's money goes through these. */
  hot: readonly string[]
  others: readonly string[]
  endpoints: readonly (Endpoint & { storedId: string })[]
}

export type CastOptions = {
  api: ApiConnection
  /** Puts the payments of the opening balances into the history, like every other. */
  caller: Caller
  tenant: Tenant
  receiver: Receiver
}

const accountsOfATenant = 24
const hotAccounts = 3
/** So little that some run out of it while the storm lasts. */
const openingBalance = 40_000

/** Opens accounts and endpoints as a client does, and gives the accounts their first money. */
export async function gatherCast({ api, caller, tenant, receiver }: CastOptions): Promise<Cast> {
  const headers = {
    authorization: `Bearer ${tenant.apiKey}`,
    'content-type': 'application/json',
  }
  const post = async (path: string, body: object): Promise<Reply> => {
    const reply = await api.ask({ method: 'POST', path, headers, body: JSON.stringify(body) })
    if (reply.status >= 300) throw new Error(`${path}: ${JSON.stringify(reply.body)}`)
    return reply
  }
  const open = async (body: object) => String((await post('/v1/accounts', body)).body.id)

  const currency = 'EUR'
  const world = await open({ currency, kind: 'external', name: 'the world outside' })
  const accounts: string[] = []
  for (let number = 1; number <= accountsOfATenant; number++) {
    accounts.push(await open({ currency, name: `account ${number}` }))
  }
  await Promise.all(accounts.map(fund))

  async function fund(destination: string, index: number): Promise<void> {
    const client = `funding-${tenant.name}-${index}`
    const body = { source: world, destination, amount: openingBalance, currency }
    const operation = { kind: 'post', route: '/v1/transfers', key: client, body } as const
    const accepted = await caller.call({ client, tenant, api, operation })
    const target = String(accepted?.body.id)
    for (let looks = 0; looks < 200; looks++) {
      const seen = await caller.call({ client, tenant, api, operation: { kind: 'read', target } })
      if (seen?.body.status === 'succeeded') return
      await sleep(50)
    }
    throw new Error(`the funding ${target} was not settled in time`)
  }

  const endpoints = []
  for (const mode of ['healthy', 'bad'] as const) {
    const name = `${tenant.name}-${mode}`
    const url = receiver.urlOf(name)
    const { body } = await post('/v1/webhook-endpoints', { url, rate_limit: 1_000 })
    const endpoint = { id: String(body.id), secret: String(body.secret), mode }
    receiver.register(name, endpoint)
    endpoints.push({ ...endpoint, storedId: decodeId('endpoint', endpoint.id) ?? '' })
  }
  return {
    tenant,
    currency,
    world,
    hot: accounts.slice(0, hotAccounts),
    others: accounts.slice(hotAccounts),
    endpoints,
  }
}
