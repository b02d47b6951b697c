import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  EmbeddedPostgresError,
  startEmbeddedPostgres,
  type EmbeddedPostgres,
} from '@payonce/local/embedded-postgres'
import { findPostgresSoftware, type SoftwarePackage } from '@payonce/local/postgres-software'
import { processArguments, processStart } from '@payonce/local/process-identity'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startProgram, type RunningProcess } from '../support/processes.ts'

const isRoot = process.getuid?.() === 0
const isLinux = process.platform === 'linux'
const nobody = { uid: 65534, gid: 65534 }
/** A plain user with a name, which initdb wants; it is called daemon, or bin, and exists everywhere. */
const daemon = { uid: 1, gid: 1 }
const nameless = { uid: 12_345, gid: 12_345 }

/** Not where the checkout or Node itself lies under a folder that only root can enter. */
const nobodyCanRunUs =
  isRoot &&
  spawnSync(process.execPath, ['--import', 'tsx', '-e', ''], { ...nobody, env: {} }).status === 0

let folder: string
let dataDir: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'payonce-embedded-'))
  dataDir = join(folder, 'new', 'data')
})

// Not by onTestFinished, which comes after this: a server must have stopped before its folder goes.
const cleanUps: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp()
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

describe('a start', () => {
  test('makes a database of the promised kind in a folder that was not there', async () => {
    const postgres = await start()
    expect(await query(postgres.url, settingsQuery)).toEqual([
      {
        database: 'payonce',
        encoding: 'UTF8',
        locale: 'C',
        timezone: 'UTC',
        fsync: 'on',
        full_page_writes: 'on',
        synchronous_commit: 'on',
        listen_addresses: '127.0.0.1',
        unix_socket_directories: '',
        max_connections: '17',
      },
    ])
  })

  test('asks for the password, which only the owner of the folder can read', async () => {
    const postgres = await start()
    const url = new URL(postgres.url)
    expect(await failure(query(withPassword(url, 'wrong')))).toMatch(
      /password authentication failed/,
    )
    expect(await failure(query(withPassword(url, '')))).toMatch(/password/)
    const passwordFile = join(dataDir, 'postgres', 'password')
    expect(readFileSync(passwordFile, 'utf8').trim()).toBe(url.password)
    expect(statSync(passwordFile).mode & 0o777).toBe(0o600)
    expect(statSync(join(dataDir, 'postgres')).mode & 0o777).toBe(0o700)
  })

  test('after an orderly stop finds the data of before', async () => {
    const first = await start()
    await writeNote(first.url, 'kept')
    await first.stop()
    const second = await start()
    expect(await notes(second.url)).toEqual(['kept'])
    expect(second.url.split('@')[0]).toBe(first.url.split('@')[0])
  })

  test('after a crash of the server finds what was committed', async () => {
    const first = await start()
    await writeNote(first.url, 'committed')
    process.kill(first.pid, 'SIGKILL')
    await first.exited
    const second = await start()
    expect(await notes(second.url)).toEqual(['committed'])
  })

  test('is not hindered by an earlier one that was killed while it made the database', async () => {
    mkdirSync(join(dataDir, 'postgres.new-abc', 'data', 'base'), { recursive: true })
    const postgres = await start()
    expect(await query(postgres.url)).toEqual([{ one: 1 }])
    expect(new Set(readdirSync(dataDir))).toEqual(new Set(['postgres', 'postgres-owner.json']))
  })

  test('is not hindered by a lock whose process number now belongs to another program', async () => {
    await (await start()).stop()
    const other = spawn('sleep', ['60'], isRoot ? nobody : {})
    cleanUps.push(() => other.kill('SIGKILL'))
    const lockFile = join(dataDir, 'postgres', 'data', 'postmaster.pid')
    writeFileSync(lockFile, `${other.pid}\n/elsewhere\n1\n5432\n\n127.0.0.1\n\nready   \n`)
    const postgres = await start()
    expect(await query(postgres.url)).toEqual([{ one: 1 }])
    expect(processStart(other.pid ?? 0)).toBeDefined()
  })
})

describe('a stop', () => {
  test('ends the server and says so, however often it is called', async () => {
    const postgres = await start()
    await Promise.all([postgres.stop(), postgres.stop()])
    expect(await postgres.exited).toEqual({ code: 0 })
    expect(processStart(postgres.pid)).toBeUndefined()
    expect(existsSync(join(dataDir, 'postgres-owner.json'))).toBe(false)
  })

  test('does not wait for open sessions', async () => {
    const postgres = await start()
    const client = new Client(postgres.url)
    client.on('error', () => undefined)
    await client.connect()
    await client.query('BEGIN')
    const before = performance.now()
    await postgres.stop()
    expect(performance.now() - before).toBeLessThan(5_000)
  })

  test('is told of when the server ends by itself', async () => {
    const postgres = await start()
    process.kill(postgres.pid, 'SIGQUIT')
    await postgres.exited
    await postgres.stop()
  })
})

