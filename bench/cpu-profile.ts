/** The parts of a V8 CPU profile that are read here. */
type CpuProfile = {
  nodes: readonly ProfileNode[]
  samples: readonly number[]
  timeDeltas: readonly number[]
}

type ProfileNode = { id: number; callFrame: CallFrame; children?: readonly number[] }
type CallFrame = { functionName: string; url: string; lineNumber: number }

export type Cost = { name: string; share: number }

/** Where a process spent its time, the largest share first; garbage collection counts as a function. */
export type CpuSummary = {
  /** The share of its time in which the process did anything. */
  busyShare: number
  /** Shares of the busy time. */
  packages: Cost[]
  self: Cost[]
  inclusive: Cost[]
}

export function summariseCpuProfile(text: string): CpuSummary {
  const { nodes, samples, timeDeltas } = JSON.parse(text) as CpuProfile
  const stacks = stacksOf(nodes)
  const sums = { packages: new Sums(), self: new Sums(), inclusive: new Sums() }
  let total = 0
  let busy = 0
  samples.forEach((id, index) => {
    const duration = timeDeltas[index] ?? 0
    const stack = stacks.get(id)
    const frame = stack?.[0]
    total += duration
    if (stack === undefined || frame === undefined || frame.functionName === '(idle)') return
    busy += duration
    sums.packages.add(packageOf(frame), duration)
    sums.self.add(nameOf(frame), duration)
    for (const name of new Set(stack.map(nameOf))) sums.inclusive.add(name, duration)
  })
  return {
    busyShare: busy / total,
    packages: sums.packages.ranked(busy),
    self: sums.self.ranked(busy),
    inclusive: sums.inclusive.ranked(busy),
  }
}

/** The frames of each node, the innermost first. */
function stacksOf(nodes: readonly ProfileNode[]): Map<number, CallFrame[]> {
  const parents = new Map<number, ProfileNode>()
  for (const node of nodes) for (const child of node.children ?? []) parents.set(child, node)
  return new Map(
    nodes.map((node) => {
      const stack: CallFrame[] = []
      for (let at: ProfileNode | undefined = node; at !== undefined; at = parents.get(at.id)) {
        stack.push(at.callFrame)
      }
      return [node.id, stack]
    }),
  )
}

class Sums {
  readonly #sums = new Map<string, number>()

  add(name: string, value: number): void {
    this.#sums.set(name, (this.#sums.get(name) ?? 0) + value)
  }

  ranked(total: number): Cost[] {
    return [...this.#sums]
      .map(([name, value]) => ({ name, share: value / total }))
      .toSorted((a, b) => b.share - a.share)
  }
}

function nameOf({ functionName, url, lineNumber }: CallFrame): string {
  const path = url.replace(/^.*\/node_modules\//, '').replace(/^file:\/\//, '')
  const place = path === '' ? '' : ` ${path.split('/').slice(-4).join('/')}:${lineNumber + 1}`
  return `${functionName || '(anonymous)'}${place}`
}

/** A package, a part of Node, our own code, or what V8 itself does. */
function packageOf({ functionName, url }: CallFrame): string {
  if (url === '') return functionName
  if (url.startsWith('node:')) return url
  return /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? 'payonce'
}
