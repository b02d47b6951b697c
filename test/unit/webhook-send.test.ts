import { once } from 'node:events'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { generate } from 'selfsigned'
import { describe, expect, it, onTestFinished } from 'vitest'
import { parseNetworks } from '@payonce/core/networks'
import { StoppedError, createSender, type SenderOptions } from '@payonce/core/webhooks/send'
import { until } from '../support/until.ts'
import type { LookupAddress } from 'node:dns'
import type { Server } from 'node:net'

const kilobyte = 1_024
const megabyte = kilobyte * kilobyte
const loopback = parseNetworks('127.0.0.0/8')

/** A receiver that counts who comes. It ends with the test. */
type Receiver = { url: string; port: number; sockets: readonly Socket[]; requests: Received[] }
type Received = { method: string; path: string; headers: Record<string, unknown>; body: string }

async function listen(server: Server, { host = '127.0.0.1', scheme = 'http' } = {}) {
  const sockets: Socket[] = []
  server.on('connection', (socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
  })
  server.listen(0, host)
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `${scheme}://127.0.0.1:${port}`, port, sockets, requests: [] as Received[] }
}

/** A receiver that reads each request, and answers as it is told. */
async function receive(answer: RequestListener, host?: string): Promise<Receiver> {
  const server = createHttpServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request
      receiver.requests.push({ method, path, headers, body: Buffer.concat(chunks).toString() })
      answer(request, response)
    })
  })
  const receiver = await listen(server, host === undefined ? {} : { host })
  return receiver
}

/** A receiver that knows no HTTP: it is given the connection when something has come. */
function receiveRaw(answer: (socket: Socket) => void): Promise<Receiver> {
  return listen(createTcpServer((socket) => socket.once('data', () => answer(socket))))
}

function answering(
  status: number,
  headers: Record<string, string | string[]> = {},
  body: string | Uint8Array = '',
): RequestListener {
  return (_, response) => response.writeHead(status, headers).end(body)
}

function createTestSender(options: Partial<SenderOptions> = {}) {
  const sender = createSender({ allowed: loopback, timeoutMs: 5_000, ...options })
  onTestFinished(() => sender.stop())
  return sender
}

function send(url: string, options: Partial<SenderOptions> = {}) {
  return createTestSender(options).send({ url, headers: {}, body: '{}' })
}

/** Answers each lookup with the next of these, and the last one again and again. */
function resolvingTo(...answers: readonly (readonly string[])[]): {
  resolve: NonNullable<SenderOptions['resolve']>
  names: string[]
} {
  const names: string[] = []
  return {
    names,
    resolve: (name, _, callback) => {
      const addresses = answers[Math.min(names.length, answers.length - 1)] ?? []
      names.push(name)
      callback(null, addresses.map(toLookupAddress))
    },
  }
}

function toLookupAddress(address: string): LookupAddress {
  return { address, family: address.includes(':') ? 6 : 4 }
}

function failingWith(code: string): NonNullable<SenderOptions['resolve']> {
  return (_, __, callback) => callback(Object.assign(new Error(code), { code }), [])
}

