import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { lookup } from 'node:dns/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createResolve } from '@payonce/core/webhooks/resolve'
import type { LookupAddress } from 'node:dns'

/** A name server that answers each question as it is told to, by its type (1 is A, 28 is AAAA), or never. */
async function startNameServer(answer: (type: number) => Buffer | undefined): Promise<string> {
  const server = createSocket('udp4')
  server.on('message', (query, { port, address }) => {
    const question = query.subarray(12, query.indexOf(0, 12) + 5)
    const data = answer(question.readUInt16BE(question.length - 4))
    if (data === undefined) return
    const header = Buffer.alloc(12)
    query.copy(header, 0, 0, 2)
    // An answer that recursion was wanted and had for; one question, and one record or none.
    header.writeUInt16BE(0x81_80, 2)
    header.writeUInt16BE(1, 4)
    header.writeUInt16BE(data.length > 0 ? 1 : 0, 6)
    server.send(Buffer.concat([header, question, record(question, data)]), port, address)
  })
  server.bind(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `127.0.0.1:${server.address().port}`
}

/** A record of the question's type with this data, for the name in the question. */
function record(question: Buffer, data: Buffer): Buffer {
  if (data.length === 0) return data
  const fields = Buffer.alloc(12)
  fields.writeUInt16BE(0xc0_0c, 0)
  question.copy(fields, 2, question.length - 4)
  fields.writeUInt32BE(60, 6)
  fields.writeUInt16BE(data.length, 10)
  return Buffer.concat([fields, data])
}

const nothing = Buffer.alloc(0)
const ipv4 = Buffer.from([93, 184, 215, 14])
const ipv6 = Buffer.from('20010db8000000000000000000000001', 'hex')

function resolve(name: string, server: string): Promise<LookupAddress[]> {
  return new Promise((done, fail) => {
    createResolve([server])(name, { all: true }, (error, addresses) =>
      error === null ? done(addresses) : fail(error),
    )
  })
}

describe('a name', () => {
  it('is resolved to all of its addresses, of both kinds', async () => {
    const server = await startNameServer((type) => (type === 1 ? ipv4 : ipv6))
    expect(await resolve('shop.example.com', server)).toEqual([
      { address: '93.184.215.14', family: 4 },
      { address: '2001:db8::1', family: 6 },
    ])
  })

  it('with addresses of one kind alone is resolved to those', async () => {
    const server = await startNameServer((type) => (type === 1 ? nothing : ipv6))
    expect(await resolve('shop.example.com', server)).toEqual([
      { address: '2001:db8::1', family: 6 },
    ])
  })

  it('without any address is not found', async () => {
    const server = await startNameServer(() => nothing)
    await expect(resolve('shop.example.com', server)).rejects.toMatchObject({ code: 'ENOTFOUND' })
  })

  it('that nobody answers for is given up, and keeps nobody from resolving others', async () => {
    const server = await startNameServer(() => undefined)
    let open = 0
    const asked = Array.from({ length: 50 }, (_, n) => {
      open += 1
      return resolve(`slow-${n}.example.com`, server)
        .catch((error: unknown) => error)
        .finally(() => (open -= 1))
    })
    // What Postgres and Redis are found by.
    await lookup('localhost')
    expect(open).toBe(50)
    for (const error of await Promise.all(asked)) expect(error).toMatchObject({ code: 'ENOTFOUND' })
  })
})

describe('what nobody need be asked for', () => {
  it.each([
    ['127.0.0.1', { address: '127.0.0.1', family: 4 }],
    ['::1', { address: '::1', family: 6 }],
    [
      'localhost',
      expect.objectContaining({ address: expect.stringMatching(/^(127\.0\.0\.1|::1)$/) }),
    ],
  ])('%s is resolved without a name server', async (name, address) => {
    const silent = await startNameServer(() => undefined)
    expect(await resolve(name, silent)).toContainEqual(address)
  })
})
