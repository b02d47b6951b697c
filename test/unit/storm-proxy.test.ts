import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { commitMessage, connectionOf, startProxy, type Proxy } from '../../storm/harness/proxy.ts'

/** A store that answers each message with itself in capitals, and remembers what came. */
let store: Server
let proxy: Proxy
let received = ''
const sockets: Socket[] = []

beforeEach(async () => {
  received = ''
  store = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1')
      socket.write(chunk.toString('latin1').toUpperCase())
    })
  })
  store.listen(0, '127.0.0.1')
  await once(store, 'listening')
  const address = store.address()
  const port = typeof address === 'object' ? address?.port : 0
  proxy = await startProxy(`redis://127.0.0.1:${port}`)
})

afterEach(async () => {
  await proxy.close()
  for (const socket of sockets.splice(0)) socket.destroy()
  store.close()
})

async function open() {
  const socket = connect(Number(new URL(proxy.url).port), '127.0.0.1')
  sockets.push(socket)
  let text = ''
  let isCut = false
  socket.on('error', () => undefined)
  socket.on('close', () => (isCut = true))
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  // A connection may be cut before anybody has heard that it stands.
  await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => undefined)
  return {
    /** What has come back a moment after this was sent. */
    async say(message: string, waitMs = 80): Promise<string> {
      text = ''
      socket.write(message)
      await new Promise((resolve) => setTimeout(resolve, waitMs))
      return text
    },
    isCut: () => isCut,
  }
}

describe('a proxy', () => {
  it('lets everything through in fair weather', async () => {
    expect(await (await open()).say('hello')).toBe('HELLO')
  })

  it('delays in both directions', async () => {
    proxy.set({ kind: 'delay', delayMs: 100 })
    const connection = await open()
    expect(await connection.say('hello', 120)).toBe('')
    expect(await connection.say('', 200)).toBe('HELLO')
  })

  it('falls silent as a black hole, and gives back what it held when that is over', async () => {
    const connection = await open()
    proxy.set({ kind: 'black hole' })
    expect(await connection.say('hello')).toBe('')
    expect(received).toBe('')
    proxy.set({ kind: 'fair' })
    expect(await connection.say('')).toBe('HELLO')
  })

  it('cuts connections, and new ones too', async () => {
    const connection = await open()
    await connection.say('hello')
    proxy.set({ kind: 'cut' })
    await connection.say('')
    expect(connection.isCut()).toBe(true)
    const another = await open()
    await another.say('hello')
    expect([another.isCut(), received]).toEqual([true, 'hello'])
  })

  it('leads to another store when it is told so, and cuts what led to the former one', async () => {
    const another = createServer((socket) => {
      sockets.push(socket)
      socket.on('error', () => undefined)
      socket.on('data', () => socket.write('from the other one'))
    })
    another.listen(0, '127.0.0.1')
    await once(another, 'listening')
    const address = another.address()
    const connection = await open()
    await connection.say('hello')
    proxy.lead(`redis://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`)
    await connection.say('')
    expect(connection.isCut()).toBe(true)
    expect(await (await open()).say('hello')).toBe('from the other one')
    another.close()
  })

  it('throttles to so many bytes in a second', async () => {
    proxy.set({ kind: 'throttle', bytesPerSecond: 1_000 })
    const connection = await open()
    expect(await connection.say('x'.repeat(100), 90)).toBe('')
    expect(await connection.say('', 250)).toBe('X'.repeat(100))
  })

  const hello = (pool: 'accept' | 'worker') =>
    `user\0payonce\0application_name\0${connectionOf(pool)}`
  const commit = 'Q\0\0\0\x0bCOMMIT\0'
  const losing = (what: 'answer' | 'request', every = 1) =>
    proxy.set({ kind: 'lose', what, message: commitMessage, every, on: connectionOf('accept') })

  it('loses the answer to a message that did arrive, and resets the connection', async () => {
    losing('answer')
    const connection = await open()
    expect(await connection.say(hello('accept'))).not.toBe('')
    expect(await connection.say(commit)).toBe('')
    expect(received).toContain('COMMIT')
    expect([connection.isCut(), proxy.losses()]).toEqual([true, 1])
  })

  it('loses a message before it arrives', async () => {
    losing('request')
    const connection = await open()
    await connection.say(hello('accept'))
    expect(await connection.say(commit)).toBe('')
    expect(received).not.toContain('COMMIT')
    expect([connection.isCut(), proxy.losses()]).toEqual([true, 1])
  })

  it('loses nothing of other connections and other messages, and only every n-th', async () => {
    losing('answer', 2)
    const other = await open()
    await other.say(hello('worker'))
    expect(await other.say(commit)).toBe(commit.toUpperCase())
    const connection = await open()
    await connection.say(hello('accept'))
    expect(await connection.say('Q\0\0\0\x0aselect\0')).not.toBe('')
    expect(await connection.say(commit)).not.toBe('')
    expect(await connection.say(commit)).toBe('')
  })
})
