import { createDatabaseMaker } from './database.ts'
import { describeMachine, renderMachine } from './machine.ts'
import { readOptions, usage, UsageError, type Options } from './options.ts'
import { drawKept, renderScenario, writeResult } from './report.ts'
import { concludeScenario, type ScenarioResult } from './result.ts'
import { scenarios } from './scenarios/index.ts'
import { startStack } from './stack.ts'
import type { Measurement } from './metrics.ts'
import type { Bench, Contender, Scenario } from './scenario.ts'

const startedAtMs = performance.now()

/** Tells progress on standard error, so that standard output holds the report alone. */
function tell(line: string): void {
  const seconds = Math.round((performance.now() - startedAtMs) / 1_000)
  process.stderr.write(`[${String(seconds).padStart(4)} s] ${line}\n`)
}

async function run(options: Options): Promise<void> {
  const startedAt = new Date().toISOString()
  const chosen = chooseScenarios(options)
  tell('starting Postgres and Redis')
  const stack = await startStack({ countStatements: options.profile !== undefined })
  stopOnSignal(() => stack.stop())
  try {
    const machine = await describeMachine(stack)
    console.log(`${renderMachine(machine)}\n`)
    const bench = { options, stack, databases: await createDatabaseMaker(stack), tell }
    const results: ScenarioResult[] = []
    for (const scenario of chosen) {
      try {
        const result = await runScenario(bench, scenario)
        results.push(result)
        console.log(renderScenario(result))
      } catch (error) {
        // What the others have measured in an hour is not lost for it.
        console.error(`bench: ${scenario.name} failed:`, error)
        process.exitCode = 1
      }
    }
    const run = { startedAt, machine, options, scenarios: results }
    tell(`written to ${(await writeResult(options.out, run)).join(' and ')}`)
  } finally {
    await stack.stop()
  }
}

function chooseScenarios({ scenarios: names, against }: Options): readonly Scenario[] {
  const known = scenarios.map(({ name }) => name)
  const unknown = names.find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw new UsageError(`there is no scenario ${unknown}, only ${known.join(', ')}`)
  }
  if (names.length > 0) return scenarios.filter(({ name }) => names.includes(name))
  return scenarios.filter(({ name }) => name !== 'against' || against !== undefined)
}

/** Ctrl-C stops the servers in order. API, worker and load end with this process by themselves. */
function stopOnSignal(stop: () => Promise<void>): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      tell('stopping')
      void stop().finally(() => process.exit(130))
    })
  }
}

async function runScenario(bench: Bench, scenario: Scenario): Promise<ScenarioResult> {
  tell(`${scenario.name}: preparing`)
  const contenders = await scenario.contenders(bench)
  try {
    return concludeScenario(scenario, await measureInTurns(bench, scenario.name, contenders))
  } finally {
    for (const contender of contenders) await contender.close?.()
  }
}

async function measureInTurns(
  { options, tell }: Bench,
  scenario: string,
  contenders: readonly Contender[],
): Promise<Map<string, Measurement[]>> {
  const rounds = new Map<string, Measurement[]>(contenders.map(({ name }) => [name, []]))
  for (let number = 1; number <= options.repeat; number++) {
    for (const { name, measure } of contenders) {
      tell(`${scenario}: ${name}, round ${number} of ${options.repeat}`)
      const label = `${scenario}-${name}-${number}`.replaceAll(' ', '-')
      rounds.get(name)?.push(await measure({ label }))
    }
  }
  return rounds
}

try {
  const options = readOptions(process.argv.slice(2))
  if (options.charts.length === 0) await run(options)
  else tell(`drawn in ${await drawKept(options.out, options.charts)}`)
} catch (error) {
  const isUsage = error instanceof UsageError
  console.error(isUsage ? `bench: ${error.message}\n${usage}` : error)
  process.exitCode = isUsage ? 2 : 1
}