describe('a message', () => {
  it('arrives by POST, with its headers and the bytes of its body', async () => {
    const receiver = await receive(answering(204))
    const body = '{"description":"größer 😀"}'
    const headers = { 'content-type': 'application/json', 'webhook-id': 'evt_1' }
    await createTestSender().send({ url: `${receiver.url}/hook?from=payonce`, headers, body })
    expect(receiver.requests).toEqual([
      {
        method: 'POST',
        path: '/hook?from=payonce',
        headers: expect.objectContaining({
          ...headers,
          host: `127.0.0.1:${receiver.port}`,
          'content-length': String(Buffer.byteLength(body)),
        }),
        body,
      },
    ])
  })

  it('does not wait for others to the same host that are never answered', async () => {
    const receiver = await receive((request, response) => {
      if (request.url === '/quick') response.end()
    })
    const sender = createTestSender()
    const post = (path: string) =>
      sender.send({ url: `${receiver.url}${path}`, headers: {}, body: '{}' })
    const slow = Array.from({ length: 20 }, () => post('/never').catch(() => undefined))
    const { error, durationMs } = await post('/quick')
    expect(error).toBeNull()
    expect(durationMs).toBeLessThan(2_000)
    await sender.stop()
    await Promise.all(slow)
  })

  it('is told when it was sent and how long that took', async () => {
    const receiver = await receive((_, response) => setTimeout(() => response.end(), 50))
    const before = Date.now()
    const { startedAt, durationMs } = await send(receiver.url)
    expect(startedAt.getTime()).toBeGreaterThanOrEqual(before)
    expect(startedAt.getTime() + durationMs).toBeLessThanOrEqual(Date.now() + 1)
    expect(durationMs).toBeGreaterThanOrEqual(49)
    expect(Number.isInteger(durationMs)).toBe(true)
  })

  it.each([200, 201, 202, 204, 299])('succeeds with %i', async (status) => {
    const body = status === 204 ? '' : 'thank you'
    const receiver = await receive(answering(status, {}, body))
    expect(await send(receiver.url)).toMatchObject({
      statusCode: status,
      error: null,
      answer: body,
      retryAfterMs: undefined,
    })
  })

  it.each([400, 401, 404, 410, 429, 500, 502, 503, 599])(
    'fails with %i, and what was answered is kept',
    async (status) => {
      const receiver = await receive(answering(status, {}, '{"error":"größer 😀"}\r\n\t'))
      expect(await send(receiver.url)).toMatchObject({
        statusCode: status,
        error: 'status_not_2xx',
        answer: '{"error":"größer 😀"}\r\n\t',
      })
    },
  )

  it.each([300, 301, 302, 303, 304, 307, 308])(
    'fails with %i, and nobody goes where it leads',
    async (status) => {
      const target = await receive(answering(200))
      const receiver = await receive(answering(status, { location: `${target.url}/hook` }))
      expect(await send(receiver.url)).toMatchObject({ statusCode: status, error: 'redirect' })
      expect(receiver.requests).toHaveLength(1)
      expect(target.sockets).toHaveLength(0)
    },
  )

  it('goes to localhost as the machine resolves it, where that is allowed', async () => {
    const receiver = await receive(answering(200))
    const allowed = parseNetworks('127.0.0.0/8,::1/128')
    const result = await send(`http://localhost:${receiver.port}/`, { allowed })
    expect(result).toMatchObject({ statusCode: 200, error: null })
  })
})

describe('Retry-After', () => {
  it.each([
    ['of seconds', '120', 120_000],
    ['of no time', '0', undefined],
    ['of less than no time', '-5', undefined],
    ['of a fraction', '1.5', undefined],
    ['of more digits than anybody waits', '9999999999', undefined],
    ['in words', 'soon', undefined],
    ['in words with a year', 'not before 2099', undefined],
    ['of a date of another form', '2099-01-01', undefined],
    ['of a time that is over', 'Sun, 06 Nov 1994 08:49:37 GMT', undefined],
    ['twice', ['120', '240'], undefined],
  ])('%s is read', async (_, header, retryAfterMs) => {
    const receiver = await receive(answering(503, { 'retry-after': header }))
    expect(await send(receiver.url)).toMatchObject({ error: 'status_not_2xx', retryAfterMs })
  })

  it('of a date is the time until then', async () => {
    const date = new Date(Date.now() + 60_000).toUTCString()
    const receiver = await receive(answering(429, { 'retry-after': date }))
    const { retryAfterMs = NaN } = await send(receiver.url)
    // A date has no milliseconds.
    expect(retryAfterMs).toBeGreaterThan(55_000)
    expect(retryAfterMs).toBeLessThanOrEqual(60_000)
  })
})

