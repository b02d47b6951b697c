import type { SupervisedProcess } from '@payonce/local/supervised-process'

/** Keeps what a process writes, and waits for a line of it. */
export class ProcessOutput {
  readonly #lines: string[] = []
  readonly #watchers = new Set<(line: string) => void>()

  add(line: string): void {
    this.#lines.push(line)
    if (this.#lines.length > linesKept) this.#lines.shift()
    this.#watchers.forEach((look) => look(line))
  }

  text(): string {
    return this.#lines.join('\n')
  }

  /** Resolves with the first line that matches, also one already written. */
  async untilLine(pattern: RegExp, timeoutMs: number, from: SupervisedProcess): Promise<string> {
    const written = this.#lines.find((line) => pattern.test(line))
    if (written !== undefined) return written
    const found = await new Promise<string | Missing>((resolve) => {
      const watcher = (line: string) => {
        if (pattern.test(line)) settle(line)
      }
      const timer = setTimeout(() => settle(tooLate), timeoutMs)
      const settle = (outcome: string | Missing) => {
        this.#watchers.delete(watcher)
        clearTimeout(timer)
        resolve(outcome)
      }
      this.#watchers.add(watcher)
      void from.exited.then(() => settle(ended))
    })
    if (typeof found === 'string') return found
    throw new Error(`${found.why} a line like ${pattern}. It wrote:\n${this.text()}`)
  }
}

/** A process under load writes a lot; what a test looks for is recent. */
const linesKept = 20_000

type Missing = { why: string }
const tooLate: Missing = { why: 'The process did not write in time' }
const ended: Missing = { why: 'The process ended without' }
