import { randomUUID } from 'node:crypto'

/** A request as it came, headers in their order. */
export type Request = {
  method: string
  path: string
  headers: readonly (readonly [name: string, value: string])[]
  body: string
}

export type Reply = { status: number; headers: ReadonlyMap<string, string>; body: string }

export type Forward = (request: Request) => Promise<Reply>

/** Answers a request, mostly by passing it on. */
type Answer = (request: Request, forward: Forward) => Promise<Reply>

export type Fault = {
  /** The rows of the conformance tool that have to fail on such a server: these, and no others. */
  fails: readonly string[]
  /** What the faulty server does, with whatever it remembers from one request to the next. */
  plant(): Answer
}

/** Rows in which a request is sent again and has to be recognised. */
const rowsWithReplays = 'I2 I3 I8 I12 I16 I20 I21 I22 I34 I35 I39 I42'.split(' ')

/**
 * Every mistake that a server might make with keys and that the tool has to notice; each named by
 * what the server does wrong.
 */
export const faults = {
  'drops the replay marker': {
    fails: rowsWithReplays,
    plant: () => onReply((reply) => withoutHeader(reply, 'idempotent-replayed')),
  },
  'answers a replay with changed bytes': {
    fails: rowsWithReplays,
    plant: () => onReplay((reply) => ({ ...reply, body: reply.body.replace('{', '{ ') })),
  },
  'loses Location on a replay': {
    fails: rowsWithReplays,
    plant: () => onReplay((reply) => withoutHeader(reply, 'location')),
  },
  'answers a replay with 200': {
    fails: rowsWithReplays,
    plant: () => onReplay((reply) => ({ ...reply, status: 200 })),
  },
  'loses Retry-After': {
    fails: ['I1', 'I2'],
    plant: () => onReply((reply) => withoutHeader(reply, 'retry-after')),
  },
  'loses Payonce-Status': {
    fails: ['I3', 'I34'],
    plant: () => onReply((reply) => withoutHeader(reply, 'payonce-status')),
  },
  'repeats the Date and request-id of the first answer': {
    fails: ['I12'],
    plant: repeatFirstHeaders,
  },
  'hides its headers from scripts': {
    fails: ['I12'],
    plant: () => onReply((reply) => withoutHeader(reply, 'access-control-expose-headers')),
  },
  'pays again on a replay': {
    fails: 'I2 I3 I8 I16 I20 I21 I22 I34 I35 I39 I42'.split(' '),
    plant: () => async (request, forward) => {
      const reply = await forward(request)
      if (isReplay(reply)) await forward(withKey(request, randomUUID()))
      return reply
    },
  },
  'tries a failed transfer again': {
    fails: ['I34'],
    plant: () => async (request, forward) => {
      const reply = await forward(request)
      const hasFailed = reply.headers.get('payonce-status') === 'failed'
      return hasFailed ? forward(withKey(request, randomUUID())) : reply
    },
  },
  'takes the same body for the same request': {
    fails: 'I6 I7 I9 I10 I15 I17 I18 I19 I32 I34 I37 I39 I40 I42'.split(' '),
    plant: knowRequestsByBody,
  },
  'lets a reused key with another body through': {
    fails: 'I9 I13 I14 I15 I17 I22 I42'.split(' '),
    plant: () => resendOn('idempotency_key_reused'),
  },
  'compares bodies letter by letter': {
    fails: ['I16'],
    plant: compareLetterByLetter,
  },
  'drops null members': {
    fails: ['I17'],
    plant: () => onBody((body) => body.replaceAll(/,"\w+":null/g, '')),
  },
  'normalises text': {
    fails: ['I17'],
    plant: () => onBody((body) => body.normalize('NFC')),
  },
  'parses JSON and writes it anew': {
    fails: ['I18', 'I19'],
    plant: () => onBody(writtenAnew),
  },
  'tells stored values in the 422': {
    fails: ['I14'],
    plant: tellStoredValues,
  },
  'answers a twin in flight with 409': {
    fails: ['I15', 'I21', 'I22'],
    plant: refuseTwins,
  },
  'takes a key of another tenant for its own': {
    fails: ['I7', 'I10'],
    plant: shareKeys,
  },
  'keeps keys for each credential': {
    fails: ['I8'],
    plant: () => keepKeysPer((request) => headerOf(request, 'authorization')),
  },
  'takes the User-Agent for a part of the request': {
    fails: ['I20'],
    plant: () => keepKeysPer((request) => headerOf(request, 'user-agent')),
  },
  'does not find a transfer by its key': {
    fails: ['I11'],
    plant: () => async (request, forward) => {
      const reply = await forward(request)
      const isSearch = request.path.startsWith('/v1/transfers?idempotency_key=')
      return isSearch && request.method === 'GET' ? { ...reply, body: emptyList } : reply
    },
  },
  'remembers refusals': {
    fails: 'I18 I19 I32 I33'.split(' '),
    plant: rememberRefusals,
  },
  'makes up a missing key': {
    fails: ['I36'],
    plant: () => async (request, forward) =>
      isTransfer(request) && keysOf(request).length === 0 && !request.path.includes('?')
        ? forward(withKey(request, randomUUID()))
        : forward(request),
  },
  'links to pages that are not there': {
    fails: ['I13', 'I36'],
    plant: () => async (request, forward) =>
      forward(request.path.startsWith('/problems/') ? { ...request, path: '/nowhere' } : request),
  },
  'cuts keys at 64 characters': {
    fails: ['I37'],
    plant: () => onKey((key) => key.slice(0, 64)),
  },
  'takes any text for a key': {
    fails: ['I37', 'I39'],
    plant: () => onKey((key) => key.replaceAll(/[^!#-+\--[\]-~]/g, '_')),
  },
  'takes the first of two keys': {
    fails: ['I38'],
    plant: () => async (request, forward) => {
      const [first, second] = keysOf(request)
      return forward(
        first === undefined || second === undefined ? request : withKey(request, first),
      )
    },
  },
  'tells quoted and bare keys apart': {
    fails: ['I39'],
    plant: () => onKey((key) => key.replace(/^"([^"\\,]+)"$/, '$1.quoted')),
  },
  'takes keys in lower case': {
    fails: ['I39'],
    plant: () => onKey((key) => key.toLowerCase()),
  },
  'does not look at the key in the query': {
    fails: ['I39'],
    plant: () => async (request, forward) => {
      const isOfPost = request.method === 'POST'
      return forward(isOfPost ? { ...request, path: request.path.replace(/\?.*/, '') } : request)
    },
  },
  'stops settling at a job named meta': {
    fails: ['I40', 'I41', 'I42', 'I43'],
    plant: stopAtMeta,
  },
  'keeps the keys of reads': {
    fails: ['I41'],
    plant: keepKeysOfReads,
  },
  'takes any key of the form of its own': {
    fails: ['I42'],
    plant: () => resendOn('idempotency_key_unknown'),
  },
  'tells every tenant about every key': {
    fails: ['I43'],
    plant: tellAboutKeys,
  },
  'says nothing of keys in its description': {
    fails: ['I44'],
    plant: () => async (request, forward) => {
      const reply = await forward(request)
      const isDescription = request.path === '/openapi.json'
      return isDescription ? { ...reply, body: withoutKeys(reply.body) } : reply
    },
  },
} as const satisfies Record<string, Fault>

export type FaultName = keyof typeof faults

function onReply(change: (reply: Reply) => Reply): Answer {
  return async (request, forward) => change(await forward(request))
}

function onReplay(change: (reply: Reply) => Reply): Answer {
  return onReply((reply) => (isReplay(reply) ? change(reply) : reply))
}

function onBody(change: (body: string) => string): Answer {
  return (request, forward) => forward({ ...request, body: change(request.body) })
}

function onKey(change: (key: string) => string): Answer {
  return (request, forward) =>
    forward({
      ...request,
      headers: request.headers.map(([name, value]) => [
        name,
        isKeyHeader(name) ? change(value) : value,
      ]),
    })
}

/** Whoever is refused with this code gets another key, which nobody has used. */
function resendOn(code: string): Answer {
  return async (request, forward) => {
    const reply = await forward(request)
    return codeOf(reply) === code ? forward(withKey(request, randomUUID())) : reply
  }
}

/** The key counts only together with something else: for another value it is another key. */
function keepKeysPer(part: (request: Request) => string): Answer {
  const firstParts = new Map<string, string>()
  return (request, forward) => {
    const [key] = keysOf(request)
    if (key === undefined || request.method !== 'POST') return forward(request)
    const first = firstParts.get(key) ?? part(request)
    firstParts.set(key, first)
    return forward(first === part(request) ? request : withKey(request, randomUUID()))
  }
}

function repeatFirstHeaders(): Answer {
  const firsts = new Map<string, Reply>()
  return async (request, forward) => {
    const reply = await forward(request)
    const key = nameOf(request)
    const first = firsts.get(key)
    if (first === undefined || !isReplay(reply)) {
      if (reply.status === 202) firsts.set(key, reply)
      return reply
    }
    const headers = new Map(reply.headers)
    for (const name of ['date', 'request-id']) headers.set(name, first.headers.get(name) ?? '')
    return { ...reply, headers }
  }
}

function knowRequestsByBody(): Answer {
  const firsts = new Map<string, { name: string; reply: Reply }>()
  return async (request, forward) => {
    const first = firsts.get(request.body)
    const name = nameOf(request)
    if (first !== undefined && first.name !== name) return marked(first.reply)
    const reply = await forward(request)
    if (isTransfer(request) && reply.status === 202) {
      firsts.set(request.body, first ?? { name, reply })
    }
    return reply
  }
}

function compareLetterByLetter(): Answer {
  const firsts = new Map<string, string>()
  return async (request, forward) => {
    const first = firsts.get(nameOf(request))
    if (isTransfer(request) && first !== undefined && first !== request.body) {
      return problem(422, 'idempotency_key_reused')
    }
    const reply = await forward(request)
    if (reply.status === 202 && isTransfer(request)) firsts.set(nameOf(request), request.body)
    return reply
  }
}

function tellStoredValues(): Answer {
  const stored = new Map<string, string>()
  return async (request, forward) => {
    const reply = await forward(request)
    if (reply.status === 202) stored.set(nameOf(request), request.body)
    if (codeOf(reply) !== 'idempotency_key_reused') return reply
    const told = JSON.stringify(`It was used for ${stored.get(nameOf(request))}.`)
    return { ...reply, body: reply.body.replace(/"detail":"[^"]*"/, () => `"detail":${told}`) }
  }
}

function refuseTwins(): Answer {
  const inFlight = new Set<string>()
  return async (request, forward) => {
    const name = nameOf(request)
    if (!isTransfer(request)) return forward(request)
    if (inFlight.has(name)) return problem(409, 'idempotency_in_flight')
    inFlight.add(name)
    try {
      return await forward(request)
    } finally {
      inFlight.delete(name)
    }
  }
}

function shareKeys(): Answer {
  const firsts = new Map<string, { credential: string; reply: Reply }>()
  return async (request, forward) => {
    const [key] = keysOf(request)
    const first = key === undefined ? undefined : firsts.get(key)
    const credential = headerOf(request, 'authorization')
    if (first !== undefined && first.credential !== credential) return marked(first.reply)
    const reply = await forward(request)
    if (key !== undefined && reply.status === 202) firsts.set(key, { credential, reply })
    return reply
  }
}

function rememberRefusals(): Answer {
  const refusals = new Map<string, Reply>()
  return async (request, forward) => {
    const name = nameOf(request)
    const remembered = refusals.get(name)
    if (!isTransfer(request) || keysOf(request).length === 0) return forward(request)
    if (remembered !== undefined) return remembered
    const reply = await forward(request)
    if (reply.status >= 400 && codeOf(reply) !== 'idempotency_key_reused') refusals.set(name, reply)
    return reply
  }
}

/** From then on nothing settles, as on a queue that gives the name a meaning of its own. */
function stopAtMeta(): Answer {
  let hasStopped = false
  const lost = new Set<string>()
  return async (request, forward) => {
    if (keysOf(request).includes('meta')) hasStopped = true
    const reply = await forward(request)
    const id = /"id":"(tr_\w+)"/.exec(reply.body)?.[1] ?? ''
    if (hasStopped && reply.status === 202) lost.add(id)
    if (request.method !== 'GET' || !lost.has(id)) return reply
    return { ...reply, body: reply.body.replaceAll('"succeeded"', '"queued"') }
  }
}

function keepKeysOfReads(): Answer {
  const kept = new Set<string>()
  return async (request, forward) => {
    const [key] = keysOf(request)
    if (key !== undefined && request.method === 'GET') kept.add(key)
    const isKept = key !== undefined && request.method === 'POST' && kept.has(key)
    return isKept ? problem(422, 'idempotency_key_reused') : forward(request)
  }
}

function tellAboutKeys(): Answer {
  const told = new Map<string, Reply>()
  return async (request, forward) => {
    const reply = await forward(request)
    if (!request.path.startsWith('/v1/idempotency-keys?')) return reply
    if (reply.status === 200) told.set(request.path, reply)
    return told.get(request.path) ?? reply
  }
}

const emptyList = '{"object":"list","data":[],"has_more":false,"next_cursor":null}'

function writtenAnew(body: string): string {
  try {
    return JSON.stringify(JSON.parse(body))
  } catch {
    return body
  }
}

function withoutKeys(description: string): string {
  return description.replaceAll(/idempotency-key/gi, 'X-Other')
}

function isTransfer({ method, path }: Request): boolean {
  return method === 'POST' && /^\/v1\/transfers(\?|$)/.test(path)
}

function isReplay({ headers }: Reply): boolean {
  return headers.has('idempotent-replayed')
}

function isKeyHeader(name: string): boolean {
  return name.toLowerCase() === 'idempotency-key'
}

function keysOf({ headers }: Request): string[] {
  return headers.filter(([name]) => isKeyHeader(name)).map(([, value]) => value)
}

function headerOf({ headers }: Request, wanted: string): string {
  return headers.find(([name]) => name.toLowerCase() === wanted)?.[1] ?? ''
}

/** Tells apart what a server tells apart: the credential and the key, be it in the query. */
function nameOf(request: Request): string {
  const inQuery = /[?&]idempotency_key=([^&]*)/.exec(request.path)?.[1] ?? ''
  const key = keysOf(request).join(', ') || decodeURIComponent(inQuery)
  return `${headerOf(request, 'authorization')} ${key}`
}

function withKey(request: Request, key: string): Request {
  const others = request.headers.filter(([name]) => !isKeyHeader(name))
  return { ...request, headers: [...others, ['idempotency-key', key]] }
}

function withoutHeader(reply: Reply, name: string): Reply {
  const headers = new Map(reply.headers)
  headers.delete(name)
  return { ...reply, headers }
}

function marked(reply: Reply): Reply {
  return { ...reply, headers: new Map([...reply.headers, ['idempotent-replayed', 'true']]) }
}

function codeOf({ body }: Reply): string | undefined {
  return /"code":"(\w+)"/.exec(body)?.[1]
}

function problem(status: number, code: string): Reply {
  const headers = new Map([['content-type', 'application/problem+json']])
  const type = `https://payonce.example/problems/${code}`
  return { status, headers, body: JSON.stringify({ type, status, code }) }
}
