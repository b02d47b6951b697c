import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** `count` tells only how many came, `report` also how late each was, `forget` begins anew. */
export type ReceiverCommand = 'count' | 'report' | 'forget'

export type ReceiverMessage =
  | { type: 'listening'; port: number }
  | { type: 'report'; received: number; latenessMs: number[] }

export type Receiver = {
  url: string
  /** Webhooks answered so far. */
  count(): Promise<number>
  /** How many milliseconds after its event each came, since `forget`. */
  lateness(): Promise<number[]>
  forget(): Promise<void>
  close(): void
}

/** Starts a receiver of webhooks in a process of its own; a dead one takes them and never answers. */
export async function startReceiver({ isDead = false } = {}): Promise<Receiver> {
  const child = fork(
    fileURLToPath(new URL('receiver-process.ts', import.meta.url)),
    isDead ? ['dead'] : [],
    { execArgv: ['--import', 'tsx'] },
  )
  const [hello] = (await once(child, 'message')) as [ReceiverMessage]
  if (hello.type !== 'listening') throw new Error('the receiver did not begin by listening')

  async function ask(command: ReceiverCommand) {
    const answered = once(child, 'message') as Promise<[ReceiverMessage]>
    child.send(command)
    const [report] = await answered
    if (report.type !== 'report') throw new Error('the receiver did not answer')
    return report
  }

  return {
    url: `http://127.0.0.1:${hello.port}/`,
    count: async () => (await ask('count')).received,
    lateness: async () => (await ask('report')).latenessMs,
    forget: async () => {
      await ask('forget')
    },
    close: () => void child.kill(),
  }
}

/** Makes a tenant's events come to a receiver, at most so many within a second. */
export async function subscribe(
  { url, apiKey }: { url: string; apiKey: string },
  receiver: Pick<Receiver, 'url'>,
  rateLimit: number,
): Promise<void> {
  const answer = await fetch(`${url}/v1/webhook-endpoints`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ url: receiver.url, rate_limit: rateLimit }),
  })
  if (answer.status !== 201) throw new Error(`no endpoint: ${answer.status} ${await answer.text()}`)
}
