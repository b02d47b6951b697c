import { KEY_CHARACTER, MAX_KEY_LENGTH } from '@payonce/core/idempotency/key'

/*
 * What a client has to know about idempotency keys: the one source of /docs/idempotency, of the
 * parameter and the text in /openapi.json, and of its `x-idempotency`. Text between backticks is
 * shown as code.
 */

const bareKey = `${KEY_CHARACTER}{1,${MAX_KEY_LENGTH}}`

/** The limits, for programs as well as for people. */
export const idempotencyLimits = {
  header: 'Idempotency-Key',
  query_parameter: 'idempotency_key',
  min_length: 1,
  max_length: MAX_KEY_LENGTH,
  /** The header's value: the bare key, or the key as a structured-field string. */
  pattern: `^(?:${bareKey}|"${bareKey}")$`,
  case_sensitive: true,
  scope: 'tenant',
  retention: 'for ever',
  replay_header: 'Idempotent-Replayed',
  status_header: 'Payonce-Status',
} as const

/** All of it in one paragraph. */
export const idempotencySummary = `The key is your name for one intent: 1 to ${MAX_KEY_LENGTH} visible ASCII characters without comma, backslash and double quote, bare or as a quoted structured-field string. Case matters. Scope: the tenant, over all endpoints and API keys. Retention: for ever. The same request under the same key gets the same answer, marked with \`Idempotent-Replayed: true\`; another request gets \`422 idempotency_key_reused\`.`

export type Section = { heading: string; points: readonly string[] }

export const idempotencySections: readonly Section[] = [
  {
    heading: 'The key',
    points: [
      'Send it as the header `Idempotency-Key`, or as the query parameter `idempotency_key` where headers cannot be set. Both with the same key are accepted, both with different keys are not.',
      `It has 1 to ${MAX_KEY_LENGTH} visible ASCII characters without comma, backslash and double quote. It is never cut: a longer one is refused.`,
      'A quoted structured-field string `"K"` is the same key as the bare `K`, with the quotation marks not counted. Case matters: `abc` and `ABC` are two keys.',
      'Every `POST` that makes a transfer or a batch requires a key: `POST /v1/transfers`, its `/capture`, `/release` and `/refund`, and `POST /v1/transfer-batches`. With `dry_run=true` they need none and use none up. `POST /v1/accounts` takes one. Canceling is safe to repeat by itself: it needs no key and uses none up, but refuses one that was used for another request. On `GET` a key is ignored.',
      'Make one key for each payment that you intend, store it with the payment, and send it with every try. A random UUID is a good key. Or let the server make one with `POST /v1/idempotency-keys`.',
    ],
  },
  {
    heading: 'Scope',
    points: [
      'A key belongs to one tenant, over all endpoints and all API keys of the tenant. Test and live mode are two tenants, so the same key in both is two keys.',
      'Another tenant that sends your key gets its own, independent result, and sees nothing of yours.',
    ],
  },
  {
    heading: 'Retention',
    points: [
      'A used key is remembered for ever, with the fingerprint of its request and the id of what it made. Repeating the request after years still moves no money a second time.',
      'The payload of a settled request may be pruned (after 90 days, unless the operator sets another time). Then a repetition is answered as before, byte for byte, but a mismatch is no longer told which members differ.',
      'Only a key that was made by the server and never used expires: 24 hours after it was issued.',
    ],
  },
  {
    heading: 'The same request again',
    points: [
      'It gets the first answer: the same status, the same body byte for byte, the same `Location`. The header `Idempotent-Replayed: true` marks it as a replay.',
      'For a transfer, `Payonce-Status` tells the present status, since the repeated body shows the transfer as it was accepted. `Date` and `request-id` are new.',
      'A twin that comes at the same time waits for the first to be stored, and is then answered as a replay. Only after two seconds it is told `409 idempotency_in_flight`, and to come back.',
      'A replay is answered also while new requests are turned away because too much is waiting.',
    ],
  },
  {
    heading: 'What makes a request the same',
    points: [
      'The method, the path, and the JSON of the body as it was sent, in the canonical form of RFC 8785. The order of members, white space, the spelling of numbers (`1000`, `1000.0`, `1e3`) and escapes in texts do not matter.',
      'A default that is spelled out, or `null` in place of a member left out, makes another request. So does another form of the same Unicode text.',
      'Query parameters, `Prefer`, `User-Agent` and all other headers do not count.',
      'Another request under the same key is answered with `422 idempotency_key_reused` at once, and nothing is done.',
    ],
  },
  {
    heading: 'Batches',
    points: [
      'A batch has a key, and so has each of its transfers. A transfer that is sent without an `idempotency_key` gets the key of the batch, a comma and its index: `payroll-2026-01,0`. No client can send such a key, since a comma is not allowed.',
      'A transfer with an `idempotency_key` of its own means the same as if it had been sent alone. Where the same request was accepted before, the batch has that transfer, marked with `replayed: true`; in a batch with `"atomic": true` this is `422`, since it could not be all or none.',
      'Where the key of one transfer belongs to another request, the whole batch is answered with `422 idempotency_key_reused` and nothing of it is accepted. `param` points to the key.',
    ],
  },
  {
    heading: 'What uses a key up',
    points: [
      'Acceptance (`202`, or `201` for an account) does. From then on the key is bound to what it made.',
      'So does a refusal by the ledger afterwards: a transfer that ends as `failed`, for example for insufficient funds, stays the answer of its key. To try the payment again later, send it under a new key.',
      'What is refused before acceptance does not: every `4xx` answer, and the `503` of `backlog_full` and `overloaded`, leave the key as it was. Correct the request, or wait, and use the same key.',
      'When no answer arrives, or another `5xx`, nobody can tell whether the request was stored. Send it again with the same key: it takes effect once.',
    ],
  },
]
