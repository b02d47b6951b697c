import { Hono, type Context } from 'hono'
import { createAssets, toAsset, type Asset } from '../docs/assets.ts'
import { isKnownToClient } from '../entity-tag.ts'
import { Problem, problems, type ProblemCode } from '../problem.ts'
import type { Deps, Env } from '../deps.ts'

/** 1 h: after an upgrade, a browser shows the pages in their new form within this time. */
const assetCaching = 'public, max-age=3600'

/** Nothing but our own: a page that was made to show foreign text could still not run or load any. */
const pageHeaders = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    // Swagger UI and the empty icon bring their pictures along.
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

/**
 * The documentation, for programs and for people, without a key. What the pages are made of is
 * loaded by the first request for one, so that it costs the start of a server nothing.
 */
export function docsRoutes({ publicUrl }: Pick<Deps, 'publicUrl'>): Hono<Env> {
  const routes = new Hono<Env>()
  const assetNamed = createAssets()
  const pages = () => import('../docs/pages.ts')
  let document: Promise<Asset> | undefined

  routes.get('/openapi.json', async function readOpenApi(c) {
    document ??= renderDocument(publicUrl)
    return answerAsset(c, await document, 'no-cache')
  })

  routes.get('/docs', async function showReference(c) {
    return c.html((await pages()).referencePage(), 200, pageHeaders)
  })

  routes.get('/docs/idempotency', async function showIdempotency(c) {
    return c.html((await pages()).idempotencyPage(), 200, pageHeaders)
  })

  routes.get('/docs/refusals', async function showRefusals(c) {
    return c.html((await pages()).refusalPage(), 200, pageHeaders)
  })

  routes.get('/docs/failure-policies', async function showFailurePolicies(c) {
    return c.html((await pages()).failurePolicyPage(), 200, pageHeaders)
  })

  routes.get('/docs/assets/:name', async function readAsset(c) {
    const asset = await assetNamed(c.req.param('name'))
    if (asset === undefined) throw new Problem('not_found', 'There is no such file.')
    return answerAsset(c, asset, assetCaching)
  })

  routes.get('/problems', async function listProblems(c) {
    return c.html((await pages()).problemListPage(), 200, pageHeaders)
  })

  routes.get('/problems/:code', async function showProblem(c) {
    const code = c.req.param('code')
    const { problemPage, unknownProblemPage } = await pages()
    return isProblemCode(code)
      ? c.html(problemPage(code, publicUrl), 200, pageHeaders)
      : c.html(unknownProblemPage(code), 404, pageHeaders)
  })

  return routes
}

async function renderDocument(publicUrl: string): Promise<Asset> {
  const { createDocument } = await import('../openapi/document.ts')
  const json = JSON.stringify(createDocument({ publicUrl }))
  return toAsset('application/json', Buffer.from(json))
}

function answerAsset(c: Context, asset: Asset, caching: string): Response {
  const mayCompress = /\bgzip\b/.test(c.req.header('accept-encoding') ?? '')
  const { bytes, etag } = mayCompress ? asset.gzipped : asset.plain
  const headers = { etag, 'cache-control': caching, vary: 'accept-encoding' }
  if (isKnownToClient(c, etag)) return c.body(null, 304, headers)
  return c.body(bytes, 200, {
    ...headers,
    'content-type': asset.type,
    'x-content-type-options': 'nosniff',
    ...(mayCompress ? { 'content-encoding': 'gzip' } : {}),
  })
}

function isProblemCode(code: string): code is ProblemCode {
  return Object.hasOwn(problems, code)
}
