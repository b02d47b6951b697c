/*
 * Loaded into a process under test before tsx: `node --import storm/sources/register.mjs --import tsx …`.
 * It puts patched sources in the place of some of the product's, so that the product itself knows
 * nothing of failpoints, and gives the process what those patches call.
 *
 * The harness tells what to do through a file, read at the start and again at each SIGUSR2:
 * `{failpoint?: {name, hit, action: 'kill' | 'freeze'}, clockOffsetMs?: number}`.
 */
import { readFileSync, writeSync } from 'node:fs'
import { register } from 'node:module'

const { NODE_ENV, STORM_SOURCES, STORM_ORDERS } = process.env

if (NODE_ENV === 'production') throw new Error('failpoints are no part of production')
if (STORM_SOURCES === undefined) throw new Error('STORM_SOURCES names no folder of patched sources')

// Hooks run in the reverse order of their registration: tsx asks ours for the text that it compiles.
register('./hooks.mjs', import.meta.url, { data: { folder: STORM_SOURCES } })

/** @type {{name: string, hit: number, action: 'kill' | 'freeze'} | undefined} */
let armed
let hits = 0
let clockOffsetMs = 0

function readOrders() {
  if (STORM_ORDERS === undefined) return
  const orders = JSON.parse(readFileSync(STORM_ORDERS, 'utf8'))
  armed = orders.failpoint
  hits = 0
  clockOffsetMs = orders.clockOffsetMs ?? 0
}

function isHit(name) {
  if (armed?.name !== name) return false
  hits += 1
  return hits >= armed.hit
}

/** Ends or freezes the process here, in the midst of its work: nothing after this line happens. */
function strike(name) {
  const { action } = armed
  armed = undefined
  const line = JSON.stringify({ level: 'info', msg: 'storm failpoint', failpoint: name, action })
  try {
    // Straight to the pipe: what is buffered in this process dies with it.
    writeSync(1, `${line}\n`)
  } catch {
    // The pipe is full. The end of the process matters more than its last word.
  }
  process.kill(process.pid, action === 'freeze' ? 'SIGSTOP' : 'SIGKILL')
  // The signal may take a moment to arrive. Nothing may run in it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, action === 'freeze' ? 50 : 60_000)
}

globalThis.stormFailpoint = function stormFailpoint(name) {
  if (isHit(name)) strike(name)
}

/** As a failpoint, but what was begun before it has this long to end. */
globalThis.stormLateFailpoint = async function stormLateFailpoint(name, delayMs) {
  if (!isHit(name)) return
  await new Promise((resolve) => setTimeout(resolve, delayMs))
  strike(name)
}

const RealDate = Date
globalThis.Date = new Proxy(RealDate, {
  construct: (target, parts, newTarget) =>
    parts.length === 0
      ? Reflect.construct(target, [RealDate.now() + clockOffsetMs], newTarget)
      : Reflect.construct(target, parts, newTarget),
  get: (target, name) =>
    name === 'now' ? () => RealDate.now() + clockOffsetMs : Reflect.get(target, name),
})

readOrders()
process.on('SIGUSR2', readOrders)
