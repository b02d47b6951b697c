import { setTimeout as sleep } from 'node:timers/promises'
import { catalogue } from './faults/catalogue.ts'
import { createExpectations } from './expectations.ts'
import { nameOf, type Plan, type PlannedFault } from './plan.ts'
import { createRandom } from './random.ts'
import { watchBooks, type Watch } from './harness/watch.ts'
import { createCaller } from './load/caller.ts'
import { gatherCast, type Cast } from './load/cast.ts'
import { startLoad } from './load/clients.ts'
import { connectApi } from './load/http.ts'
import type { Storm } from './faults/fault.ts'
import type { Installation } from './harness/installation.ts'
import type { Receiver } from './harness/receiver.ts'
import type { Recorder } from './harness/recorder.ts'

export type StormOptions = {
  installation: Installation
  receiver: Receiver
  recorder: Recorder
  plan: Plan
  options: { clients: number; perSecond: number; healSeconds: number }
  tell(line: string): void
}

/** 60 s: whatever has not recovered from a fault by then does not recover. */
const recoverWithinMs = 60_000
const lookEveryMs = 250
const listed = 20
/** The first ones tell what is wrong; a broken build could have thousands. */
const findingsKept = 50
/**
 * Runs the load and the faults of the plan, each followed by its recovery, then heals everything and
 * waits until nothing is open. Returns what was not as it should be; the history says the rest.
 */
export async function runStorm(given: StormOptions): Promise<string[]> {
  const { installation, receiver, recorder, plan, options, tell } = given
  const findings: string[] = []
  let found = 0
  const find = (finding: string) => {
    found += 1
    if (found <= findingsKept) {
      findings.push(finding)
      tell(`FOUND ${finding}`)
    } else {
      findings[findingsKept] = `and ${found - findingsKept} more`
    }
  }
  const expectations = createExpectations(find)
  recorder.listen((record) => expectations.see(record, recorder.now()))
  const random = createRandom(plan.seed)
  const connections = installation.apiUrls.map((url) => connectApi(url, options.clients + 64))
  const caller = createCaller(recorder)
  const [first] = connections
  if (first === undefined) throw new Error('there is no API')
  tell('opening accounts')
  const casts: Cast[] = []
  for (const tenant of installation.tenants) {
    casts.push(await gatherCast({ api: first, caller, tenant, receiver }))
  }
  const watch = watchBooks(installation.pool, recorder)
  const load = startLoad({ casts, apis: connections, caller, random: random.fork(), ...options })
  const loadBeganAtMs = performance.now()
  const storm: Storm = {
    ...installation,
    receiver,
    load,
    caller,
    connections,
    casts,
    random: random.fork(),
    tell,
    find,
  }
  const faults = new Faults(storm, { installation, watch, recorder, loadBeganAtMs })
  const isHealthy = await faults.runAll(plan.faults)
  if (isHealthy) await untilMs(loadBeganAtMs + plan.durationMs)
  tell('healing')
  await heal(storm)
  await load.stop()
  // What has not healed after its fault in all that time is only listed.
  await untilSettled({
    watch,
    casts,
    tell,
    find,
    withinMs: isHealthy ? options.healSeconds * 1_000 : 0,
  })
  await watch.stop()
  const deadlocks = installation.deadlocks()
  const ours = deadlocks.filter(({ isOfQueue }) => !isOfQueue)
  tell(`Postgres broke ${deadlocks.length - ours.length} deadlocks of the queue's own statements`)
  if (ours[0] !== undefined) {
    find(`Postgres broke ${ours.length} deadlocks, the first of them:\n${ours[0].text}`)
  }
  await Promise.all(connections.map((connection) => connection.close()))
  return findings
}

type Surroundings = {
  installation: Installation
  watch: Watch
  recorder: Recorder
  loadBeganAtMs: number
}

class Faults {
  readonly #storm: Storm
  readonly #about: Surroundings

  constructor(storm: Storm, about: Surroundings) {
    this.#storm = storm
    this.#about = about
  }

