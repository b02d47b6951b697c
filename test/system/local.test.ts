import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createPool, type Pool } from '@payonce/core/db/client'
import { listApiKeys, revokeApiKey } from '@payonce/core/tenants/api-key'
import { prepareDemo, type Demo } from '@payonce/local/demo'
import { freePort } from '@payonce/local/loopback-port'
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  it,
  onTestFinished,
} from 'vitest'
import { copyCheckout, pathToNpm } from '../support/checkout.ts'
import { createClient } from '../support/client.ts'
import { createDatabase } from '../support/database.ts'
import { failToStartLocal, startLocal, type Local, type LocalOptions } from '../support/local.ts'
import { parentOf, seeTree, stillAlive } from '../support/process-tree.ts'
import { paste } from '../support/terminal.ts'
import { until } from '../support/until.ts'
import type { AccountOnWire, TransferOnWire, TrialBalanceOnWire } from '../support/wire.ts'

const isRoot = process.getuid?.() === 0
const nobody = { uid: 65534, gid: 65534 }

let folder: string
let dataDir: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'payonce-local-'))
  dataDir = join(folder, 'data')
})

afterEach(async () => {
  await Promise.all(started.splice(0).map(({ npm }) => npm.stop()))
  rmSync(folder, { recursive: true, force: true })
})

const started: Local[] = []

/** Starts for one test; `startLocal` itself is for what several share. */
async function start(options: Omit<LocalOptions, 'dataDir'> & { dataDir?: string } = {}) {
  const local = await startLocal({ dataDir, ...options })
  started.push(local)
  return local
}

describe('npm start', () => {
  let sharedFolder: string
  let local: Local

  beforeAll(async () => {
    sharedFolder = mkdtempSync(join(tmpdir(), 'payonce-local-'))
    const env = {
      DATABASE_URL: 'postgres://other.example/other',
      REDIS_URL: 'redis://other.example',
    }
    local = await startLocal({ dataDir: join(sharedFolder, 'data'), env })
  })

  afterAll(async () => {
    await local.npm.stop()
    rmSync(sharedFolder, { recursive: true, force: true })
  })

  it('prints two lines that work when pasted, and the first moves money once however often', async () => {
    const first = transfer(local)
    expect(first).toMatchObject({ status: 'succeeded', amount: 2500, currency: 'EUR' })
    expect(transfer(local)).toEqual(first)
    expect(account(local)).toMatchObject({
      id: first.destination,
      reference: 'alice',
      balance: 2500,
    })
    expect(await trialBalance(local)).toMatchObject([{ currency: 'EUR', balance: 0, entries: 2 }])
  })

  it('keeps the API key to itself, in the file that it names', () => {
    const { apiKey, apiKeyFile } = local
    expect(apiKeyFile).toBe(join(sharedFolder, 'data', 'api-key'))
    expect(readFileSync(apiKeyFile, 'utf8')).toBe(`${apiKey}\n`)
    expect(statSync(apiKeyFile).mode & 0o777).toBe(0o600)
  })

  it('says that it does not use the stores of the environment', () => {
    expect(local.npm.output()).toMatch(/DATABASE_URL is set, but not used/)
    expect(local.npm.output()).toMatch(/REDIS_URL is set, but not used/)
  })

  it('refuses to start twice on the same data, and the first goes on', async () => {
    const second = await failToStartLocal({ dataDir: join(sharedFolder, 'data'), port: local.port })
    expect(second).toEqual({ code: 1, said: [expect.stringMatching(/^payonce: already running/)] })
    expect(second.said[0]).toContain(join(sharedFolder, 'data'))
    expect(second.said[0]).toContain(`kill ${local.pid}`)
    expect(transfer(local).status).toBe('succeeded')
  })
})

