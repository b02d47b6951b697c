import { randomBytes } from 'node:crypto'
import { Client, escapeIdentifier } from 'pg'
import { inject } from 'vitest'
import './provided-context.ts'

/**
 * A new database with the current schema and nothing in it, for the calling test file alone.
 * Returns its URL. It is a copy of a template, which takes 60 ms instead of the migrations' time,
 * and it is removed with all others when the run ends.
 */
export async function createDatabase(): Promise<string> {
  const prefix = inject('databasePrefix')
  return cloneDatabase({
    serverUrl: inject('postgresUrl'),
    template: `${prefix}_template`,
    name: `${prefix}_${randomBytes(6).toString('hex')}`,
  })
}

/** A new, empty database without a schema, for tests of the migrations themselves. */
export async function createEmptyDatabase(): Promise<string> {
  return cloneDatabase({
    serverUrl: inject('postgresUrl'),
    template: 'template0',
    name: `${inject('databasePrefix')}_${randomBytes(6).toString('hex')}`,
  })
}

/** A copy of a database that nobody is connected to, with all that is in it. Returns its URL. */
export async function copyDatabase(databaseUrl: string): Promise<string> {
  return cloneDatabase({
    serverUrl: inject('postgresUrl'),
    template: new URL(databaseUrl).pathname.slice(1),
    name: `${inject('databasePrefix')}_${randomBytes(6).toString('hex')}`,
  })
}

async function cloneDatabase(options: {
  serverUrl: string
  template: string
  name: string
}): Promise<string> {
  const client = new Client(options.serverUrl)
  await client.connect()
  try {
    const [name, template] = [options.name, options.template].map(escapeIdentifier)
    await client.query(`CREATE DATABASE ${name} TEMPLATE ${template}`)
  } finally {
    await client.end()
  }
  return withDatabase(options.serverUrl, options.name)
}

function withDatabase(serverUrl: string, name: string): string {
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return url.href
}