describe('a refusal', () => {
  test('of a folder in use names the folder, the process and what to do', async () => {
    const owner = await startOwner()
    const { pid } = await owner.started()
    const error = await refusal(start())
    expect(error.code).toBe('data_dir_in_use')
    expect(error.message).toContain(dataDir)
    expect(error.message).toContain(`process ${owner.process.pid}`)
    expect(error.message).toMatch(/Stop that process .* or choose another data folder/)
    expect(processStart(pid), 'the server in use must go on').toBeDefined()
  })

  test('of a folder in use sees through another spelling of it', async () => {
    await start()
    const alias = join(folder, 'alias')
    symlinkSync(join(folder, 'new'), alias)
    const error = await refusal(start({ dataDir: join(alias, '.', 'data') }))
    expect(error.code).toBe('data_dir_in_use')
    expect(error.message).toContain(`process ${process.pid}`)
  })

  test('lets exactly one of several simultaneous starts through', async () => {
    const owners = await Promise.all([startOwner(), startOwner(), startOwner()])
    const outcomes = await Promise.all(owners.map((owner) => owner.outcome()))
    const refusals = outcomes.filter((outcome) => outcome.startsWith('refused'))
    expect(outcomes.filter((outcome) => outcome.startsWith('started'))).toHaveLength(1)
    expect(refusals).toHaveLength(2)
    refusals.forEach((refused) => expect(refused).toContain('data_dir_in_use'))
  })

  test('of a busy port names the port and what to do, and leaves the folder free', async () => {
    const port = await occupyPort()
    const error = await refusal(start({ port }))
    expect(error.code).toBe('port_in_use')
    expect(error.message).toContain(`Port ${port}`)
    expect(error.message).toMatch(/Stop that program, or choose another port/)
    expect(readdirSync(dataDir), 'nothing is made before that is known').toEqual([])
    const postgres = await start()
    expect(await query(postgres.url)).toEqual([{ one: 1 }])
  })

  test('of a setting that Postgres does not know repeats what Postgres said', async () => {
    const error = await refusal(start({ settings: { max_conections: 5 } }))
    expect(error.code).toBe('server_did_not_start')
    expect(error.message).toContain('unrecognized configuration parameter "max_conections"')
    expect(error.message).toContain(dataDir)
  })

  test('of a folder made by another version of Postgres names both', async () => {
    await (await start()).stop()
    writeFileSync(join(dataDir, 'postgres', 'data', 'PG_VERSION'), '12\n')
    const error = await refusal(start())
    expect(error.code).toBe('data_dir_of_other_version')
    expect(error.message).toMatch(/made by Postgres 12, .* brings Postgres \d\d/)
  })

  test('of a folder with other files in the place of the database leaves them alone', async () => {
    const file = join(dataDir, 'postgres', 'thesis.txt')
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, 'years of work')
    const error = await refusal(start())
    expect(error.code).toBe('data_dir_not_usable')
    expect(readFileSync(file, 'utf8')).toBe('years of work')
  })
})

