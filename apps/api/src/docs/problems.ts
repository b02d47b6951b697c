import { Problem, renderProblem, type ProblemCode } from '../problem.ts'

/*
 * What stands on the page of each problem (`/problems/CODE`), for the person who got it. A new code
 * does not compile until its page is written. Text between backticks is shown as code.
 */

export type ProblemExplanation = {
  /** What happened. */
  what: string
  /** Why the API answers in this way. */
  why: string
  /** What to do next. */
  now: string
  retry: RetryAdvice
  /** What the answer is like; the members that every problem has are added. */
  example: { detail: string; param?: string; members?: Readonly<Record<string, unknown>> }
}

/** Whether to send the request again, and under which idempotency key. */
export const retryAdvice = {
  same: 'Yes. Send the same request with the same idempotency key, after the seconds in `Retry-After` or, where it is missing, at growing gaps. However often it arrives, it takes effect once.',
  corrected:
    'Not as it is: the same request gets the same answer. Correct it first. A request that is refused with this problem does not use its idempotency key up, so the same key may be used.',
  other_key:
    'Not with this key: the same request gets the same answer. It needs another idempotency key.',
  later:
    'Only when something has changed: until then the same request gets the same answer. No idempotency key is used up.',
  never: 'No. What stands in the way is final, and the same request gets the same answer for ever.',
} as const

export type RetryAdvice = keyof typeof retryAdvice

