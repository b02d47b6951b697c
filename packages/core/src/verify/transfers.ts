import { firstUuid, readPages } from './pages.ts'
import { isJudged, type Check } from './check.ts'

type TransferRow = {
  tenant_id: string
  id: string
  idempotency_key: string
  kind: string
  status: string
  failure_code: string | null
  settlement_id: string
  settled_at: Date
  amount: bigint | null
  captured_amount: bigint
  refunded_amount: bigint
  resource: string | null
  resource_id: string | null
  captured: bigint
  refunded: bigint
  releases: number
  released: bigint | null
  is_child: boolean
  has_its_parent: boolean
}

/** 2,000: each row looks for its key, its parent and its children. */
const transfersPerPage = 2_000

/** What a child moves: of several legs, which are refunded as a whole, all of them. */
const movedByChild = `coalesce(children.amount, (
  SELECT sum(leg.amount)::bigint FROM jsonb_to_recordset(children.legs) AS leg (amount bigint)), 0)`

/**
 * Each settled transfer against its key, its parent and its children, and which settlement it says
 * it belongs to. What changes later (holds, sums of children) is compared within one statement.
 */
export async function checkTransfers(check: Check): Promise<void> {
  const { read, findings, slices, onProgress } = check
  const pages = readPages<TransferRow>(transfersPerPage, (after, limit) =>
    read(
      `SELECT transfers.tenant_id, transfers.id, transfers.idempotency_key, transfers.kind,
              transfers.status, transfers.failure_code, transfers.settlement_id,
              transfers.settled_at, transfers.amount, transfers.captured_amount,
              transfers.refunded_amount, keys.resource, keys.resource_id,
              coalesce(moved.captured, 0)::bigint AS captured,
              coalesce(moved.refunded, 0)::bigint AS refunded,
              coalesce(moved.releases, 0)::int AS releases, moved.released::bigint AS released,
              transfers.parent_id IS NOT NULL AND transfers.status = 'succeeded' AS is_child,
              CASE WHEN parents.id IS NULL THEN false
                   WHEN transfers.kind = 'refund' THEN
                     parents.kind IN ('transfer', 'capture') AND parents.status = 'succeeded'
                     AND parents.source IS NOT DISTINCT FROM transfers.destination
                     AND parents.destination IS NOT DISTINCT FROM transfers.source
                   ELSE parents.kind = 'hold' AND parents.source = transfers.source
                        AND parents.destination = transfers.destination END AS has_its_parent
         FROM (SELECT * FROM transfers WHERE (tenant_id, id) > ($1::uuid, $2::uuid)
                ORDER BY tenant_id, id LIMIT $3) AS transfers
         LEFT JOIN idempotency_keys AS keys ON keys.tenant_id = transfers.tenant_id
                                           AND keys.idempotency_key = transfers.idempotency_key
         LEFT JOIN transfers AS parents ON parents.tenant_id = transfers.tenant_id
                                       AND parents.id = transfers.parent_id
         LEFT JOIN LATERAL (
           SELECT sum(children.amount) FILTER (WHERE children.kind = 'capture') AS captured,
                  sum(${movedByChild}) FILTER (WHERE children.kind = 'refund') AS refunded,
                  count(*) FILTER (WHERE children.kind = 'release') AS releases,
                  sum(children.amount) FILTER (WHERE children.kind = 'release') AS released
             FROM transfers AS children
            WHERE children.tenant_id = transfers.tenant_id AND children.parent_id = transfers.id
              AND children.status = 'succeeded') AS moved ON true
        ORDER BY transfers.tenant_id, transfers.id`,
      [after?.tenant_id ?? firstUuid, after?.id ?? firstUuid, limit],
    ),
  )
  for await (const rows of pages) {
    const settled = rows.filter((transfer) =>
      isJudged(check, transfer.settled_at, { rule: 'statuses_are_consistent', ...rowOf(transfer) }),
    )
    for (const transfer of settled) {
      checkKey(findings, transfer)
      checkFamily(findings, transfer)
      checkStatus(findings, transfer)
      slices.append('transfers', transfer.settled_at, [
        transfer.tenant_id,
        transfer.id,
        transfer.settlement_id,
      ])
    }
    for (const rule of [
      'transfers_match_keys',
      'parents_match_children',
      'statuses_are_consistent',
    ] as const) {
      findings.checked(rule, settled.length)
    }
    onProgress(settled.length)
  }
}

function rowOf({ tenant_id, id }: TransferRow) {
  return { table: 'transfers', ids: { tenant_id, id } }
}

function checkKey(findings: Check['findings'], transfer: TransferRow): void {
  const { idempotency_key, resource, resource_id } = transfer
  if (resource === 'transfer' && resource_id === transfer.id) return
  findings.fault('transfers_match_keys', {
    table: 'idempotency_keys',
    ids: { tenant_id: transfer.tenant_id, idempotency_key },
    expected: `transfer ${transfer.id}`,
    found: resource === null ? 'no row' : `${resource} ${resource_id}`,
  })
}

function checkFamily(findings: Check['findings'], transfer: TransferRow): void {
  const row = rowOf(transfer)
  const { status, amount, captured, captured_amount, refunded, refunded_amount } = transfer
  const isReleased = status === 'released'
  const comparisons = [
    ['captured_amount', captured, captured_amount],
    ['refunded_amount', refunded, refunded_amount],
    ['releases', isReleased ? 1 : 0, transfer.releases],
    [
      'released',
      isReleased ? (amount ?? 0n) - captured : null,
      isReleased ? transfer.released : null,
    ],
    ['a fitting parent', true, !transfer.is_child || transfer.has_its_parent],
  ] as const
  for (const [what, expected, found] of comparisons) {
    findings.compare('parents_match_children', row, { what, expected, found })
  }
}

const statusesOf: Readonly<Record<string, readonly string[]>> = {
  hold: ['held', 'succeeded', 'released', 'expired', 'failed', 'canceled'],
  transfer: ['succeeded', 'failed', 'canceled', 'expired'],
  capture: ['succeeded', 'failed', 'canceled', 'expired'],
  release: ['succeeded', 'failed', 'canceled', 'expired'],
  refund: ['succeeded', 'failed', 'canceled', 'expired'],
}

function checkStatus(findings: Check['findings'], transfer: TransferRow): void {
  const { kind, status, amount, captured_amount, failure_code } = transfer
  const fault = (expected: string, found: string) =>
    findings.fault('statuses_are_consistent', { ...rowOf(transfer), expected, found })
  if (statusesOf[kind]?.includes(status) !== true) fault(`a status of a ${kind}`, status)
  if ((status === 'failed') !== (failure_code !== null)) {
    fault(
      `${status}${status === 'failed' ? ' with' : ' without'} a failure code`,
      failure_code ?? 'none',
    )
  }
  if (kind !== 'hold') return
  if (status === 'held' && captured_amount === amount) fault('held with a remainder', 'none')
  if (status === 'succeeded' && captured_amount === 0n) fault('captured_amount above 0', '0')
}
