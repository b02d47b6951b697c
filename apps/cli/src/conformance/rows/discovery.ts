import { Deviation, expectStatus, expectThat } from '../deviation.ts'
import { isObject, type Answer, type Client } from '../client.ts'
import type { Row } from '../row.ts'

/** Where a client can read what the server makes of keys. */
export const discovery: readonly Row[] = [
  {
    row: 'I44',
    situation: 'discovery',
    expectation:
      'length, characters, scope, retention and the replay header are in /openapi.json and at one documented URL',
    run: async ({ client }) => {
      const answer = await client.send({ method: 'GET', path: '/openapi.json', isAnonymous: true })
      expectStatus('GET /openapi.json', answer, 200)
      const operation = objectAt(answer, ['paths', '/v1/transfers', 'post'])
      const parameter = keyParameterOf(answer, operation)
      expectKeySchema(resolve(answer, parameter['schema']))
      const accepted = objectAt(answer, ['paths', '/v1/transfers', 'post', 'responses', '202'])
      const headers = Object.keys(resolve(answer, accepted['headers'])).map(lowerCase)
      expectThat(headers.includes('idempotent-replayed'), 'no Idempotent-Replayed in the 202')
      const description = String(parameter['description'])
      expectMentions('the description of the key', description, ['255', 'tenant', /for ?ever/i])
      await expectDocumented(client, documentedPath(answer, description))
    },
  },
]

function keyParameterOf(answer: Answer, operation: Members): Members {
  const { parameters } = operation
  const found = (Array.isArray(parameters) ? parameters : [])
    .map((parameter) => resolve(answer, parameter))
    .find(({ name, in: place }) => /^idempotency-key$/i.test(String(name)) && place === 'header')
  if (found === undefined) throw new Deviation('no header Idempotency-Key in POST /v1/transfers')
  return found
}

type Members = Readonly<Record<string, unknown>>

function objectAt(answer: Answer, path: readonly string[]): Members {
  let value: Members = answer.members
  for (const name of path) value = resolve(answer, value[name])
  expectThat(Object.keys(value).length > 0, `/openapi.json has nothing at ${path.join(' ')}`)
  return value
}

/** Follows a `$ref` within the document; whatever is no object is taken for an empty one. */
function resolve(answer: Answer, value: unknown): Members {
  if (!isObject(value)) return {}
  const reference = value['$ref']
  if (typeof reference !== 'string') return value
  const path = reference.replace(/^#\//, '').split('/')
  return objectAt(answer, path)
}

/** What the schema of the header lets through, quoted or bare, and what it keeps out. */
function expectKeySchema({ minLength, maxLength, pattern }: Members): void {
  expectThat(typeof pattern === 'string', 'no pattern of the key')
  const form = new RegExp(pattern, 'u')
  const allows = (key: string) =>
    form.test(key) && key.length >= Number(minLength) && key.length <= Number(maxLength)
  const longest = 'x'.repeat(255)
  for (const key of ['x', '!', '~', longest, `"${longest}"`]) {
    expectThat(allows(key), `the schema of the key refuses ${key.slice(0, 10)}`)
  }
  for (const key of ['', `${longest}x`, 'a b', 'a\tb', 'a,b', 'a"b', String.raw`a\b`, '\u00e9']) {
    expectThat(
      !allows(key),
      `the schema of the key lets ${JSON.stringify(key.slice(0, 10))} through`,
    )
  }
}

/** The page about keys: named by the description of the header, else by the whole document. */
function documentedPath(answer: Answer, description: string): string {
  const path = /\/docs\/[\w/-]+/.exec(description)?.[0]
  if (path !== undefined) return path
  const { url } = resolve(answer, answer.members['externalDocs'])
  expectThat(typeof url === 'string' && URL.canParse(url), 'no URL of a page about keys')
  return new URL(url).pathname
}

async function expectDocumented(client: Client, path: string): Promise<void> {
  const page = await client.send({ method: 'GET', path, isAnonymous: true })
  expectStatus(`GET ${path}`, page, 200)
  expectMentions(path, page.text, ['255', 'tenant', /for ?ever/i, 'Idempotent-Replayed'])
}

function expectMentions(where: string, text: string, words: readonly (string | RegExp)[]): void {
  const missing = words.filter((word) =>
    typeof word === 'string' ? !text.includes(word) : !word.test(text),
  )
  expectThat(missing.length === 0, `${where} does not mention ${missing.join(', ')}`)
}

function lowerCase(name: string): string {
  return name.toLowerCase()
}
