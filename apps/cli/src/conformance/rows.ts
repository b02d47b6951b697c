import { anotherRequest } from './rows/another-request.ts'
import { beyondHttp } from './rows/beyond-http.ts'
import { discovery } from './rows/discovery.ts'
import { firstAndRepeat } from './rows/first-and-repeat.ts'
import { issuedKeys } from './rows/issued-keys.ts'
import { keyForms } from './rows/key-forms.ts'
import { races } from './rows/races.ts'
import { refusals } from './rows/refusals.ts'
import { sameRequest } from './rows/same-request.ts'
import { scope } from './rows/scope.ts'
import type { Row } from './row.ts'

/** The whole table of what must hold for idempotent requests, in its order. */
export const rows: readonly Row[] = [
  ...anotherRequest,
  ...beyondHttp,
  ...discovery,
  ...firstAndRepeat,
  ...issuedKeys,
  ...keyForms,
  ...races,
  ...refusals,
  ...sameRequest,
  ...scope,
].toSorted((a, b) => numberOf(a) - numberOf(b))

function numberOf({ row }: Row): number {
  return Number(row.slice(1))
}
