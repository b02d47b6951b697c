import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../apps/cli/src/conformance/rows.ts'
import { assertBooksHold } from '../support/books.ts'
import {
  createConformanceKeys,
  runConformanceRow,
  type ConformanceKeys,
} from '../support/conformance.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'

/*
 * Table I, as far as HTTP shows it: the very rows that `npm run conformance` runs against any
 * server. What takes more than HTTP is in idempotency-store.test.ts and in test/system.
 */

let payonce: Payonce
let keys: ConformanceKeys
let secondUrl: string

beforeAll(async () => {
  payonce = await startPayonce()
  keys = await createConformanceKeys(payonce)
  secondUrl = (await payonce.startApi()).url
})

afterAll(async () => {
  await payonce.untilAllSettled()
  await assertBooksHold(payonce.db)
})

describe('table I over HTTP', () => {
  for (const row of rows) {
    if ('beyondHttp' in row) continue
    it(`${row.row}: ${row.situation}`, async () => {
      const result = await runConformanceRow(row, { keys, url: payonce.api.url, secondUrl })
      expect(result.seen).toBeUndefined()
      expect(result.result).toBe('ok')
    })
  }
})
