import { createHash } from 'node:crypto'
import { decodeId, encodeId } from '@payonce/core/ids'
import { isAccepted, isRefused, keyName, subjectOf, transferIdOf, type Post } from './calls.ts'
import type { Evidence } from './evidence.ts'
import type { Report } from './finding.ts'
import { poison, type BookedCommand } from '../books.ts'

/** 3: everything that was accepted stands in the books, and is settled. */
export function checkDurability(evidence: Evidence, report: Report): void {
  const { books, commands, keys, posts, transfers } = evidence
  for (const [name, calls] of posts) {
    const accepted = calls.find(isAccepted)
    if (accepted === undefined) continue
    report.saw()
    if (keys.has(name)) continue
    report.breach(
      `key ${name}`,
      `call ${accepted.call} was told that it is accepted, and no row of its key is stored`,
    )
  }
  for (const { transferId, code } of books.attempts) {
    if (commands.get(transferId)?.command.description === poison) continue
    report.breach(`transfer ${transferId}`, `put aside as ${code}: an outage taken for a bug`)
  }
  const deferred = new Map(books.deferred.map((one) => [one.transferId, one]))
  for (const { tenantId, idempotencyKey, resource, resourceId } of books.keys) {
    if (resource !== 'transfer') continue
    report.saw()
    const put = deferred.get(resourceId)
    const isSettled = transfers.has(resourceId)
    const told = put === undefined ? '' : ` (deferred: ${put.reason}, ${put.lastCode})`
    const where = `key ${keyName(tenantId, idempotencyKey)}, transfer ${resourceId}`
    if (!isSettled) report.breach(where, `accepted and never settled${told}`)
    else if (put !== undefined) report.breach(where, `settled, and still put aside${told}`)
  }
}

/** 4: a key has one transfer, and all answers to it name that one, in the same bytes. */
export function checkOneEffect({ books, keys, posts }: Evidence, report: Report): void {
  const settled = new Map<string, string>()
  for (const { tenantId, idempotencyKey, id } of books.transfers) {
    const name = keyName(tenantId, idempotencyKey)
    report.saw()
    const other = settled.get(name)
    if (other !== undefined) report.breach(`key ${name}`, `two transfers: ${other} and ${id}`)
    settled.set(name, id)
    const { resourceId } = keys.get(name) ?? {}
    if (resourceId !== id) {
      report.breach(`key ${name}`, `accepted as ${resourceId ?? 'nothing'}, settled as ${id}`)
    }
  }
  for (const [name, calls] of posts) {
    checkAnswers(name, calls.filter(isAccepted), keys.get(name)?.resourceId, report)
  }
}

function checkAnswers(
  name: string,
  accepted: readonly Post[],
  stored: string | undefined,
  report: Report,
): void {
  if (accepted.length === 0) return
  report.saw(accepted.length)
  const ids = new Set(accepted.flatMap((call) => transferIdOf(call.answer?.id) ?? []))
  if (stored !== undefined) ids.add(stored)
  if (ids.size > 1) report.breach(`key ${name}`, `its answers and its row name ${list(ids)}`)
  const bodies = new Set(
    accepted.flatMap(({ answer }) => (answer?.status === 202 ? [answer.bodyHash] : [])),
  )
  if (bodies.size > 1) report.breach(`key ${name}`, `answered in ${bodies.size} different bodies`)
  const firsts = accepted.filter(({ answer }) => answer?.isReplay === false)
  if (firsts.length > 1) {
    const calls = list(firsts.map(({ call }) => call))
    report.breach(`key ${name}`, `calls ${calls} were each answered as the first one`)
  }
}

function list(items: Iterable<string | number>): string {
  return [...items].join(', ')
}

