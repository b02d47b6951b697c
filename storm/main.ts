import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Pool } from 'pg'
import { catalogue } from './faults/catalogue.ts'
import { judge, type Judgement } from './judge.ts'
import { UsageError, readOptions, usage, type Options } from './options.ts'
import { UnknownFaultError, makePlan, nameOf, type Plan } from './plan.ts'
import { plants } from './plants/catalogue.ts'
import { startInstallation } from './harness/installation.ts'
import { startReceiver } from './harness/receiver.ts'
import { createRecorder } from './harness/recorder.ts'
import { runStorm } from './storm.ts'
import type { Plant } from './plants/plant.ts'

const startedAtMs = performance.now()

/** Tells progress on standard error, so that standard output holds the verdict alone. */
function tell(line: string): void {
  const seconds = Math.round((performance.now() - startedAtMs) / 1_000)
  process.stderr.write(`[${String(seconds).padStart(4)} s] ${line}\n`)
}

async function run(options: Options): Promise<boolean> {
  const plant = findPlant(options.plant)
  const plan = planOf(options, plant)
  const out = resolve(options.out)
  mkdirSync(out, { recursive: true })
  writeFileSync(join(out, 'plan.json'), `${JSON.stringify(plan, undefined, 2)}\n`)
  for (const fault of plan.faults) {
    tell(`planned at ${Math.round(fault.atMs / 1_000)} s: ${fault.name}, ${fault.target}`)
  }
  if (plant !== undefined) tell(`planted: ${plant.bug}`)
  const historyPath = join(out, 'history.jsonl')
  const recorder = createRecorder(historyPath)
  tell('starting Postgres, the queue, two APIs and three workers')
  const { queue } = options
  const hasStandby = plan.faults.some(({ name }) => name.startsWith('F13 '))
  const hasSmallDisk = plan.faults.some(({ name }) => name === 'F11 out of disk')
  const installation = await startInstallation({
    queue,
    plant,
    hasStandby,
    hasSmallDisk,
    out,
    recorder,
  })
  const receiver = await startReceiver(recorder)
  stopOnSignal(() => installation.stop())
  try {
    const findings = await runStorm({ installation, receiver, recorder, plan, options, tell })
    // Before the history: bad endpoints get webhooks for as long as a worker runs.
    await installation.endProcesses()
    await recorder.close()
    const { databaseUrl } = installation
    const { verdict, lines: said } = await judgeBooks(databaseUrl, { historyPath, plan, out })
    const isGood = verdict.isGood && findings.length === 0
    const lines = [...said, ...findings, isGood ? 'passed' : 'FAILED']
    writeFileSync(join(out, 'verdict.txt'), `${lines.join('\n')}\n`)
    console.log(lines.join('\n'))
    return isGood
  } finally {
    await receiver.close()
    await installation.stop()
  }
}

/** By connections that wait as long as it takes: all books are read at once. */
async function judgeBooks(
  connectionString: string,
  what: Omit<Parameters<typeof judge>[0], 'pool'>,
): Promise<Judgement> {
  const pool = new Pool({ connectionString, max: 2 })
  try {
    return await judge({ ...what, pool })
  } finally {
    await pool.end()
  }
}

function planOf(options: Options, plant: Plant | undefined): Plan {
  const { seed, seconds, queue, faults } = options
  const wanted = faults.length > 0 ? faults : (plant?.faults ?? [])
  return makePlan({ seed, durationMs: seconds * 1_000, queue, shapes: catalogue, wanted })
}

function findPlant(name: string | undefined): Plant | undefined {
  if (name === undefined) return undefined
  const plant = plants.find((plant) => plant.name === name)
  if (plant !== undefined) return plant
  throw new UsageError(`there is no bug ${name}, only ${plants.map(({ name }) => name).join(', ')}`)
}

/** Ctrl-C stops everything in order. What this process has started ends with it in any case. */
function stopOnSignal(stop: () => Promise<void>): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      tell('stopping')
      void stop().finally(() => process.exit(130))
    })
  }
}

function list(): void {
  for (const fault of catalogue) console.log(`fault  ${nameOf(fault)}`)
  for (const { name, bug } of plants) console.log(`plant  ${name}: ${bug}`)
}

try {
  const options = readOptions(process.argv.slice(2))
  if (options === 'list') list()
  // Whatever a failed start has left behind is a child of this process, and goes with it.
  else process.exit((await run(options)) ? 0 : 1)
} catch (error) {
  const isUsage = error instanceof UsageError || error instanceof UnknownFaultError
  console.error(isUsage ? `storm: ${error.message}\n${usage}` : error)
  process.exit(isUsage ? 2 : 1)
}