export const problemExplanations: Readonly<Record<ProblemCode, ProblemExplanation>> = {
  account_closed: {
    what: 'You wanted to change an account that is closed.',
    why: 'Closing an account is final, so that its history can be relied on.',
    now: 'Open another account with `POST /v1/accounts`. You can still read the closed one and its entries.',
    retry: 'never',
    example: { detail: 'Closing is final: open another account instead.' },
  },
  account_not_empty: {
    what: 'You wanted to close an account that still has a balance, or money that is held.',
    why: 'Money in a closed account could never be moved again.',
    now: 'Transfer its balance to another account and end its holds, then close it.',
    retry: 'later',
    example: { detail: 'Move its balance and end its holds first.', param: '/status' },
  },
  account_not_found: {
    what: 'The transfer names an account that does not exist. `param` points to the member that names it.',
    why: 'Account ids belong to one tenant: an account of another tenant, or of live mode while you use a test key, is answered exactly like one that never was.',
    now: 'Compare the id with the one that `POST /v1/accounts` returned, and check that you use the API key of the same tenant.',
    retry: 'corrected',
    example: { detail: 'There is no such account.', param: '/source' },
  },
  backlog_full: {
    what: 'So many accepted transfers wait to be settled that no new one is accepted for now. Nothing was stored.',
    why: 'It is better to say no at once than to accept what would be settled much later. Replays of requests that were accepted are still answered.',
    now: 'Wait for the seconds in `Retry-After`, then send the same request again. If this lasts, the operator of this server should start more workers or look at why they stand still.',
    retry: 'same',
    example: { detail: 'Send the same request, with the same key, again later.' },
  },
  body_too_large: {
    what: 'The body of the request is larger than is accepted here. The rest of it was not read and the connection was closed.',
    why: 'Every request has a limit, so that one client cannot use up the memory of the server.',
    now: 'Send a smaller body: fewer or shorter pairs of metadata, a shorter description, a batch in several parts. A batch may have 8 MB, every other body 64 KB.',
    retry: 'corrected',
    example: { detail: 'Send at most 65536 bytes.' },
  },
  callback_secret_missing: {
    what: 'The request names a `callback_url`, and you have no secret yet that such deliveries are signed with.',
    why: 'A delivery that is not signed could come from anybody.',
    now: 'Make the secret with `POST /v1/webhook-secret` and keep it, then send the request again.',
    retry: 'later',
    example: {
      detail: 'Make the secret that callbacks are signed with: POST /v1/webhook-secret.',
      param: '/callback_url',
    },
  },
  currency_mismatch: {
    what: 'The currency of the transfer is not the currency of the account that `param` names.',
    why: 'An account holds one currency for ever, and a transfer moves one currency. Nothing is converted on the way.',
    now: 'Send the currency of the accounts, or name accounts in the currency that you want to move.',
    retry: 'corrected',
    example: { detail: 'The account holds EUR.', param: '/source' },
  },
  duplicate_member: {
    what: 'One object in the JSON has the same member twice. `param` names it.',
    why: 'Programs do not agree on which of the two counts. For an amount, that would be two different payments in one request.',
    now: 'Send each member once. Libraries that build JSON from a map do so by themselves; text that is put together by hand may not.',
    retry: 'corrected',
    example: { detail: 'Name each member once.', param: '/amount' },
  },
  endpoint_deleted: {
    what: 'You wanted to send a delivery again whose endpoint is deleted.',
    why: 'Nothing is sent to an endpoint that was deleted; its deliveries stay in the log.',
    now: 'Set up an endpoint for this URL, and read what it missed with `GET /v1/events`.',
    retry: 'never',
    example: { detail: 'Nothing is sent to an endpoint that was deleted.' },
  },
  headers_too_large: {
    what: 'The first line of the request and its headers take more than 16 KB, or there are more than 100 headers. The connection was closed.',
    why: 'Every request has a limit, so that one client cannot use up the memory of the server. Headers that are too many are refused rather than left out: the idempotency key might be among them.',
    now: 'Send fewer or shorter headers. Often a cookie that has nothing to do with this API is the reason, or a proxy that adds its headers again and again.',
    retry: 'corrected',
    example: { detail: 'Send at most 100 headers.' },
  },
  hold_already_held: {
    what: 'You wanted to cancel a hold that reserves its amount already.',
    why: 'Canceling is for what has not been carried out. What a hold reserves is given back by a transfer of its own, so that there is a trace of it.',
    now: 'Give back what is left with `POST /v1/transfers/{id}/release`, under a key of its own.',
    retry: 'never',
    example: { detail: 'Release the hold instead.' },
  },
  idempotency_in_flight: {
    what: 'Another request with the same idempotency key was still being accepted when yours had waited for two seconds.',
    why: 'A request that comes at the same time as its twin waits for it, so that both get one answer. Here the twin took unusually long.',
    now: 'Send the same request again: it gets the answer of its twin.',
    retry: 'same',
    example: {
      detail: 'A request with this key is still being accepted: send the same request again.',
    },
  },
  idempotency_key_expired: {
    what: 'The idempotency key was made by this server and not used within its 24 hours.',
    why: 'A key that was asked for and forgotten should not start a payment long afterwards. A key that was used in time never expires.',
    now: 'Ask for a new one with `POST /v1/idempotency-keys`, or use a key of your own making, which never expires.',
    retry: 'other_key',
    example: { detail: 'Ask for a new key and use it within 24 hours.' },
  },
  idempotency_key_invalid: {
    what: 'The idempotency key is empty, too long, or has characters that cannot be used; or it was sent twice; or header and query parameter name different keys.',
    why: 'Two keys must never be taken for one, nor one for two. So a key is refused rather than shortened or cleaned.',
    now: 'Send one key of 1 to 255 visible ASCII characters without comma, backslash and double quote. A random UUID is a good key.',
    retry: 'other_key',
    example: {
      detail:
        'The header Idempotency-Key cannot be used. Use 1 to 255 visible ASCII characters without comma, backslash or double quote.',
    },
  },
  idempotency_key_missing: {
    what: 'The request would move money and has no idempotency key.',
    why: 'When a connection breaks, nobody can tell whether a request arrived. The key makes it safe to send it again: one key, one effect.',
    now: 'Make a key for each payment that you intend, store it with the payment, and send it as the header `Idempotency-Key` with every try.',
    retry: 'corrected',
    example: {
      detail: 'Send an Idempotency-Key header, so that this request can be repeated safely.',
    },
  },
  idempotency_key_purpose: {
    what: 'The idempotency key was made by this server for another route.',
    why: 'Whoever asked for the key said what it is for, so that it cannot be used for something else by mistake.',
    now: 'Use it where it belongs: `GET /v1/idempotency-keys?key=…` tells its purpose. Here, use a key for this route.',
    retry: 'other_key',
    example: { detail: 'This key was issued for POST /v1/accounts.' },
  },
  idempotency_key_reused: {
    what: 'The idempotency key was already used for a request that is not this one. Your request was not carried out; what the first one did is untouched.',
    why: 'A key stands for one intent, for ever. If another request under it were carried out, or answered with the result of the first, you would believe something that is not so.',
    now: 'The answer names what the key made and, while they are kept, the members that differ. If you meant to repeat the first request, send it exactly as it was. If you mean a new payment, use a new key, but first make sure that the old one did not pay already.',
    retry: 'other_key',
    example: {
      detail: 'This key was used for another request. Use a new key for a new intent.',
      param: '/amount',
      members: {
        transfer: 'tr_0190f0e000007000800000000000a001',
        differing_members: ['/amount'],
      },
    },
  },
  idempotency_key_unknown: {
    what: 'The idempotency key begins with `key_`, as keys made by this server do, but was never given to you.',
    why: 'Keys of this form are reserved, so that each of them is known to come from here. A mistyped one is told at once instead of starting a second payment.',
    now: 'Ask for a key with `POST /v1/idempotency-keys`, or make one that does not begin with `key_`.',
    retry: 'other_key',
    example: {
      detail:
        'Ask for a key at POST /v1/idempotency-keys, or make one that does not begin with key_.',
    },
  },
  incomplete_body: {
    what: 'The connection ended before the body of the request had arrived. You will hardly ever see this answer, but it stands in the logs of the server.',
    why: 'Half a request is no request: nothing of it was used.',
    now: 'Send the whole request again.',
    retry: 'same',
    example: { detail: 'Send the whole body.' },
  },
  insufficient_scope: {
    what: 'Your API key is valid, but may not do this: a key with the scope `read` alone cannot write, and the other way round.',
    why: 'A key should be able to do only what its program needs.',
    now: 'Use a key that has the scope. The operator of this server makes one with `npm run keys -- create`.',
    retry: 'corrected',
    example: { detail: 'Use an API key with the scope write.' },
  },
  internal_error: {
    what: 'Something failed on our side, which should not happen. It was logged under the `request_id`.',
    why: 'Nobody can tell from the outside whether the request was accepted before it failed. Its idempotency key can.',
    now: 'Send the same request with the same key again: what was accepted is replayed, what was not is accepted now. If it keeps failing, tell the operator of this server the `request_id`.',
    retry: 'same',
    example: {
      detail:
        'Something failed on our side. Sending the same request with the same key again is safe.',
    },
  },
  invalid_amount: {
    what: 'An amount or limit is no whole number of minor units within the limits. `param` names it.',
    why: 'Money is counted in whole cents (or the smallest unit of the currency). A fraction, or a number that is too large to be exact, would be rounded somewhere.',
    now: 'Send a JSON number such as `1250` for 12.50 EUR: from 1 to 9007199254740991 for an amount, from 0 for a limit. No text, no fraction.',
    retry: 'corrected',
    example: {
      detail: 'Send a whole number of minor units, from 1 to 9007199254740991.',
      param: '/amount',
    },
  },
  invalid_body: {
    what: 'The body is valid JSON, but cannot be used: it is no object, or nested too deeply.',
    why: 'Every request has one JSON object as its body, with at most 32 levels.',
    now: 'Send a JSON object such as `{"currency": "EUR"}`.',
    retry: 'corrected',
    example: { detail: 'Send a JSON object.' },
  },
  invalid_currency: {
    what: 'The currency is no code of ISO 4217 in which money can be held.',
    why: 'The code decides how many digits a minor unit has, so it has to be a known one. It is written in upper case.',
    now: 'Send a code such as `EUR`, `USD` or `JPY`.',
    retry: 'corrected',
    example: { detail: 'Send an ISO 4217 code such as EUR.', param: '/currency' },
  },
  invalid_cursor: {
    what: 'The cursor was not made for this list.',
    why: 'A cursor is a place in one list with its filters. In another list it means nothing.',
    now: 'Send `next_cursor` exactly as the last page of the same list gave it, or leave the cursor out to begin with the first page.',
    retry: 'corrected',
    example: { detail: 'Send a cursor as next_cursor gave it, to the same list.' },
  },
  invalid_field: {
    what: 'A member of the body has a value that cannot be used. `param` names it, `detail` says what is expected.',
    why: 'What cannot be understood is refused at once, before anything is stored.',
    now: 'Correct the member that `param` names. What each one may hold stands in the API reference at `/docs`.',
    retry: 'corrected',
    example: { detail: 'At most 500 characters are allowed.', param: '/description' },
  },
  invalid_id: {
    what: 'A member should hold an id and holds something that cannot be one. `param` names it.',
    why: 'Ids begin with what they name (`acc_` for an account, `tr_` for a transfer), so that one cannot be taken for another.',
    now: 'Send the id exactly as the API returned it.',
    retry: 'corrected',
    example: {
      detail: 'Send an id such as acc_0190f0e0000070008000000000000000.',
      param: '/source',
    },
  },
  invalid_json: {
    what: 'The body is not valid JSON in UTF-8.',
    why: 'JSON is read by the letter of its standard (RFC 8259): no comments, no single quotes, no comma at the end, no `NaN`, nothing after the end, no byte order mark.',
    now: 'Let a JSON library write the body. `detail` says where reading it stopped.',
    retry: 'corrected',
    example: {
      detail:
        "The body is not valid JSON: Expected ',' or '}' after property value in JSON at position 42.",
    },
  },
  invalid_parameter: {
    what: 'A query parameter or a header is unknown here, was given twice, or has a value that cannot be used. `detail` names it.',
    why: 'A misspelt filter that is ignored would show more than was asked for.',
    now: 'Correct it. The parameters of each route stand in the API reference at `/docs`.',
    retry: 'corrected',
    example: {
      detail: 'The query parameter limit cannot be used: expected a number from 1 to 100.',
    },
  },
  invalid_text: {
    what: 'A text has characters that are not accepted. `param` names it.',
    why: 'Control characters, marks that reverse the direction of text, and halves of characters can disguise what a person reads, break logs, or cannot be stored.',
    now: 'Remove them. Line breaks and tabs are accepted.',
    retry: 'corrected',
    example: {
      detail: 'Control characters, bidirectional overrides and lone surrogates are not allowed.',
      param: '/description',
    },
  },
  malformed_request: {
    what: 'What arrived is no request of HTTP/1.1: the first line, a header or the framing of the body is against the standard. The connection was closed.',
    why: 'A request that a proxy and this server read differently can be used to slip another one through. So nothing is guessed and nothing is repaired.',
    now: 'Use an HTTP library rather than text that is put together by hand, and look at the proxies on the way: exactly one `Host`, and either one `Content-Length` or `Transfer-Encoding: chunked`.',
    retry: 'corrected',
    example: { detail: 'This is no request of HTTP/1.1.' },
  },
  method_not_allowed: {
    what: 'This path exists, but not with this HTTP method.',
    why: 'The header `Allow` of the answer lists the methods that it has. `X-HTTP-Method-Override` is ignored.',
    now: 'Use one of them.',
    retry: 'corrected',
    example: { detail: 'Use GET, HEAD, POST.' },
  },
  not_capturable: {
    what: 'You wanted to capture something that is no hold.',
    why: 'A capture moves what a hold has reserved. What a transfer is never changes, so this is known before anything is accepted.',
    now: 'Name the hold: the transfer that was sent with `"hold": true`. Its captures, and plain transfers, have moved their money already.',
    retry: 'corrected',
    example: { detail: 'This is a transfer: only a hold can be captured.' },
  },
  not_found: {
    what: 'There is no such route, or what the path names does not exist for you.',
    why: 'What belongs to another tenant is answered exactly like what never was, so that an answer tells nothing about others.',
    now: 'Compare the path and the id with what the API returned, and check that you use the API key of the same tenant and mode.',
    retry: 'corrected',
    example: { detail: 'There is no such transfer.' },
  },
  not_refundable: {
    what: 'You wanted to refund a hold, a release or a refund.',
    why: 'Only `transfer` and `capture` move money towards somebody who can send it back. What a transfer is never changes, so this is known before anything is accepted.',
    now: 'Refund the capture instead of its hold. To give back what a hold still reserves, release it. To undo a refund, send a new transfer.',
    retry: 'corrected',
    example: { detail: 'This is a hold: refund a transfer or capture.' },
  },
  not_releasable: {
    what: 'You wanted to release something that is no hold.',
    why: 'A release gives back what a hold still reserves. What a transfer is never changes, so this is known before anything is accepted.',
    now: 'Name the hold: the transfer that was sent with `"hold": true`. If money has moved already, refund that transfer or capture.',
    retry: 'corrected',
    example: { detail: 'This is a capture: only a hold can be released.' },
  },
  overdraft_in_use: {
    what: 'The new overdraft limit is lower than what the account has overdrawn already.',
    why: 'An account may never be further below zero than its limit, not for a moment.',
    now: 'Pay money in first, or send a limit that covers what is in use.',
    retry: 'later',
    example: { detail: 'Send a limit that covers what is in use.', param: '/overdraft_limit' },
  },
  overloaded: {
    what: 'This process has more requests in hand than it can take. Nothing was stored.',
    why: 'It is better to say so at once than to let every client wait.',
    now: 'Wait for the seconds in `Retry-After`, then send the same request again.',
    retry: 'same',
    example: { detail: 'Too much is in progress: send the same request again later.' },
  },
  part_of_atomic_batch: {
    what: 'You wanted to cancel one transfer of a batch that was sent with `"atomic": true`.',
    why: 'Such a batch is carried out all or none. Without one of its transfers it would be another batch than the one that was accepted.',
    now: 'Let the batch settle, and refund the transfer afterwards. A batch is carried out as soon as its `execute_at` has come, and not any more after its `expires_at`.',
    retry: 'never',
    example: { detail: 'Its batch is settled all or none.' },
  },
  partial_refund: {
    what: 'You wanted to refund a part of a transfer that has several legs.',
    why: 'Several legs have several amounts, even several currencies: one amount does not say what of each should go back.',
    now: 'Leave `amount` out to refund the whole of it, or send a new transfer with what should go back.',
    retry: 'corrected',
    example: { detail: 'Leave the amount out.', param: '/amount' },
  },
  reference_taken: {
    what: 'Another account of yours has this reference already.',
    why: 'A reference is your own name for an account, and one name is for one account.',
    now: 'If you wanted that account, find it with `GET /v1/accounts?reference=…`. If you wanted a further one, send another reference.',
    retry: 'corrected',
    example: { detail: 'Another account has this reference.', param: '/reference' },
  },
  request_timeout: {
    what: 'The request did not arrive within 9 seconds of its beginning. The connection was closed.',
    why: 'A client that sends slowly, or stops in the middle, would otherwise hold a connection that others need.',
    now: 'Send the request again in one go. If this lasts, the network on the way loses packets.',
    retry: 'same',
    example: { detail: 'Send a request within 9 s.' },
  },
  same_account: {
    what: 'Source and destination of the transfer, or of one of its legs, are the same account.',
    why: 'Such a transfer would move nothing, and is most often a mistake.',
    now: 'Name two different accounts.',
    retry: 'corrected',
    example: { detail: 'Name two different accounts.', param: '/destination' },
  },
  service_unavailable: {
    what: 'The database was away while your request came. Whether something was stored may be unknown.',
    why: 'A request is answered with `202` only when it is stored durably. When that cannot be confirmed, this answer says so.',
    now: 'Send the same request with the same key again until it is answered: if it was stored after all, you get its first answer.',
    retry: 'same',
    example: {
      detail: 'The database is away for a moment: send the same request, with the same key, again.',
    },
  },
  too_many_endpoints: {
    what: 'You have as many webhook endpoints as are allowed.',
    why: 'Each event is sent to each of them.',
    now: 'Delete one that you do not need with `DELETE /v1/webhook-endpoints/{id}`, or send more types of events to one that you have.',
    retry: 'later',
    example: { detail: 'Delete one first: 50 are allowed.' },
  },
  transfer_already_settled: {
    what: 'You wanted to cancel a transfer that was settled before.',
    why: 'A settled transfer never changes. Cancel and settlement exclude each other: exactly one of them wins.',
    now: 'Read the transfer to see how it ended. If the money should go back, send it with `POST /v1/transfers/{id}/refund`.',
    retry: 'never',
    example: { detail: 'The transfer is settled already: succeeded.' },
  },
  unauthorized: {
    what: 'The request has no API key, or one that is not valid: mistyped, unknown, expired or revoked.',
    why: 'All of these get the same answer, so that it tells nobody which keys exist.',
    now: 'Send the key as `Authorization: Bearer po_test_…` or `po_live_…`, in one header. The operator of this server makes keys with `npm run keys -- create`.',
    retry: 'corrected',
    example: { detail: 'Send a valid API key as Authorization: Bearer po_….' },
  },
  unknown_field: {
    what: 'The body has a member that is unknown here. `param` names it.',
    why: 'A member that is ignored is a mistake that nobody notices: a misspelt option would silently have no effect. What the server decides (`id`, `status`, `created_at`) cannot be sent either.',
    now: 'Leave it out, or correct its name.',
    retry: 'corrected',
    example: { detail: 'This member is unknown here: leave it out.', param: '/ammount' },
  },
  url_not_allowed: {
    what: 'The URL is none that events can be sent to. `detail` says why, `param` points to it.',
    why: 'We send only over https, to hosts that the whole world can reach: else a URL could make us knock at doors inside a private network.',
    now: 'Send an https URL on port 443 or 8443 of a public host, without a user name. For development, the operator of this server can allow networks by name.',
    retry: 'corrected',
    example: { detail: 'Send another URL: it is not https.', param: '/url' },
  },
  unsupported_media_type: {
    what: 'The body was not sent as JSON in UTF-8, or was compressed.',
    why: 'What a body means is decided by its content type, and never guessed.',
    now: 'Send `Content-Type: application/json` and no `Content-Encoding`.',
    retry: 'corrected',
    example: { detail: 'Send the body as Content-Type: application/json.' },
  },
}

/** The example of a problem as it stands on the wire: rendered by what renders the real ones. */
export function problemExample(code: ProblemCode, publicUrl: string): Record<string, unknown> {
  const { detail, ...options } = problemExplanations[code].example
  const requestId = 'req_0190f0e000007000800000000000f001'
  return JSON.parse(
    renderProblem(new Problem(code, detail, options), requestId, publicUrl),
  ) as Record<string, unknown>
}