/** 5: what is carried out is what was accepted, and nobody was told the contrary. */
export function checkBodies({ posts, keys, commands, transfers }: Evidence, report: Report): void {
  for (const [name, calls] of posts) {
    const key = keys.get(name)
    const command = key && commands.get(key.resourceId)
    if (key === undefined || command === undefined) continue
    report.saw()
    const where = `key ${name}, transfer ${key.resourceId}`
    if (!calls.some((call) => asksFor(call, command, key.fingerprint))) {
      report.breach(where, `nobody asked for what stands in its command: ${textOf(command)}`)
    }
    for (const call of calls) {
      const isSame = asksFor(call, command, key.fingerprint)
      const { answer } = call
      if (isAccepted(call) && !isSame) {
        report.breach(where, `call ${call.call} was accepted for another body than is carried out`)
      }
      if (isSame && answer?.code === 'idempotency_key_reused') {
        report.breach(where, `call ${call.call} repeats the request and was refused as another one`)
      }
    }
    const transfer = transfers.get(key.resourceId)
    const asked = command.command
    if (transfer === undefined || asked.legs !== undefined) continue
    const isAsAsked =
      transfer.kind === asked.kind &&
      (transfer.source ?? undefined) === asked.source &&
      (transfer.destination ?? undefined) === asked.destination &&
      (transfer.parentId ?? undefined) === asked.parent_id &&
      (asked.amount === undefined || transfer.amount === BigInt(asked.amount))
    if (!isAsAsked) report.breach(where, `it is not what its command asks for: ${textOf(command)}`)
  }
}

function textOf({ command }: BookedCommand): string {
  return JSON.stringify(command)
}

function asksFor(post: Post, { command }: BookedCommand, fingerprint: string): boolean {
  return matchesCommand(post, command) && fingerprintsOf(post).includes(fingerprint)
}

function matchesCommand({ operation }: Post, command: BookedCommand['command']): boolean {
  if (operation.route !== '/v1/transfers') {
    const kind = operation.route.slice('/v1/transfers/:id/'.length)
    const { amount } = operation.body
    return (
      command.kind === kind &&
      command.parent_id === transferIdOf(operation.target) &&
      command.amount === amount
    )
  }
  const { body } = operation
  return (
    command.kind === (body.hold === true ? 'hold' : 'transfer') &&
    command.source === decodeId('account', body.source) &&
    command.destination === decodeId('account', body.destination) &&
    command.amount === body.amount &&
    command.currency === body.currency &&
    command.description === body.description
  )
}

/** Made anew from the contract, with a canonical form that is enough for flat bodies. */
function fingerprintsOf({ operation }: Post): string[] {
  const target = operation.route === '/v1/transfers' ? '' : operation.target
  const route = operation.route.replace(':id', target)
  const members = Object.entries(operation.body)
    .filter(([, value]) => value !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  const text = JSON.stringify(Object.fromEntries(members))
  const forms = members.length === 0 ? [text, ''] : [text]
  return forms.map((form) =>
    createHash('sha256').update(`1\nPOST\n${route}\n${form}`).digest('hex'),
  )
}

/** 14: what was refused has no effect, be it a request or a cancel. */
export function checkRefusals(evidence: Evidence, report: Report): void {
  checkRefusedPosts(evidence, report)
  checkRefusedCancels(evidence, report)
}

function checkRefusedPosts({ posts, keys, transfers }: Evidence, report: Report): void {
  for (const [name, calls] of posts) {
    const refused = calls.filter(isRefused)
    report.saw(refused.length)
    const key = keys.get(name)
    if (refused.length === 0 || refused.length < calls.length || key === undefined) continue
    const settled = transfers.has(key.resourceId) ? 'settled' : 'not settled'
    const answers = list(refused.map(({ answer }) => `${answer?.status} ${answer?.code ?? ''}`))
    report.breach(
      `key ${name}`,
      `every request was refused (${answers}), and it stands in the books as ${key.resourceId}, ${settled}`,
    )
  }
}

function checkRefusedCancels({ calls, posts, transfers, keys }: Evidence, report: Report): void {
  const mayHaveCanceled = new Set<string>()
  for (const call of calls) {
    const id = call.operation.kind === 'cancel' ? subjectOf(call) : undefined
    if (id === undefined) continue
    if (isRefused(call)) report.saw()
    else mayHaveCanceled.add(id)
    if (isAccepted(call) && transfers.get(id)?.status !== 'canceled') {
      const found = transfers.get(id)?.status ?? 'not settled'
      report.breach(`transfer ${encodeId('transfer', id)}`, `told canceled, found ${found}`)
    }
  }
  for (const name of posts.keys()) {
    const id = keys.get(name)?.resourceId ?? ''
    if (transfers.get(id)?.status !== 'canceled' || mayHaveCanceled.has(id)) continue
    report.breach(`key ${name}, transfer ${id}`, 'canceled, and every cancel of it was refused')
  }
}
