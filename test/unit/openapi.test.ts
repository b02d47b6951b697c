import type { z } from 'zod'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseIdempotencyKey } from '@payonce/core/idempotency/key'
import { decodeId, encodeId, idPrefixes, type IdKind } from '@payonce/core/ids'
import { problemExplanations } from '@payonce/api/docs/problems'
import { answers } from '@payonce/api/openapi/answers'
import { createDocument, toOpenApiPath } from '@payonce/api/openapi/document'
import { answerExamples, bodyExamples } from '@payonce/api/openapi/examples'
import { problemsBeforeOperations, problemsOf } from '@payonce/api/openapi/operation'
import { operations } from '@payonce/api/openapi/operations'
import { bodies, type BodyName } from '@payonce/api/openapi/requests'
import { problems, type ProblemCode, type ProblemKind } from '@payonce/api/problem'
import { idPattern, transferQuery } from '@payonce/api/schemas'
import { createAppWithoutStores } from '../support/app-without-stores.ts'
import { requireDescribed, type AnsweredRequest } from '../support/contract.ts'

const publicUrl = 'https://payonce.example'
const document = createDocument({ publicUrl })
const problemCodes = Object.keys(problems) as ProblemCode[]

describe('the operations', () => {
  const described = operations.map(({ method, path }) => `${method} ${toOpenApiPath(path)}`)

  it('are the routes that the app serves, all of them and no other', () => {
    const served = new Set(
      createAppWithoutStores()
        .routes.filter(({ method }) => method !== 'ALL')
        .map(({ method, path }) => `${method.toLowerCase()} ${toOpenApiPath(path)}`),
    )
    expect([...described].toSorted()).toEqual([...served].toSorted())
  })

  it('stand in the document, each under its own id', () => {
    const inDocument = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    )
    expect(inDocument.toSorted()).toEqual(described.toSorted())
    const ids = operations.map(({ operationId }) => operationId)
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('of /v1 all tell what is answered to a bad key, a missing scope and an outage', () => {
    for (const operation of operations.filter(({ path }) => path.startsWith('/v1/'))) {
      const responses = document.paths[toOpenApiPath(operation.path)]?.[operation.method]?.responses
      expect(Object.keys(responses ?? {}), operation.operationId).toEqual(
        expect.arrayContaining(['400', '401', '403', '500', '503']),
      )
    }
  })
})

describe('the problems', () => {
  it('are all described: by an operation, or as what comes before any', () => {
    const ofOperations = operations.flatMap(problemsOf)
    expect(new Set([...ofOperations, ...problemsBeforeOperations])).toEqual(new Set(problemCodes))
  })

  it('stand in the document with their status, whether to retry, and a page', () => {
    for (const code of problemCodes) {
      const kind: ProblemKind = problems[code]
      expect(document['x-problems'][code]).toMatchObject({
        status: kind.status,
        retryable: kind.retryable === true,
        page: `${publicUrl}/problems/${code}`,
      })
    }
  })

  it('advise to send the same request again exactly where `retryable` says so', () => {
    for (const code of problemCodes) {
      const kind: ProblemKind = problems[code]
      expect(problemExplanations[code].retry === 'same', code).toBe(kind.retryable === true)
    }
  })
})

describe('the examples', () => {
  it.each(Object.keys(bodies) as BodyName[])('of the body %s is accepted', (name) => {
    expect(() => bodies[name].schema.parse(bodyExamples[name])).not.toThrow()
  })

  it.each(Object.entries(answerExamples))('of the answer %s fits its schema', (name, example) => {
    const schema: z.ZodType = answers[name as keyof typeof answerExamples]
    expect(schema.parse(example)).toEqual(example)
  })

  it('of the problems are problems', () => {
    for (const [code, { value }] of Object.entries(document.components.examples)) {
      expect(answers.Problem.parse(value).code).toBe(code)
    }
  })
})

describe('what code checks is told in words of JSON Schema:', () => {
  it('a key matches the pattern exactly when it can be used', () => {
    const pattern = new RegExp(document['x-idempotency'].pattern, 'u')
    const character = fc.integer({ min: 0x1f, max: 0x80 }).map((code) => String.fromCharCode(code))
    const text = fc.string({ unit: character, maxLength: 8 })
    const keys = fc.oneof(
      text,
      text.map((key) => `"${key}"`),
      fc.constantFrom('', '""', '"'),
    )
    fc.assert(
      fc.property(keys, (key) => pattern.test(key) === (parseIdempotencyKey(key) !== undefined)),
      { numRuns: 2_000 },
    )
    for (const length of [255, 256]) {
      expect(pattern.test('k'.repeat(length))).toBe(length === 255)
      expect(pattern.test(`"${'k'.repeat(length)}"`)).toBe(length === 255)
    }
  })

  it('an id matches the pattern exactly when it can be read', () => {
    const kinds = Object.keys(idPrefixes) as IdKind[]
    const kind = fc.constantFrom(...kinds)
    const uuid = fc.oneof(fc.uuid({ version: 7 }), fc.uuid())
    fc.assert(
      fc.property(kind, kind, uuid, (expected, given, id) => {
        const text = encodeId(given, id)
        const isMatch = new RegExp(idPattern(expected), 'u').test(text)
        return isMatch === (decodeId(expected, text) !== undefined)
      }),
    )
  })

  it('amounts, texts and pairs have their limits', () => {
    expect(document.components.schemas['NewTransfer']).toMatchObject({
      required: ['source', 'destination', 'amount', 'currency'],
      additionalProperties: false,
      properties: {
        amount: { type: 'integer', minimum: 1, maximum: 9007199254740991 },
        description: { anyOf: [{ maxLength: 500 }, { type: 'null' }] },
        metadata: {
          maxProperties: 50,
          propertyNames: { minLength: 1, maxLength: 40 },
          additionalProperties: { maxLength: 500 },
        },
      },
    })
  })
})

describe('what has several forms', () => {
  const schemasOf = (path: string) =>
    document.paths[path]?.['post']?.requestBody?.content['application/json'].schema
  const named = (...names: string[]) =>
    names.map((name) => ({ $ref: `#/components/schemas/${name}` }))

  it('is told with all of them: a transfer has one leg or several', () => {
    const oneOf = named('NewTransfer', 'NewMultiLegTransfer')
    expect(schemasOf('/v1/transfers')).toEqual({ oneOf })
  })

  it('so has each of a batch, where it may have a key', () => {
    expect(schemasOf('/v1/transfer-batches')).toEqual(named('NewBatch')[0])
    expect(document.components.schemas['NewBatch']?.properties?.['transfers']).toMatchObject({
      minItems: 1,
      maxItems: 10_000,
      items: { oneOf: named('NewBatchItem', 'NewMultiLegBatchItem') },
    })
  })

  it('the answer to a dry run stands beside the settled transfer', () => {
    const answer = document.paths['/v1/transfers/{id}/capture']?.['post']?.responses['200']
    expect(answer?.content).toEqual({
      'application/json': { schema: { oneOf: named('Transfer', 'DryRun') } },
    })
  })

  it('a statement is JSON or CSV', () => {
    const answer = document.paths['/v1/accounts/{id}/entries']?.['get']?.responses['200']
    expect(answer?.content).toMatchObject({
      'application/json': { schema: named('EntryList')[0] },
      'text/csv': { schema: { type: 'string' } },
    })
  })

  it('a list of transfers is filtered by any pair', () => {
    const { parameters } = document.paths['/v1/transfers']?.['get'] ?? {}
    const names = parameters?.map(({ name }) => name)
    expect(names).toEqual([...Object.keys(transferQuery.shape), 'metadata'])
    expect(parameters?.at(-1)).toMatchObject({ style: 'deepObject', explode: true })
  })
})

describe('the check of real answers', () => {
  const headers = (more: Record<string, string>) =>
    new Headers({ 'content-type': 'application/json', 'request-id': 'req_1', ...more })
  const faultOf = (request: Partial<AnsweredRequest>) => () =>
    requireDescribed({
      method: 'POST',
      path: '/v1/transfers?dry_run=true',
      status: 200,
      headers: headers({}),
      body: answerExamples.DryRun,
      ...request,
    })

  it('takes any of the answers of a status, with its own headers', () => {
    expect(faultOf({})).not.toThrow()
    const waited = headers({ location: '/', 'preference-applied': 'wait=1' })
    expect(faultOf({ headers: waited, body: answerExamples.Transfer })).not.toThrow()
    expect(faultOf({ body: answerExamples.Transfer })).toThrow('location is missing')
    expect(faultOf({ headers: waited })).toThrow('location is not described')
    expect(faultOf({ body: { ...answerExamples.DryRun, more: 1 } })).toThrow('no DryRun')
  })

  it('takes CSV where that is described, and nothing else for it', () => {
    const csv = { 'content-type': 'text/csv; charset=utf-8; header=present' }
    const path = `/v1/accounts/${answerExamples.Account.id}/entries`
    const page = { method: 'GET', path, body: undefined }
    expect(faultOf({ ...page, headers: headers(csv) })).not.toThrow()
    expect(faultOf({ ...page, headers: headers({ 'content-type': 'text/html' }) })).toThrow('html')
    expect(faultOf({ ...page, body: {} })).toThrow('no EntryList')
    expect(faultOf({ headers: headers(csv), body: undefined })).toThrow('csv')
  })
})

describe('I44: discovery', () => {
  it('the limits of a key stand in the document, for programs and for people', () => {
    expect(document['x-idempotency']).toMatchObject({
      header: 'Idempotency-Key',
      min_length: 1,
      max_length: 255,
      scope: 'tenant',
      retention: 'for ever',
      replay_header: 'Idempotent-Replayed',
    })
    const parameters = document.paths['/v1/transfers']?.['post']?.parameters
    const key = parameters?.find(({ name }) => name === 'Idempotency-Key')
    expect(key).toMatchObject({ in: 'header', required: true, schema: { minLength: 1 } })
    expect(key?.description).toMatch(/1 to 255 .* Scope: .* Retention: .*Idempotent-Replayed/)
  })

  it('and on one page', async () => {
    const page = await createAppWithoutStores().request('/docs/idempotency')
    expect(page.status).toBe(200)
    const text = await page.text()
    for (const word of ['1 to 255', 'visible ASCII', 'tenant', 'for ever', 'Idempotent-Replayed']) {
      expect(text).toContain(word)
    }
  })
})