describe('B33 a receiver that', () => {
  it('answers without end is cut off early, and what came first is kept', async () => {
    const receiver = await receive((_, response) => {
      Readable.from(endless('x'.repeat(10 * kilobyte))).pipe(response)
    })
    expect(await send(receiver.url)).toMatchObject({
      statusCode: 200,
      error: 'answer_too_large',
      answer: 'x'.repeat(16 * kilobyte),
    })
    await until('the connection is closed', () => receiver.sockets[0]?.destroyed)
    expect(receiver.sockets[0]?.bytesWritten).toBeLessThan(20 * megabyte)
  })

  it('answers 50 MB is cut off long before they were sent', async () => {
    const receiver = await receive((_, response) => {
      response.writeHead(500, { 'content-length': 50 * megabyte })
      Readable.from(endless('x'.repeat(64 * kilobyte))).pipe(response)
    })
    expect(await send(receiver.url)).toMatchObject({ statusCode: 500, error: 'answer_too_large' })
    await until('the connection is closed', () => receiver.sockets[0]?.destroyed)
    expect(receiver.sockets[0]?.bytesWritten).toBeLessThan(20 * megabyte)
  })

  it('answers 64 KB is heard out, and one byte more is too much', async () => {
    const atMost = await receive(answering(200, {}, 'x'.repeat(64 * kilobyte)))
    expect(await send(atMost.url)).toMatchObject({ error: null, answer: 'x'.repeat(16 * kilobyte) })
    const tooLarge = await receive(answering(200, {}, 'x'.repeat(64 * kilobyte + 1)))
    expect(await send(tooLarge.url)).toMatchObject({ error: 'answer_too_large' })
  })

  it.each([
    ['answers nothing', () => undefined],
    [
      'answers a byte of the head now and then',
      (socket: Socket) => drip(socket, 'HTTP/1.1 200 OK\r\nx-slow: '),
    ],
    [
      'answers a byte of the body now and then',
      (socket: Socket) => drip(socket, 'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n'),
    ],
    [
      'answers a byte of chunks now and then',
      (socket: Socket) =>
        drip(socket, 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', '1\r\nx\r\n'),
    ],
    [
      'says again and again that it is about to answer',
      (socket: Socket) => drip(socket, '', 'HTTP/1.1 103 Early Hints\r\n\r\n'),
    ],
  ])('%s is cut off when its time is over', async (_, answer) => {
    const receiver = await receiveRaw(answer)
    const result = await send(receiver.url, { timeoutMs: 500 })
    expect(result).toMatchObject({ error: 'timeout' })
    expect(result.durationMs).toBeGreaterThanOrEqual(490)
    expect(result.durationMs).toBeLessThan(2_500)
    await until('the connection is closed', () => receiver.sockets[0]?.destroyed)
  })

  it('answers a bomb of gzip blows up nothing', async () => {
    const bomb = gzipSync(Buffer.alloc(20 * megabyte))
    expect(bomb.length).toBeLessThan(64 * kilobyte)
    const receiver = await receive(answering(200, { 'content-encoding': 'gzip' }, bomb))
    const { error, answer } = await send(receiver.url)
    expect(error).toBeNull()
    expect(Buffer.byteLength(answer ?? '')).toBeLessThanOrEqual(16 * kilobyte)
    expect(answer).not.toContain('\0')
    expect(receiver.requests[0]?.headers).not.toHaveProperty('accept-encoding')
  })

  it('answers 100 huge headers is not heard out', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `x-header-${index}`)
    const headers = Object.fromEntries(names.map((name) => [name, 'x'.repeat(kilobyte)]))
    const receiver = await receive(answering(200, headers, 'hello'))
    expect(await send(receiver.url)).toMatchObject({
      statusCode: null,
      error: 'answer_invalid',
      answer: null,
    })
  })

  it('answers a header without end is not heard out', async () => {
    const receiver = await receiveRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nx-long: ')
      Readable.from(endless('x'.repeat(10 * kilobyte))).pipe(socket)
    })
    expect(await send(receiver.url)).toMatchObject({ error: 'answer_invalid' })
    await until('the connection is closed', () => receiver.sockets[0]?.destroyed)
    expect(receiver.sockets[0]?.bytesWritten).toBeLessThan(20 * megabyte)
  })

  it.each([
    ['garbage', 'hello, this is a mail server\r\n\r\n'],
    ['bytes of TLS', '\x16\x03\x01\x00\x05hello'],
    ['no status', 'HTTP/1.1 OK\r\n\r\n'],
    ['another protocol', 'ICY 200 OK\r\n\r\n'],
    ['a header without a colon', 'HTTP/1.1 200 OK\r\nhello\r\n\r\n'],
    ['no length', 'HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n'],
    [
      'two lengths',
      'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n',
    ],
    ['chunks of no size', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n'],
  ])('answers what is no HTTP, but %s, has failed', async (_, text) => {
    const receiver = await receiveRaw((socket) => socket.write(text, 'latin1'))
    expect(await send(receiver.url)).toMatchObject({ statusCode: null, error: 'answer_invalid' })
  })

  it.each([
    ['resets the connection', (socket: Socket) => socket.resetAndDestroy()],
    ['closes the connection', (socket: Socket) => socket.end()],
    [
      'closes it within the head',
      (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-type: te'),
    ],
    [
      'closes it within the body',
      (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello'),
    ],
    [
      'closes it before the last chunk',
      (socket: Socket) =>
        socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n'),
    ],
  ])('%s has failed', async (_, answer) => {
    const receiver = await receiveRaw(answer)
    expect(await send(receiver.url)).toMatchObject({ error: 'connection_failed' })
  })

  it('is not there has failed', async () => {
    const server = createTcpServer()
    const { url } = await listen(server)
    server.close()
    await once(server, 'close')
    expect(await send(url)).toMatchObject({ statusCode: null, error: 'connection_failed' })
  })

  it('speaks no TLS where it should has failed', async () => {
    const receiver = await receive(answering(200))
    const url = receiver.url.replace('http:', 'https:')
    expect(await send(url)).toMatchObject({ error: 'connection_failed' })
    expect(receiver.requests).toHaveLength(0)
  })

  it.each([
    ['signed itself', async () => generate(certificateNames, certificateOptions)],
    [
      'is signed by nobody we know',
      async () => {
        const ca = await generate([{ name: 'commonName', value: 'Nobody' }], {
          ...certificateOptions,
          extensions: [{ name: 'basicConstraints', cA: true }],
        })
        return generate(certificateNames, {
          ...certificateOptions,
          ca: { key: ca.private, cert: ca.cert },
        })
      },
    ],
    [
      'has run out',
      async () =>
        generate(certificateNames, {
          ...certificateOptions,
          notBeforeDate: new Date('2020-01-01'),
          notAfterDate: new Date('2021-01-01'),
        }),
    ],
    [
      'is for another name',
      async () => generate([{ name: 'commonName', value: 'elsewhere' }], certificateOptions),
    ],
  ])('has a certificate that %s is sent nothing', async (_, makeCertificate) => {
    const { private: key, cert } = await makeCertificate()
    let requests = 0
    const server = createHttpsServer({ key, cert }, (__, response) => {
      requests += 1
      response.end()
    })
    const receiver = await listen(server, { scheme: 'https' })
    expect(await send(receiver.url)).toMatchObject({
      statusCode: null,
      error: 'certificate_invalid',
    })
    expect(receiver.sockets).toHaveLength(1)
    expect(requests).toBe(0)
  })

  it('behaves badly takes nothing from those that do not', async () => {
    const hanging = await receive(() => undefined)
    const healthy = await receive(answering(200))
    const sender = createTestSender({ timeoutMs: 1_000 })
    const message = { headers: {}, body: '{}' }
    const stuck = Array.from({ length: 40 }, () => sender.send({ ...message, url: hanging.url }))
    const { durationMs, error } = await sender.send({ ...message, url: healthy.url })
    expect(error).toBeNull()
    expect(durationMs).toBeLessThan(900)
    expect(hanging.sockets.length).toBeLessThanOrEqual(20)
    for (const result of await Promise.all(stuck)) {
      expect(result.error).toBe('timeout')
      expect(result.durationMs).toBeLessThan(2_500)
    }
  })
})

describe('what is kept of an answer', () => {
  const secret = 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
  const key = '0123456789abcdefghijABCDEFGHIJ-_0123456789abcdefg'

  it.each([
    ['a webhook secret', `whsec_${secret}`],
    ['a webhook secret with signs', 'whsec_AAAA/BBBB+MfKQ9r8GKYqr=='],
    ['a webhook secret with signs, as PHP writes JSON', 'whsec_AAAA\\/BBBB+MfKQ9r8GKYqr=='],
    ['a webhook secret with signs, as in a URL', 'whsec_AAAA%2FBBBB%2BMfKQ9r8GKYqr%3D'],
    ['a webhook secret with signs, as in HTML', 'whsec_AAAA&#x2F;MfKQ9r8GKYqr&#x3D;'],
    ['a signing key', `whsk_${secret}`],
    ['an API key for tests', `po_test_${key}`],
    ['an API key', `po_live_${key}`],
    ['a token', 'Bearer MfKQ9r8GKYqr.eyJ-x_y~z='],
    ['a token in lower case', 'bearer MfKQ9r8GKYqr.eyJ-x_y~z='],
  ])('does not contain %s', async (_, credential) => {
    const surroundings = [
      credential,
      `{"secret":"${credential}","ok":true}`,
      `secret=${credential}`,
      `old_${credential}`,
      `<p>${credential}</p>`,
      `'${credential}',`,
      `${credential}\n${credential}`,
    ]
    const receiver = await receive(answering(500, {}, surroundings.join('\n')))
    const { answer } = await send(receiver.url)
    expect(answer).toContain('[redacted]')
    expect(answer).toContain('"ok":true')
    expect(answer).not.toMatch(/MfKQ|9r8GKYqr|0123456789|BBBB/)
  })

  it('contains no part of a credential where it is cut', async () => {
    const before = 'x'.repeat(16 * kilobyte - 20)
    const receiver = await receive(answering(500, {}, `${before} po_test_${key}`))
    const { answer } = await send(receiver.url)
    expect(answer).toMatch(/^x+ po_test_\[redacted\]?$/)
  })

  it('shows public keys, and whatever else there is', async () => {
    const text = 'whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4= po_box_12 evt_01a20ccd'
    const receiver = await receive(answering(500, {}, text))
    expect((await send(receiver.url)).answer).toBe(text)
  })

  it('has no NUL and no controls, which a database or a terminal would stumble over', async () => {
    const controls = String.fromCharCode(
      ...Array.from({ length: 32 }, (_, code) => code),
      ...Array.from({ length: 33 }, (_, code) => 0x7f + code),
    )
    const receiver = await receive(answering(500, {}, `begin${controls}end`))
    const { answer } = await send(receiver.url)
    expect(answer).toMatch(/^begin.*end$/s)
    expect(answer?.match(/\p{Cc}/gu)).toEqual(['\t', '\n', '\r'])
  })

  it.each([
    ['letters', Buffer.from('x'.repeat(60_000))],
    ['letters of two bytes', Buffer.from(`x${'ö'.repeat(30_000)}`)],
    ['emoji', Buffer.from(`x${'😀'.repeat(15_000)}`)],
    ['NULs', Buffer.alloc(60_000)],
    ['no text', Buffer.alloc(60_000, 0xff)],
    ['secrets', Buffer.from('whsec_a '.repeat(7_000))],
  ])('is at most 16 KB of %s, in whole characters', async (_, body) => {
    const receiver = await receive(answering(500, {}, body))
    const { answer } = await send(receiver.url)
    const bytes = Buffer.byteLength(answer ?? '')
    expect(bytes).toBeLessThanOrEqual(16 * kilobyte)
    expect(bytes).toBeGreaterThan(16 * kilobyte - 4)
    const isText = !body.includes(0) && !body.includes(0xff)
    expect(answer?.includes('\u{fffd}')).toBe(!isText)
  })
})

describe('B31 nothing is sent to', () => {
  it.each([
    ['http', 'http://shop.example.com/hook'],
    ['a private address', 'https://10.0.0.1/hook'],
    ['the metadata of a cloud', 'https://169.254.169.254/hook'],
    ['what is no URL', 'shop'],
    ['a user', 'https://alice@shop.example.com/hook'],
  ])('%s, and its name is not even resolved', async (_, url) => {
    const { resolve, names } = resolvingTo(['8.8.8.8'])
    expect(await send(url, { resolve })).toMatchObject({
      statusCode: null,
      error: 'url_not_allowed',
      answer: null,
    })
    expect(names).toEqual([])
  })
})

describe('B32 a name', () => {
  const onlyOne = parseNetworks('127.0.0.1/32')

  it('is resolved by each connection, and connected to where that is allowed', async () => {
    const receiver = await receive(answering(200, { connection: 'close' }))
    const { resolve, names } = resolvingTo(['127.0.0.1'])
    const sender = createTestSender({ allowed: onlyOne, resolve })
    const message = { url: `http://localhost:${receiver.port}/`, headers: {}, body: '{}' }
    expect(await sender.send(message)).toMatchObject({ error: null })
    expect(await sender.send(message)).toMatchObject({ error: null })
    expect(names).toEqual(['localhost', 'localhost'])
  })

  it.each([
    ['a private address', ['127.0.0.2']],
    ['an allowed and a private address', ['127.0.0.1', '127.0.0.2']],
    ['a private and an allowed address', ['127.0.0.2', '127.0.0.1']],
    ['a public and a private address', ['93.184.215.14', '10.0.0.1']],
    ['a public address, and one of IPv6 that is private', ['93.184.215.14', 'fd00:ec2::254']],
    ['an allowed address, and one that carries loopback', ['127.0.0.1', '::ffff:127.0.0.1']],
    ['an allowed address, and what is none', ['127.0.0.1', 'localhost']],
  ])('that resolves to %s is not connected to at all', async (_, addresses) => {
    // At all addresses of this machine, so that a connection to any of them would be seen.
    const receiver = await receive(answering(200), '0.0.0.0')
    const { resolve, names } = resolvingTo(addresses)
    const url = `http://localhost:${receiver.port}/`
    expect(await send(url, { allowed: onlyOne, resolve })).toMatchObject({
      statusCode: null,
      error: 'url_not_allowed',
    })
    expect(names).toEqual(['localhost'])
    expect(receiver.sockets).toHaveLength(0)
  })

  it('of the world that resolves to a private address is not connected to', async () => {
    const { resolve } = resolvingTo(['127.0.0.1'])
    const result = await send('https://shop.example.com/hook', { allowed: [], resolve })
    expect(result).toMatchObject({ statusCode: null, error: 'url_not_allowed' })
  })

  it('that resolves to a private address the second time is refused that time', async () => {
    const receiver = await receive(answering(200, { connection: 'close' }), '0.0.0.0')
    const { resolve, names } = resolvingTo(['127.0.0.1'], ['127.0.0.2'], ['127.0.0.1'])
    const sender = createTestSender({ allowed: onlyOne, resolve })
    const message = { url: `http://localhost:${receiver.port}/`, headers: {}, body: '{}' }
    expect(await sender.send(message)).toMatchObject({ statusCode: 200, error: null })
    expect(await sender.send(message)).toMatchObject({
      statusCode: null,
      error: 'url_not_allowed',
    })
    expect(receiver.sockets).toHaveLength(1)
    expect(await sender.send(message)).toMatchObject({ statusCode: 200, error: null })
    expect(names).toHaveLength(3)
  })

  it('is not followed where it redirects to a private address', async () => {
    const target = await receive(answering(200), '0.0.0.0')
    const location = `http://127.0.0.2:${target.port}/latest/meta-data/`
    const receiver = await receive(answering(307, { location }))
    const result = await send(receiver.url, { allowed: onlyOne })
    expect(result).toMatchObject({ statusCode: 307, error: 'redirect' })
    expect(target.sockets).toHaveLength(0)
  })

  it.each(['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL'])(
    'that cannot be resolved is told so: %s',
    async (code) => {
      const result = await send('https://shop.example.com/hook', { resolve: failingWith(code) })
      expect(result).toMatchObject({ statusCode: null, error: 'name_not_resolved' })
    },
  )

  it('that resolves to nothing is not resolved', async () => {
    const { resolve } = resolvingTo([])
    const result = await send('https://shop.example.com/hook', { resolve })
    expect(result).toMatchObject({ statusCode: null, error: 'name_not_resolved' })
  })

  it('that is resolved for ever is waited for only so long', async () => {
    const result = await send('https://shop.example.com/hook', {
      resolve: () => undefined,
      timeoutMs: 300,
    })
    expect(result).toMatchObject({ statusCode: null, error: 'timeout' })
    expect(result.durationMs).toBeLessThan(2_500)
  })
})

describe('through a proxy', () => {
  /** A proxy that notes where it is asked to connect to, and connects there when it may. */
  async function startProxy(mayConnect = true): Promise<{ url: string; targets: string[] }> {
    const targets: string[] = []
    const server = createHttpServer()
    server.on('connect', (request, client: Socket) => {
      targets.push(request.url ?? '')
      if (!mayConnect) {
        client.end('HTTP/1.1 403 Forbidden\r\n\r\n')
        return
      }
      const { hostname, port } = new URL(`http://${request.url}`)
      const upstream = connect(Number(port), hostname.replaceAll(/[[\]]/g, ''))
      upstream.on('error', () => client.destroy())
      upstream.on('connect', () => {
        client.write('HTTP/1.1 200 OK\r\n\r\n')
        client.pipe(upstream).pipe(client)
      })
    })
    const { url } = await listen(server)
    return { url, targets }
  }

  it('a message arrives', async () => {
    const proxy = await startProxy()
    const receiver = await receive(answering(200, {}, 'thank you'))
    const result = await send(receiver.url, { proxyUrl: proxy.url })
    expect(result).toMatchObject({ statusCode: 200, error: null, answer: 'thank you' })
    expect(proxy.targets).toEqual([`127.0.0.1:${receiver.port}`])
  })

  it('an address of IPv6 is resolved as what it is', async () => {
    const proxy = await startProxy(false)
    const allowed = parseNetworks('::1/128')
    await send('http://[::1]:4000/hook', { allowed, proxyUrl: proxy.url })
    expect(proxy.targets).toEqual(['[::1]:4000'])
  })

  it('nothing goes to a name that resolves to a private address', async () => {
    const proxy = await startProxy()
    const { resolve } = resolvingTo(['93.184.215.14', '10.0.0.1'])
    const url = 'https://shop.example.com/hook'
    const result = await send(url, { resolve, proxyUrl: proxy.url })
    expect(result).toMatchObject({ statusCode: null, error: 'url_not_allowed' })
    expect(proxy.targets).toEqual([])
  })

  it('a name that is resolved for ever is waited for only so long', async () => {
    const proxy = await startProxy()
    const result = await send('https://shop.example.com/hook', {
      resolve: () => undefined,
      proxyUrl: proxy.url,
      timeoutMs: 300,
    })
    expect(result).toMatchObject({ statusCode: null, error: 'timeout' })
  })

  it('that refuses, the connection has failed', async () => {
    const proxy = await startProxy(false)
    const { resolve } = resolvingTo(['93.184.215.14'])
    const url = 'https://shop.example.com/hook'
    const result = await send(url, { resolve, proxyUrl: proxy.url })
    expect(result).toMatchObject({ statusCode: null, error: 'connection_failed' })
    expect(proxy.targets).toEqual(['shop.example.com:443'])
  })
})

describe('a sender that is stopped', () => {
  it('cuts off what is in flight, and does not say what became of it', async () => {
    const receiver = await receive(() => undefined)
    const sender = createTestSender()
    const message = { url: receiver.url, headers: {}, body: '{}' }
    const sent = Promise.allSettled([sender.send(message), sender.send(message)])
    await until('both have arrived', () => receiver.requests.length === 2)
    await sender.stop()
    for (const result of await sent) {
      expect(result).toMatchObject({ status: 'rejected', reason: expect.any(StoppedError) })
    }
    await until('both are closed', () => receiver.sockets.every((socket) => socket.destroyed))
  })

  it('cuts off an answer that is being read', async () => {
    const receiver = await receive((_, response) => {
      response.writeHead(200).write('hello')
    })
    const sender = createTestSender()
    const sent = sender.send({ url: receiver.url, headers: {}, body: '{}' })
    const outcome = expect(sent).rejects.toThrow(StoppedError)
    await until('it has arrived', () => receiver.requests.length === 1)
    await sender.stop()
    await outcome
  })

  it('cuts off what waits for a name, also on the way to a proxy', async () => {
    const proxyUrl = 'http://127.0.0.1:9'
    for (const options of [{}, { proxyUrl }]) {
      const sender = createTestSender({ resolve: () => undefined, ...options })
      const url = 'https://shop.example.com/hook'
      const outcome = expect(sender.send({ url, headers: {}, body: '{}' })).rejects.toThrow(
        StoppedError,
      )
      await sender.stop()
      await outcome
    }
  })

  it('sends nothing more', async () => {
    const receiver = await receive(answering(200))
    const sender = createTestSender()
    await sender.stop()
    const sent = sender.send({ url: receiver.url, headers: {}, body: '{}' })
    await expect(sent).rejects.toThrow(StoppedError)
    expect(receiver.sockets).toHaveLength(0)
  })

  it('closes the connections that it keeps', async () => {
    const receiver = await receive(answering(200))
    const sender = createTestSender()
    await sender.send({ url: receiver.url, headers: {}, body: '{}' })
    expect(receiver.sockets[0]?.destroyed).toBe(false)
    await sender.stop()
    await until('it is closed', () => receiver.sockets[0]?.destroyed)
  })
})

const certificateNames = [{ name: 'commonName', value: '127.0.0.1' }]
const certificateOptions = { keyType: 'ec', algorithm: 'sha256' } as const

function* endless(text: string): Generator<string> {
  for (;;) yield text
}

/** Writes a beginning at once, and then a little every 50 ms. */
function drip(socket: Socket, beginning: string, drop = 'x'): void {
  socket.write(beginning)
  const timer = setInterval(() => socket.write(drop), 50)
  socket.once('close', () => clearInterval(timer))
}