describe('when its owner dies', () => {
  test('by kill -9, the server ends by itself and the next start finds its data', async () => {
    const owner = await startOwner()
    const { pid, url } = await owner.started()
    await writeNote(url, 'kept')
    owner.process.kill('SIGKILL')
    await waitUntil(() => processStart(pid) === undefined)
    const next = await start()
    expect(await notes(next.url)).toEqual(['kept'])
  })

  test('a start at once afterwards waits for the server that is still ending', async () => {
    const owner = await startOwner()
    const { port, url } = await owner.started()
    await writeNote(url, 'kept')
    owner.process.kill('SIGKILL')
    await owner.process.exited
    const next = await start({ port })
    expect(await notes(next.url)).toEqual(['kept'])
  })

  test.runIf(isLinux)(
    'a true orphan is stopped by the next start, which finds its data',
    async () => {
      const owner = await startOwner()
      const { pid, url } = await owner.started()
      await writeNote(url, 'kept')
      killTree(owner.process.pid, { except: pid })
      await owner.process.exited
      await sleep(500)
      expect(processStart(pid), 'the server must be an orphan, or this shows nothing').toBeDefined()
      const lines: string[] = []
      const next = await start({ log: (line) => lines.push(line) })
      expect(processStart(pid)).toBeUndefined()
      expect(lines.join('\n')).toContain(`stopped process ${pid}`)
      expect(await notes(next.url)).toEqual(['kept'])
    },
  )

  test.runIf(isLinux)('and the server too, the next start waits for sessions at work', async () => {
    const owner = await startOwner()
    const { pid, url } = await owner.started()
    await writeNote(url, 'kept')
    const busy = failure(query(url, busyFor4Seconds))
    while ((await query(url, sessionsAtWork)).length === 0) await sleep(20)
    killTree(owner.process.pid, { except: pid })
    process.kill(pid, 'SIGKILL')
    await waitUntil(() => processStart(owner.process.pid) === undefined)
    // Until it is gone, the next start takes it for a server that runs.
    await waitUntil(() => processStart(pid) === undefined)
    const lines: string[] = []
    const next = await start({ log: (line) => lines.push(line) })
    expect(lines.join('\n'), 'no session was at work, so this shows nothing').toContain(
      'pre-existing shared memory block',
    )
    expect(await notes(next.url)).toEqual(['kept'])
    await busy
  })

  test('Ctrl-C in the terminal reaches the owner and not the server', async () => {
    const owner = await startOwner()
    await owner.started()
    // The terminal signals the whole foreground group; the supervising shell leads the owner's.
    process.kill(-groupOf(owner.process.pid), 'SIGINT')
    expect(await owner.process.line(/after Ctrl-C/)).toBe('after Ctrl-C it answers')
    await owner.process.exited
  })

  test('by SIGTERM, the server is stopped in order', async () => {
    const owner = await startOwner()
    const { pid } = await owner.started()
    expect(await owner.process.stop()).toEqual({ code: 0 })
    expect(owner.process.output()).toContain('database system is shut down')
    expect(processStart(pid)).toBeUndefined()
  })
})

describe.runIf(isRoot)('as root', () => {
  test('the server runs as nobody', async () => {
    const postgres = await start()
    expect(statSync(join(dataDir, 'postgres', 'data')).uid).toBe(nobody.uid)
    expect(statSync(`/proc/${postgres.pid}`).uid).toBe(nobody.uid)
  })

  test('the data may lie under a folder that only root can enter', async () => {
    chmodSync(folder, 0o700)
    expect(spawnSync('ls', [folder], nobody).status, 'nobody must be kept out').not.toBe(0)
    const first = await start()
    await writeNote(first.url, 'kept')
    await first.stop()
    const second = await start()
    expect(await notes(second.url)).toEqual(['kept'])
    // Loads a library and a file of time zones, long after the start.
    const [row] = await query(
      second.url,
      `SELECT to_tsvector('english', 'houses') AS words, now() AT TIME ZONE 'Asia/Tokyo' AS there`,
    )
    expect(row).toMatchObject({ words: "'hous':1" })
  })

  test('a restored copy that belongs to root and is open to all is put right', async () => {
    const first = await start()
    await writeNote(first.url, 'kept')
    await first.stop()
    const copy = join(folder, 'copy')
    cpSync(dataDir, copy, { recursive: true })
    spawnSync('chmod', ['-R', 'a+rX', copy])
    expect(statSync(join(copy, 'postgres', 'data')).uid).toBe(0)
    const second = await start({ dataDir: copy })
    expect(await notes(second.url)).toEqual(['kept'])
  })

  test.runIf(nobodyCanRunUs)("a plain user's folder stays that user's", async () => {
    chmodSync(folder, 0o777)
    const owner = await startOwner({ identity: daemon })
    await writeNote((await owner.started()).url, 'kept')
    await owner.process.stop()
    const postgres = await start()
    expect(await notes(postgres.url)).toEqual(['kept'])
    expect(statSync(join(dataDir, 'postgres', 'data', 'PG_VERSION')).uid).toBe(daemon.uid)
    await postgres.stop()
    const again = await startOwner({ identity: daemon })
    expect(await notes((await again.started()).url)).toEqual(['kept'])
  })
})

