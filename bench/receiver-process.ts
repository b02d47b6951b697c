import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ReceiverCommand, ReceiverMessage } from './receiver.ts'

/** The process behind `startReceiver`: it takes webhooks, or takes them and never answers. */
const isDead = process.argv[2] === 'dead'
let received = 0
let latenessMs: number[] = []

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    if (isDead) return
    received += 1
    const { timestamp } = JSON.parse(Buffer.concat(chunks).toString()) as { timestamp: string }
    latenessMs.push(Date.now() - Date.parse(timestamp))
    response.writeHead(204).end()
  })
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')

function tell(message: ReceiverMessage): void {
  process.send?.(message)
}

process.on('message', (command: ReceiverCommand) => {
  if (command === 'forget') latenessMs = []
  tell({ type: 'report', received, latenessMs: command === 'report' ? latenessMs : [] })
})
process.once('disconnect', () => process.exit())
tell({ type: 'listening', port: (server.address() as AddressInfo).port })