describe('a stop', () => {
  it('by SIGTERM to npm ends every process, in order', async () => {
    const local = await start({ env: { LOG_LEVEL: 'info' } })
    const tree = seeTree(local.npm.pid)
    expect(tree.length, 'npm, Node, and Postgres with its own').toBeGreaterThan(5)
    expect(await local.npm.stop()).toEqual({ code: 0 })
    expect(stillAlive(tree)).toEqual([])
    expect(local.npm.output()).toMatch(
      /api has stopped[^]*worker has stopped[^]*database system is shut down/,
    )
  })

  it('by Ctrl-C does the same, although npm passes on what the terminal has sent already', async () => {
    const local = await start()
    const tree = seeTree(local.npm.pid)
    pressCtrlC(local)
    expect(await local.npm.exited).toEqual({ code: 0 })
    expect(local.npm.output()).toMatch(/^payonce: stopped$/m)
    expect(stillAlive(tree)).toEqual([])
  })

  it('waits for a request in hand, and at a second Ctrl-C does not', async () => {
    const local = await start()
    const tree = seeTree(local.npm.pid)
    await sendHalfARequest(local)
    pressCtrlC(local)
    await local.npm.line(/^payonce: stopping/)
    // A second signal within half a second is npm's echo of the first.
    await sleep(700)
    expect(local.npm.isRunning()).toBe(true)
    pressCtrlC(local)
    expect((await local.npm.exited).code).not.toBe(0)
    expect(local.npm.output()).not.toMatch(/^payonce: stopped$/m)
    await until('Postgres has ended too', () => stillAlive(tree).length === 0)
  })

  it('of Postgres alone ends the rest, and says so', async () => {
    const local = await start()
    process.kill(postmasterPid(), 'SIGKILL')
    expect((await local.npm.exited).code).not.toBe(0)
    expect(local.npm.output()).toMatch(/^payonce: Postgres .* has ended by itself/m)
  })
})

describe('a start', () => {
  it('after a stop has the money, the key and the lines of before', async () => {
    const port = String(await freePort())
    const before = await start({ port })
    const moved = transfer(before)
    await before.npm.stop()
    const after = await start({ port })
    expect(after.transferLine).toBe(before.transferLine)
    expect(after.accountLine).toBe(before.accountLine)
    expect(transfer(after)).toEqual(moved)
    expect(account(after).balance).toBe(2500)
  })

  it.each(['of Node', 'of npm', 'of both'] as const)(
    'after a kill -9 %s works at once and leaves no orphan',
    async (whom) => {
      const port = String(await freePort())
      const killed = await start({ port })
      transfer(killed)
      const tree = seeTree(killed.npm.pid)
      if (whom !== 'of npm') process.kill(killed.pid, 'SIGKILL')
      if (whom !== 'of Node') killed.npm.kill('SIGKILL')
      const next = await start({ port })
      expect(stillAlive(tree)).toEqual([])
      expect(next.apiKey).toBe(killed.apiKey)
      expect(account(next).balance).toBe(2500)
      expect(transfer(next).status).toBe('succeeded')
      expect(account(next).balance).toBe(2500)
    },
  )
})

describe('a start that cannot succeed says why in one line and exits with 1', () => {
  it('on a port that is in use, before it makes a database', async () => {
    const port = await occupyPort()
    const { code, said } = await failToStartLocal({ dataDir, port: String(port) })
    expect(code).toBe(1)
    expect(said).toEqual([
      expect.stringMatching(new RegExp(`^payonce: Port ${port} on 127.0.0.1 is in use by another`)),
    ])
    expect(existsSync(dataDir)).toBe(false)
  })

  it('on data that cannot be written', async () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    const port = String(await freePort())
    const { code, said } = await failToStartLocal({ dataDir: join(file, 'data'), port })
    expect(code).toBe(1)
    expect(said.at(-1)).toMatch(/^payonce: The data folder .* cannot be made or written to/)
  })

  it.each([
    [{ HOST: 'nowhere.invalid' }, /^payonce: HOST nowhere.invalid is not known/],
    [{ HOST: '203.0.113.7' }, /^payonce: 203.0.113.7 is no address of this computer/],
    [{ PORT: 'http' }, /^payonce: The environment cannot be used: PORT/],
  ])('with %j', async (env, message) => {
    const { code, said } = await failToStartLocal({ dataDir, env })
    expect({ code, said }).toEqual({ code: 1, said: [expect.stringMatching(message)] })
    expect(existsSync(dataDir)).toBe(false)
  })
})