describe.runIf(nobodyCanRunUs)('as a plain user', () => {
  test('it starts, restarts and keeps its data', async () => {
    chmodSync(folder, 0o777)
    const first = await startOwner({ identity: nobody })
    const { url, pid } = await first.started()
    expect(processArguments(pid)).toContain(join(dataDir, 'postgres', 'data'))
    await writeNote(url, 'kept')
    await first.process.stop()
    const second = await startOwner({ identity: nobody })
    expect(await notes((await second.started()).url)).toEqual(['kept'])
  })

  test("another user's folder is refused, and the message says whose it is", async () => {
    chmodSync(folder, 0o777)
    await (await start()).stop()
    chmodSync(join(folder, 'new'), 0o777)
    chmodSync(dataDir, 0o777)
    const stranger = await startOwner({ identity: nameless })
    const outcome = await stranger.outcome()
    expect(outcome).toContain('data_dir_not_usable')
    expect(outcome).toContain('belongs to user 65534, and you are user 12345')
  })

  test('a user without a name is told that Postgres wants one', async () => {
    chmodSync(folder, 0o777)
    const outcome = await (await startOwner({ identity: nameless })).outcome()
    expect(outcome).toContain('could not look up effective user ID 12345')
    expect(outcome).toContain('a Postgres of your own')
  })

  test('a folder that cannot be written to is refused', async () => {
    chmodSync(folder, 0o755)
    const outcome = await (await startOwner({ identity: nobody })).outcome()
    expect(outcome).toContain('data_dir_not_usable')
    expect(outcome).toContain(dataDir)
  })
})

describe('the programs', () => {
  const log = () => undefined

  test('run where they are installed, with the links between libraries made when missing', () => {
    const installed = copyOfPackage(join(folder, 'package'))
    const link = join(installed.nativeDir, 'lib', 'libpq.so.5')
    rmSync(link)
    chmodSync(folder, 0o755)
    const software = findPostgresSoftware({
      identity: isRoot ? nobody : undefined,
      log,
      installed,
      copiesIn: [],
    })
    expect(software.postgres).toBe(join(installed.nativeDir, 'bin', 'postgres'))
    expect(lstatSync(link).isSymbolicLink()).toBe(true)
    expect(existsSync(link)).toBe(true)
  })

  test.runIf(isRoot)('are copied once when they lie where the server cannot enter', () => {
    const { installed, copiesIn } = packageOutOfReach()
    expect(() => findPostgresSoftware({ identity: nobody, log, installed, copiesIn: [] })).toThrow(
      /does not run as user 65534/,
    )
    const lines: string[] = []
    const find = () =>
      findPostgresSoftware({
        identity: nobody,
        log: (line) => lines.push(line),
        installed,
        copiesIn,
      })
    const software = find()
    expect(software.postgres).toContain(copiesIn[0])
    expect(find()).toEqual(software)
    expect(lines).toHaveLength(1)
    expect(readdirSync(copiesIn[0])).toHaveLength(1)
  })

  test.runIf(isRoot)('are not run from a copy that others could have written', () => {
    const { installed, copiesIn } = packageOutOfReach()
    const find = () => findPostgresSoftware({ identity: nobody, log, installed, copiesIn })
    const copy = dirname(dirname(dirname(find().postgres)))
    chmodSync(copy, 0o777)
    expect(find).toThrow(/others may write to it/)
  })

  test('that this system cannot run are refused with the way out', () => {
    const installed = copyOfPackage(join(folder, 'package'))
    const program = join(installed.nativeDir, 'bin', 'postgres')
    rmSync(program)
    writeFileSync(program, 'no program at all', { mode: 0o755 })
    chmodSync(folder, 0o755)
    expect(() =>
      findPostgresSoftware({
        identity: isRoot ? nobody : undefined,
        log,
        installed,
        copiesIn: [folder],
      }),
    ).toThrow(/a Postgres of your own/)
    expect(readdirSync(folder), 'a copy would not run either').toEqual(['package'])
  })
})

const settingsQuery = `
  SELECT current_database() AS database,
         pg_encoding_to_char(encoding) AS encoding,
         datcollate AS locale,
         current_setting('timezone') AS timezone,
         current_setting('fsync') AS fsync,
         current_setting('full_page_writes') AS full_page_writes,
         current_setting('synchronous_commit') AS synchronous_commit,
         current_setting('listen_addresses') AS listen_addresses,
         current_setting('unix_socket_directories') AS unix_socket_directories,
         current_setting('max_connections') AS max_connections
  FROM pg_database WHERE datname = current_database()`

/** Unlike pg_sleep, a loop does not look up from its work to see that the server has gone. */
const busyFor4Seconds = `
  DO $$
  DECLARE started timestamptz := clock_timestamp();
  BEGIN
    WHILE clock_timestamp() < started + interval '4 s' LOOP END LOOP;
  END $$`

const sessionsAtWork = `
  SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%interval ''4 s''%LOOP%'
    AND pid <> pg_backend_pid()`