  /** Returns false where one of them was not recovered from: the others are left out then. */
  async runAll(faults: readonly PlannedFault[]): Promise<boolean> {
    for (const planned of faults) if (!(await this.#run(planned))) return false
    return true
  }

  async #run(planned: PlannedFault): Promise<boolean> {
    const { tell, find } = this.#storm
    const fault = catalogue.find((fault) => nameOf(fault) === planned.name)
    if (fault === undefined) throw new Error(`there is no fault ${planned.name}`)
    await untilMs(this.#about.loadBeganAtMs + planned.atMs)
    // What the fault before has killed is back by then, so that each fault answers for itself alone.
    await untilAllReady(this.#storm).catch((error: unknown) => find(String(error)))
    tell(`${planned.number}. ${planned.name}, ${planned.target}`)
    await this.#note(planned, 'begin')
    await fault.strike(this.#storm, planned).catch(async (error: unknown) => {
      find(`${planned.name} could not be carried out: ${String(error)}`)
      await heal(this.#storm)
    })
    const endedAtMs = performance.now()
    await this.#note(planned, 'end')
    const afterMs = await this.#recover(planned, endedAtMs)
    if (afterMs === undefined) return false
    if (afterMs > planned.recoveryMs) {
      find(`${planned.name}: recovered after ${Math.round(afterMs)} ms, not ${planned.recoveryMs}`)
    }
    return true
  }

  async #note({ number, name, target }: PlannedFault, phase: 'begin' | 'end'): Promise<void> {
    const inFlight = await this.#about.watch.unsettled()
    this.#about.installation.strike(phase)
    this.#about.recorder.append({ type: 'fault', number, name, phase, target, inFlight })
  }

  /**
   * Waits until everything that was accepted before now is settled or deferred, and each API has
   * accepted something new that is settled as well.
   */
  async #recover({ number, name }: PlannedFault, endedAtMs: number): Promise<number | undefined> {
    const { watch, recorder } = this.#about
    const elapsed = () => performance.now() - endedAtMs
    const isServing = probe(this.#storm, `probe-${number}`)
    let until: Date | undefined
    while (elapsed() < recoverWithinMs) {
      until ??= await watch.now()
      if (until !== undefined && (await watch.unsettledUntil(until)) === 0) {
        if (!(await isServing)) break
        const afterMs = Math.round(elapsed())
        recorder.append({ type: 'recovered', number, afterMs })
        this.#storm.tell(`   recovered after ${afterMs} ms`)
        return afterMs
      }
      await sleep(lookEveryMs)
    }
    this.#storm.find(`${name}: not recovered from within ${recoverWithinMs / 1_000} s`)
    return undefined
  }
}

/** Sends a payment to each API until it is accepted, and looks there until it has succeeded. */
async function probe({ casts, connections, caller }: Storm, name: string): Promise<boolean> {
  const [cast] = casts
  if (cast === undefined) throw new Error('there is no tenant')
  const { tenant, currency, world } = cast
  const deadline = performance.now() + recoverWithinMs
  const outcomes = connections.map(async (api, index) => {
    const client = `${name}-${index}`
    const body = { source: world, destination: cast.hot[0] ?? '', amount: 1, currency }
    const post = { kind: 'post', route: '/v1/transfers', key: client, body } as const
    let target: string | undefined
    while (performance.now() < deadline) {
      const operation = target === undefined ? post : ({ kind: 'read', target } as const)
      const reply = await caller.call({ client, tenant, api, operation })
      if (reply?.body.status === 'succeeded') return true
      if (reply?.status === 202) target = String(reply.body.id)
      await sleep(lookEveryMs)
    }
    return false
  })
  return !(await Promise.all(outcomes)).includes(false)
}

/** Takes back whatever a fault may have left behind. */
async function heal(storm: Storm): Promise<void> {
  const { apis, workers, postgres, redis, proxies, receiver } = storm
  for (const { postgres, redis } of [proxies.api, proxies.worker]) {
    postgres.set({ kind: 'fair' })
    redis?.set({ kind: 'fair' })
  }
  receiver.behave('well')
  await postgres.heal()
  await redis?.heal()
  for (const process of [...apis, ...workers]) process.thaw()
  await untilAllReady(storm)
}

async function untilAllReady({ apis, workers }: Storm): Promise<void> {
  await Promise.all([...apis, ...workers].map((process) => process.untilReady()))
}

async function untilSettled({
  watch,
  casts,
  tell,
  find,
  withinMs,
}: Pick<Storm, 'casts' | 'tell' | 'find'> & { watch: Watch; withinMs: number }): Promise<void> {
  const startedAtMs = performance.now()
  const endpoints = casts.flatMap((cast) => cast.endpoints)
  const healthy = endpoints.filter(({ mode }) => mode === 'healthy').map((one) => one.storedId)
  for (;;) {
    const now = await watch.now()
    const unsettled = now === undefined ? undefined : await watch.unsettledUntil(now)
    const deferred = await watch.deferred()
    const undelivered = await watch.undelivered(healthy)
    if (unsettled === 0 && deferred === 0 && undelivered === 0) break
    if (performance.now() - startedAtMs > withinMs) {
      find(
        `not healed: ${unsettled} transfers are unsettled, ${deferred} deferred, ` +
          `${undelivered} events undelivered`,
      )
      for (const { id, key, acceptedAt } of await watch.listUnsettled(listed)) {
        find(`unsettled: ${id}, key ${key}, accepted at ${acceptedAt.toISOString()}`)
      }
      return
    }
    await sleep(lookEveryMs)
  }
  tell(`settled and delivered after ${Math.round(performance.now() - startedAtMs)} ms`)
}

async function untilMs(atMs: number): Promise<void> {
  await sleep(Math.max(0, atMs - performance.now()))
}
