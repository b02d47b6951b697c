import { once } from 'node:events'
import { createHttpServer } from '@payonce/api/http-server'
import { createIdGenerator } from '@payonce/core/ids'
import { createLog } from '@payonce/core/log'
import { Hono } from 'hono'
import { afterEach, describe, expect, it } from 'vitest'
import { RawConnection } from '../support/raw-connection.ts'
import { until } from '../support/until.ts'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Env } from '@payonce/api/deps'

const log: string[] = []
const servers: Server[] = []

afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections()
  log.length = 0
})

async function serve(app: Hono<Env>): Promise<{ server: Server; url: string }> {
  const server = createHttpServer({
    app,
    host: '127.0.0.1',
    publicUrl: 'https://payonce.example',
    newId: createIdGenerator(Date.now),
    log: createLog({
      name: 'test',
      level: 'trace',
      destination: { write: (line) => log.push(line) },
    }),
  })
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

function connectionsOf(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error ? reject(error) : resolve(count)))
  })
}

describe('the server around the app', () => {
  it('B6: limits how long a client may take, how much it may send, and how many there are', async () => {
    const { server } = await serve(new Hono())
    expect(server).toMatchObject({
      requestTimeout: 9_000,
      headersTimeout: 9_000,
      keepAliveTimeout: 15_000,
      timeout: 60_000,
      maxConnections: 25_000,
    })
  })

  it('B6: cuts off who does not read the answer', async () => {
    const app = new Hono<Env>().get('/', (c) => c.body(new Uint8Array(50_000_000)))
    const { server, url } = await serve(app)
    server.setTimeout(200)
    const connection = await RawConnection.open(url)
    connection.pause()
    connection.send({ method: 'GET', path: '/' })
    await until('somebody is connected', async () => (await connectionsOf(server)) === 1)
    await until('nobody is', async () => (await connectionsOf(server)) === 0)
    connection.destroy()
  })

  it('B28: cuts off who sends more requests ahead than are worth keeping', async () => {
    let answered = 0
    let release = () => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    const app = new Hono<Env>().get('/', async (c) => {
      answered += 1
      await held
      return c.text('here')
    })
    const { url } = await serve(app)
    const few = await RawConnection.open(url)
    few.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(100))
    const many = await RawConnection.open(url)
    many.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(102))
    await many.untilClosed()
    expect(answered).toBe(2)
    release()
    for (let n = 0; n < 100; n++) expect((await few.answer()).text).toBe('here')
    few.destroy()
  })

  it('answers a failure that the app let through, and tells of it in the log alone', async () => {
    const app = new Hono<Env>()
    app.fetch = () => Promise.reject(new Error('out of order'))
    const { url } = await serve(app)
    const connection = await RawConnection.open(url)
    connection.send({ method: 'GET', path: '/' })
    const answer = await connection.answer()
    expect(answer.status).toBe(500)
    expect(answer.json).toMatchObject({ code: 'internal_error', retryable: true })
    expect(answer.text).not.toContain('out of order')
    await connection.untilClosed()
    expect(log.join('')).toMatch(/"level":"error".*out of order/)
  })
})
