import { decodeId } from '@payonce/core/ids'
import { subjectOf, transferIdOf } from './calls.ts'
import { accountName, legsOf, type Evidence } from './evidence.ts'
import type { Report } from './finding.ts'

/** 15: nothing of one tenant in an answer to another, in its webhooks, or in its transfers. */
export function checkTenants(evidence: Evidence, report: Report): void {
  checkAnswers(evidence, report)
  checkWebhooks(evidence, report)
  checkAccounts(evidence, report)
}

/** One tenant alone shows nothing: then nothing was looked at. */
function checkAnswers({ calls, owners, tenants }: Evidence, report: Report): void {
  if (tenants.size < 2) return
  for (const call of calls) {
    const { answer, tenant } = call
    if (answer === undefined) continue
    const told = transferIdOf(answer.id)
    const asked = call.operation.kind === 'post' ? undefined : subjectOf(call)
    for (const id of new Set([told, asked])) {
      const owner = id === undefined ? undefined : owners.get(id)
      if (owner === undefined) continue
      report.saw()
      if (owner === tenant || (id !== told && tellsNothing(answer.status))) continue
      report.breach(
        `transfer ${id} of tenant ${owner}`,
        `call ${call.call} of tenant ${tenant} was answered ${answer.status}${id === told ? ' with its id' : ''}`,
      )
    }
  }
}

/** Not there, not now, not any more today: the same for an id that nobody has. */
function tellsNothing(status: number): boolean {
  return status === 404 || status === 429 || status >= 500
}

function checkWebhooks({ history, owners, books }: Evidence, report: Report): void {
  const tenantOf = new Map(books.endpoints.map(({ id, tenantId }) => [id, tenantId]))
  for (const record of history) {
    if (record.type !== 'webhook') continue
    const tenant = tenantOf.get(decodeId('endpoint', record.endpoint) ?? '')
    const owner = owners.get(transferIdOf(record.objectId) ?? '')
    if (tenant === undefined || owner === undefined || owner === tenant) continue
    report.breach(
      `event ${record.eventId}`,
      `of tenant ${owner}, sent to endpoint ${record.endpoint} of tenant ${tenant}`,
    )
  }
}

function checkAccounts({ books, accounts }: Evidence, report: Report): void {
  for (const transfer of books.transfers) {
    for (const id of legsOf(transfer).flatMap((leg) => [leg.source, leg.destination])) {
      if (accounts.has(accountName(transfer.tenantId, id))) continue
      report.breach(
        `transfer ${transfer.id} of tenant ${transfer.tenantId}`,
        `it names account ${id}, which is not its tenant's`,
      )
    }
  }
}
