import { fingerprint } from '@payonce/core/idempotency/fingerprint'
import { tenantId } from './protocol.ts'
import type { AccountState } from '@payonce/core/ledger/books'
import type { AcceptedCommand } from '@payonce/core/transfers/transfer'
import type { Database, StoredRequest, TransferRow } from './database.ts'
import type {
  BookedAccount,
  BookedCommand,
  BookedEvent,
  BookedKey,
  Books,
  BookedTransfer,
} from '../../../../storm/books.ts'

/** What the fake database holds, as the checker reads it from the real one. */
export function toBooks(database: Database): Books {
  const { requests, commands, inserted, entries, accounts, events } = database
  return {
    keys: [...requests.values()].map(toKey),
    commands: [...commands.values()].map(toCommand),
    transfers: inserted.map((row) => toTransfer(row, commands.get(row.id))),
    entries,
    accounts: [...accounts.values()].map(toAccount),
    limits: [...accounts.values()].map(({ id, overdraftLimit }) => ({
      tenantId,
      accountId: id,
      version: 0n,
      overdraftLimit,
    })),
    deferred: [...database.deferred.keys()].map((transferId) => ({
      tenantId,
      transferId,
      reason: 'insufficient_funds',
      attempts: 1,
      lastCode: 'insufficient_funds',
    })),
    events: events.map((event, index): BookedEvent => ({
      ...event,
      id: `event ${index}`,
      position: BigInt(index + 1),
      state: event.state === null ? null : JSON.parse(event.state),
      createdAtMs: 0,
    })),
    endpoints: [],
    deliveries: [],
    attempts: [],
  }
}

function toKey({ accepted, operation }: StoredRequest): BookedKey {
  const target = operation.route === '/v1/transfers' ? '' : operation.target
  const route = operation.route.replace(':id', target)
  const { body } = operation
  return {
    tenantId,
    idempotencyKey: accepted.idempotencyKey,
    fingerprint: fingerprint({ method: 'POST', route, body }).toString('hex'),
    resource: 'transfer',
    resourceId: accepted.id,
  }
}

function toCommand({ id, command }: AcceptedCommand): BookedCommand {
  const { kind, source, destination, amount, currency, parentId } = command
  return {
    tenantId,
    id,
    command: {
      kind,
      ...(source === null ? {} : { source }),
      ...(destination === null ? {} : { destination }),
      ...(amount === null ? {} : { amount: Number(amount) }),
      ...(currency === null ? {} : { currency }),
      ...(parentId === null ? {} : { parent_id: parentId }),
    },
  }
}

function toTransfer(row: TransferRow, accepted: AcceptedCommand | undefined): BookedTransfer {
  const { id, idempotencyKey, kind, status, capturedAmount, refundedAmount, failureCode } = row
  const { command } = accepted ?? {}
  const [versions] = row.versions
  const carriedOut = status === 'failed' || status === 'canceled' ? undefined : row.legs[0]?.amount
  return {
    tenantId,
    id,
    idempotencyKey,
    kind,
    status,
    parentId: command?.parentId ?? null,
    source: command?.source ?? null,
    destination: command?.destination ?? null,
    amount: carriedOut ?? command?.amount ?? null,
    currency: command?.currency ?? null,
    legs: null,
    capturedAmount,
    refundedAmount,
    failureCode,
    sourceVersion: versions?.source ?? null,
    destinationVersion: versions?.destination ?? null,
  }
}

function toAccount(account: AccountState): BookedAccount {
  return { ...account, currency: 'EUR' }
}