/** Starts in this process; the server is stopped when the test ends. */
async function start(
  options: Partial<Parameters<typeof startEmbeddedPostgres>[0]> = {},
): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({
    dataDir,
    port: 0,
    settings: { max_connections: 17 },
    log: () => undefined,
    ...options,
  })
  cleanUps.push(() => postgres.stop())
  return postgres
}

type Started = { url: string; pid: number; port: number }

type Owner = {
  process: RunningProcess
  started(): Promise<Started>
  /** The line that begins with `started` or `refused`. */
  outcome(): Promise<string>
}

/** Starts in a process of its own, which a test may kill. */
async function startOwner(options: { identity?: typeof nobody } = {}): Promise<Owner> {
  const owner = await startProgram('test/support/postgres-owner.ts', {
    args: [dataDir],
    ...options,
  })
  cleanUps.push(() => owner.stop())
  const outcome = () => owner.line(/^(started|refused) /)
  return {
    process: owner,
    outcome,
    async started() {
      const line = await outcome()
      expect(line).toMatch(/^started /)
      return JSON.parse(line.slice('started '.length)) as Started
    },
  }
}

async function query(url: string, sql = 'SELECT 1 AS one'): Promise<unknown[]> {
  const client = new Client(url)
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

async function writeNote(url: string, text: string): Promise<void> {
  await query(url, `CREATE TABLE notes (text text); INSERT INTO notes VALUES ('${text}')`)
}

async function notes(url: string): Promise<string[]> {
  const rows = (await query(url, 'SELECT text FROM notes')) as { text: string }[]
  return rows.map((row) => row.text)
}

function withPassword(url: URL, password: string): string {
  return Object.assign(new URL(url), { password }).href
}

async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'no failure',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  )
}

async function refusal(promise: Promise<unknown>): Promise<EmbeddedPostgresError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(EmbeddedPostgresError)
  return error as EmbeddedPostgresError
}

async function waitUntil(isTrue: () => boolean, limitMs = 10_000): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!isTrue()) {
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms`)
    await sleep(20)
  }
}

async function occupyPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUps.push(() => server.close())
  return (server.address() as AddressInfo).port
}

/** Kills a process and all below it, but not the branch of `except`. All stand still first, so that none can clean up. */
function killTree(root: number, { except }: { except: number }): void {
  const doomed = branch(root, except)
  doomed.forEach((pid) => process.kill(pid, 'SIGSTOP'))
  doomed.forEach((pid) => process.kill(pid, 'SIGKILL'))
}

function branch(pid: number, except: number): number[] {
  const children = allPids().filter((each) => statField(each, parentField) === pid)
  return [
    pid,
    ...children.filter((each) => each !== except).flatMap((each) => branch(each, except)),
  ]
}

/** Of /proc/PID/stat, counted behind the name. */
const parentField = 1
const groupField = 2

function statField(pid: number, field: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[field])
  } catch {
    return undefined
  }
}

function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

function groupOf(pid: number): number {
  const group = isLinux
    ? statField(pid, groupField)
    : Number(spawnSync('ps', ['-o', 'pgid=', '-p', String(pid)], { encoding: 'utf8' }).stdout)
  expect(group).toBeGreaterThan(1)
  return group as number
}

/** The installed binaries under another roof, by hard links where the file system has them. */
function copyOfPackage(packageDir: string): SoftwarePackage {
  const require = createRequire(join(import.meta.dirname, '../../apps/local/package.json'))
  const entry = createRequire(require.resolve('embedded-postgres')).resolve(
    `@embedded-postgres/${process.platform}-${process.arch}`,
  )
  const nativeDir = join(packageDir, 'native')
  linkTree(join(dirname(dirname(entry)), 'native'), nativeDir)
  return { name: 'copy-1', nativeDir }
}

function linkTree(from: string, to: string): void {
  mkdirSync(to, { recursive: true, mode: 0o755 })
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) linkTree(source, target)
    else if (entry.isSymbolicLink()) cpSync(source, target, { verbatimSymlinks: true })
    else linkOrCopy(source, target)
  }
}

function linkOrCopy(source: string, target: string): void {
  try {
    linkSync(source, target)
  } catch {
    cpSync(source, target)
  }
}

function packageOutOfReach(): { installed: SoftwarePackage; copiesIn: [string] } {
  chmodSync(folder, 0o755)
  const locked = join(folder, 'locked')
  mkdirSync(locked, { mode: 0o700 })
  const copies = join(folder, 'copies')
  mkdirSync(copies, { mode: 0o755 })
  return { installed: copyOfPackage(join(locked, 'package')), copiesIn: [copies] }
}
