import { spawn } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startDouble, type Double, type DoubleOptions } from './submit-double.ts'

const main = fileURLToPath(new URL('../../apps/cli/src/submit/main.ts', import.meta.url))
const example = fileURLToPath(new URL('../../examples/payments.csv', import.meta.url))

let folder: string
let payonce: Double | undefined

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'payonce-submit-'))
})

afterEach(async () => {
  await payonce?.stop()
  payonce = undefined
  await rm(folder, { recursive: true })
})

// 60 s: each starts a process or several, which takes seconds on a machine that is busy.
describe('npm run submit', { timeout: 60_000 }, () => {
  it('sends the example, and the second time moves nothing', async () => {
    const { url } = await start()
    const args = [example, '--currency', 'EUR', '--url', url, '--key', 'po_test_double']
    const first = await submit(...args)
    expect(first).toMatchObject({ code: 0, stderr: '' })
    expect(first.stdout).toMatch(/^submitted +8$/m)
    expect(first.stdout).toMatch(/^total moved +460565 minor units \(4605\.65 EUR\)$/m)
    const second = await submit(...args)
    expect(second).toMatchObject({ code: 0, stderr: '' })
    expect(second.stdout).toMatch(/^replayed +8$/m)
    expect(second.stdout).toMatch(/^succeeded +8$/m)
    expect(second.stdout).toMatch(/^total moved +0 minor units \(0\.00 EUR\)$/m)
    expect(second.stdout).toMatch(/^moved before +460565 minor units \(4605\.65 EUR\)$/m)
  })

  it('ends with 1 and names line, order and code where not every order succeeded', async () => {
    const { url } = await start({
      refuse: ({ key }) => (key === 'order:2026-07-004' ? 'insufficient_funds' : undefined),
    })
    const result = await submit(example, '--currency', 'EUR', '--url', url, '--key', 'k')
    expect(result.code).toBe(1)
    expect(result.stderr).toContain(`${example}:5: order 2026-07-004 failed: insufficient_funds.`)
    expect(result.stdout).toMatch(/^failed +1\n {2}insufficient_funds +1$/m)
  })

  it('sends nothing of a file with an error, and ends with 2', async () => {
    const { url, requests } = await start()
    const file = join(folder, 'bad.tsv')
    await writeFile(file, 'order_id\tpayer\treceiver\tamount\n1\ta\tb\t5.00\n2\ta\tb\t5.001\n')
    const result = await submit(file, '--currency', 'EUR', '--url', url, '--key', 'k')
    expect(result).toMatchObject({ code: 2, stdout: '' })
    expect(result.stderr).toContain(`${file}:3: amount "5.001" has 3 decimal places`)
    expect(result.stderr).toContain('nothing was sent')
    expect(requests).toHaveLength(0)
  })

  it('sends a row that stands twice once', async () => {
    const double = await start()
    const file = join(folder, 'twice.tsv')
    await writeFile(file, 'order_id\tpayer\treceiver\tamount\n1\ta\tb\t5.00\n1\ta\tb\t5\n')
    const result = await submit(file, '--currency', 'EUR', '--url', double.url, '--key', 'k')
    expect(result.code).toBe(0)
    expect(result.stdout).toMatch(/^repeated in file +1$/m)
    expect(result.stdout).toMatch(/^replayed +0$/m)
    expect(double.count('POST', '/v1/transfers')).toBe(1)
  })

  it('says with --dry-run what it would send, without a server or a key', async () => {
    const result = await submit(example, '--currency', 'EUR', '--prefix', 'july', '--dry-run')
    expect(result).toMatchObject({ code: 0, stderr: '' })
    expect(result.stdout).toMatch(/^orders +8$/m)
    expect(result.stdout).toMatch(/^payers +4 external accounts$/m)
    expect(result.stdout).toMatch(/^idempotency key +july:2026-07-001$/m)
  })

  it.each([
    ['an unknown option', [example, '--currency', 'EUR', '--fast'], /--fast/],
    ['a missing currency', [example], /--currency is missing/],
    ['a file that is not there', ['nowhere.csv', '--currency', 'EUR', '--key', 'k'], /ENOENT/],
    ['a key file that is not there', [example, '--currency', 'EUR', '--key-file', 'no'], /ENOENT/],
  ])('ends with 2 for %s', async (_, args, message) => {
    const result = await submit(...args)
    expect(result).toMatchObject({ code: 2, stdout: '' })
    expect(result.stderr).toMatch(message)
  })

  it('reads the key from a file', async () => {
    const { url } = await start()
    const keyFile = join(folder, 'api-key')
    await writeFile(keyFile, 'po_test_double\n')
    const result = await submit(example, '--currency', 'EUR', '--url', url, '--key-file', keyFile)
    expect(result.code).toBe(0)
  })

  it('killed at any moment and started again, moves every order once', async () => {
    const double = await start({ settleAfterMs: () => 20 })
    const args = [await bigFile(2000), '--currency', 'EUR', '--url', double.url, '--key', 'k']
    for (const sent of [1, 400, 1500]) {
      const killed = submitUntil(() => double.transfers.size >= sent, 'SIGKILL', args)
      expect((await killed).signal).toBe('SIGKILL')
    }
    const last = await submit(...args)
    expect(last.code).toBe(0)
    expect(last.stdout).toMatch(/^succeeded +2000$/m)
    expect(last.stdout).toMatch(/^replayed +(1[5-9]|20)\d\d$/m)
    expect(double.moved()).toBe(200_000)
  })

  it('interrupted, prints what was done and how to go on', async () => {
    const double = await start({ settleAfterMs: () => 20 })
    const args = [await bigFile(2000), '--currency', 'EUR', '--url', double.url, '--key', 'k']
    const result = await submitUntil(() => double.transfers.size >= 300, 'SIGINT', args)
    expect(result.code).toBe(130)
    expect(result.stderr).toMatch(/SIGINT was received\. Run the same command again/)
    expect(result.stdout).toMatch(/^not answered +\d+$/m)
  })

  it('stops when the file changes while it is sent', async () => {
    const double = await start()
    // More than what is read ahead.
    const file = await bigFile(12_000)
    const args = [file, '--currency', 'EUR', '--url', double.url, '--key', 'k']
    const grow = () => appendFileSync(file, '12000,p1,r,1.00\n')
    const result = await submitUntil(() => double.transfers.size >= 300, grow, args)
    expect(result.code).toBe(1)
    expect(result.stderr).toMatch(/The file has changed since it was checked/)
    expect(double.transfers.size).toBeLessThanOrEqual(12_000)
  })
})

async function start(options: DoubleOptions = {}): Promise<Double> {
  payonce = await startDouble(options)
  return payonce
}

async function bigFile(orders: number): Promise<string> {
  const path = join(folder, 'big.csv')
  const rows = Array.from({ length: orders }, (_, index) => `${index},p${index % 9},r,1.00\n`)
  await writeFile(path, `order_id,payer,receiver,amount\n${rows.join('')}`)
  return path
}

type Ended = { code: number | null; signal: string | null; stdout: string; stderr: string }

function submit(...args: string[]): Promise<Ended> {
  return submitUntil(() => false, 'SIGKILL', args)
}

/** Runs the command, and sends it the signal, or does something else, as soon as `isTime`. */
function submitUntil(isTime: () => boolean, what: NodeJS.Signals | (() => void), args: string[]) {
  return new Promise<Ended>((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', main, ...args])
    const timer = setInterval(() => {
      if (!isTime()) return
      clearInterval(timer)
      if (typeof what === 'string') child.kill(what)
      else what()
    }, 1)
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    child.on('error', reject)
    child.on('close', (code, endedBy) => {
      clearInterval(timer)
      resolve({ code, signal: endedBy, stdout, stderr })
    })
  })
}