describe('a copy of the repository runs', () => {
  it('where a plain user has it', async () => {
    chmodSync(folder, 0o755)
    const checkout = join(folder, 'payonce')
    copyCheckout(checkout)
    const home = join(folder, 'home')
    mkdirSync(home)
    if (isRoot) chownSync(home, nobody.uid, nobody.gid)
    const identity = isRoot ? nobody : undefined
    const user =
      identity === undefined ? {} : { identity, env: { PATH: pathToNpm(identity, folder) } }
    await startStopStart({ ...user, cwd: checkout, dataDir: join(home, 'data') })
  })

  it('under a folder that only its owner can enter', async () => {
    const locked = join(folder, 'locked')
    mkdirSync(locked, { mode: 0o700 })
    const checkout = join(locked, 'payonce')
    copyCheckout(checkout)
    await startStopStart({ cwd: checkout, dataDir: join(checkout, '.payonce') })
  })

  async function startStopStart(options: LocalOptions): Promise<void> {
    const first = await start(options)
    expect(transfer(first).status).toBe('succeeded')
    await first.npm.stop()
    const second = await start(options)
    expect(account(second).balance).toBe(2500)
    await second.npm.stop()
  }
})

describe('the demo', () => {
  let databaseUrl: string
  let db: Pool

  beforeEach(async () => {
    mkdirSync(dataDir)
    databaseUrl = await createDatabase()
    db = createPool({ databaseUrl, name: 'test', maxConnections: 1, onError: () => undefined })
    onTestFinished(() => db.end())
  })

  const prepare = (): Promise<Demo> => prepareDemo({ databaseUrl, dataDir })
  const keyCount = async (): Promise<number> => (await listApiKeys(db, 'demo')).length

  it('is the same when it is prepared again', async () => {
    const demo = await prepare()
    expect(await prepare()).toEqual(demo)
    expect(await keyCount()).toBe(1)
  })

  it('has the key of its file also when that was made readable by others, and closes it again', async () => {
    const demo = await prepare()
    chmodSync(demo.apiKeyFile, 0o644)
    expect(await prepare()).toEqual(demo)
    expect(statSync(demo.apiKeyFile).mode & 0o777).toBe(0o600)
  })

  it.each<[string, (demo: Demo) => unknown]>([
    ['the file is gone', ({ apiKeyFile }) => rmSync(apiKeyFile)],
    ['the file is empty', ({ apiKeyFile }) => writeFileSync(apiKeyFile, '')],
    ['the file holds something else', ({ apiKeyFile }) => writeFileSync(apiKeyFile, 'a\u0000b\n')],
    ['the key is gone from the database', () => db.query('DELETE FROM api_keys')],
    ['the key was revoked', async () => revokeApiKey(db, (await listApiKeys(db))[0]?.id ?? '')],
  ])('has a new key, and the same accounts, when %s', async (_, lose) => {
    const before = await prepare()
    await lose(before)
    const after = await prepare()
    expect(after).toEqual({ ...before, apiKey: expect.stringMatching(/^po_test_/) as string })
    expect(after.apiKey).not.toBe(before.apiKey)
    expect(readFileSync(after.apiKeyFile, 'utf8')).toBe(`${after.apiKey}\n`)
    expect(await prepare()).toEqual(after)
  })
})

const transfer = (local: Local) => JSON.parse(paste(local.transferLine)) as TransferOnWire
const account = (local: Local) => JSON.parse(paste(local.accountLine)) as AccountOnWire

async function trialBalance({ url, apiKey }: Local): Promise<TrialBalanceOnWire['data']> {
  const answer = await createClient(url, apiKey).get<TrialBalanceOnWire>('/v1/trial-balance')
  return answer.body.data
}

/** The terminal signals the whole foreground group, of which the supervising shell is the leader. */
function pressCtrlC({ npm }: Local): void {
  process.kill(-parentOf(npm.pid), 'SIGINT')
}

async function sendHalfARequest({ port, apiKey }: Local): Promise<void> {
  const socket = connect(Number(port), '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => undefined)
  const head = ['POST /v1/transfers HTTP/1.1', 'Host: payonce', `Authorization: Bearer ${apiKey}`]
  head.push('Content-Type: application/json', 'Content-Length: 100', 'Expect: 100-continue')
  socket.write(`${head.join('\r\n')}\r\n\r\n`)
  // The server asks for the body, so it has the request in hand.
  await new Promise((resolve) => socket.once('data', resolve))
}

function postmasterPid(): number {
  const lockFile = join(dataDir, 'postgres', 'data', 'postmaster.pid')
  return Number(readFileSync(lockFile, 'utf8').split('\n')[0])
}

async function occupyPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}
