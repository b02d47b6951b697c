import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { repositoryRoot } from './sources.ts'

/*
 * A lint rule that cannot fail is worth nothing. These tests plant every violation that the rules
 * are there for, in a folder laid out like the repository, and let the linter find them.
 */

const apps = ['api', 'worker', 'local', 'cli'].map((name) => `@payonce/${name}/main`)
const hono = ['hono', 'hono/cors', 'hono/utils/http-status', '@hono/node-server', '@hono/x/deep/er']
const bullmq = ['bullmq', 'bullmq/dist/esm/classes/job.js']
const appsByPath = ['../../../../apps/api/src/app.ts', '../../../../../apps/worker/src/main.ts']
const fromCore = [...hono, ...apps, ...appsByPath]

/** Relative imports of folders of core, from a folder of core: also deeper ones, and from deeper. */
function folders(...names: string[]): string[] {
  return names.flatMap((name) => [`../${name}/x.ts`, `../${name}/deep/er.ts`, `../../${name}/x.ts`])
}

/** DESIGN: apps → transfers · webhooks → ledger · queue → events · idempotency → db → leaves. */
const forbidden: Readonly<Record<string, readonly string[]>> = {
  'packages/core/src': [
    ...fromCore,
    ...bullmq,
    ...[
      'db',
      'events',
      'idempotency',
      'tenants',
      'ledger',
      'queue',
      'transfers',
      'webhooks',
      'verify',
    ].map((name) => `./${name}/x.ts`),
  ],
  'packages/core/src/db': [
    ...fromCore,
    ...bullmq,
    ...folders(
      'events',
      'idempotency',
      'tenants',
      'ledger',
      'queue',
      'transfers',
      'webhooks',
      'verify',
    ),
  ],
  'packages/core/src/events': [
    ...fromCore,
    ...bullmq,
    ...folders('ledger', 'queue', 'transfers', 'webhooks', 'verify'),
  ],
  'packages/core/src/idempotency': [
    ...fromCore,
    ...bullmq,
    ...folders('ledger', 'queue', 'transfers', 'webhooks', 'verify'),
  ],
  'packages/core/src/tenants': [
    ...fromCore,
    ...bullmq,
    ...folders('ledger', 'queue', 'transfers', 'webhooks', 'verify'),
  ],
  'packages/core/src/ledger': [
    ...fromCore,
    ...bullmq,
    ...folders('queue', 'transfers', 'webhooks', 'verify'),
  ],
  'packages/core/src/queue': [...fromCore, ...folders('ledger', 'transfers', 'webhooks', 'verify')],
  'packages/core/src/transfers': [...fromCore, ...bullmq, ...folders('webhooks', 'verify')],
  'packages/core/src/webhooks': [...fromCore, ...bullmq, ...folders('verify')],
  'packages/core/src/verify': [...fromCore, ...bullmq],
  'apps/api/src': [...bullmq, '@payonce/worker/main', '@payonce/local/main', '@payonce/worker/a/b'],
  'apps/api/src/routes': [...bullmq, '@payonce/worker/main', '@payonce/local/main'],
  'apps/worker/src': [...hono, '@payonce/api/app', '@payonce/local/main', '@payonce/api/routes/x'],
  'apps/worker/src/sweeps': [...hono, '@payonce/api/app', '@payonce/local/main'],
  'apps/cli/src': [
    ...hono,
    ...bullmq,
    '@payonce/api/app',
    '@payonce/worker/main',
    '@payonce/local/x',
  ],
  'apps/cli/src/keys': [...hono, ...bullmq, '@payonce/api/routes/x'],
  'apps/local/src': [...hono, ...bullmq],
}

const allowed: Readonly<Record<string, readonly string[]>> = {
  'packages/core/src': ['./money.ts', 'pg', 'zod'],
  'packages/core/src/db': ['../money.ts', './client.ts', 'pg', 'drizzle-orm'],
  'packages/core/src/idempotency': ['../db/client.ts', '../ids.ts'],
  'packages/core/src/ledger': ['../db/client.ts', '../idempotency/known-key.ts', '../money.ts'],
  'packages/core/src/queue': ['bullmq', 'ioredis', '../idempotency/job-id.ts', '../db/client.ts'],
  'packages/core/src/transfers': ['../ledger/apply.ts', '../queue/dispatch.ts', '../db/client.ts'],
  'packages/core/src/webhooks': [
    '../ledger/apply.ts',
    '../transfers/find.ts',
    '../events/event.ts',
  ],
  'apps/api/src': ['hono', '@hono/node-server', '@payonce/core/queue/queues'],
  'apps/worker/src': ['bullmq', '@payonce/core/queue/queues'],
  'apps/cli/src': ['@payonce/core/config'],
  'apps/local/src': ['@payonce/api/main', '@payonce/worker/main', '@payonce/core/log'],
}

/** The ways in which one file can come to know another. */
const importForms: Readonly<Record<string, (specifier: string) => string>> = {
  'by name': (specifier) => `import { x } from '${specifier}'\nconsole.log(x)\n`,
  'as a whole': (specifier) => `import '${specifier}'\n`,
  'for its types': (specifier) => `import type { X } from '${specifier}'\nexport type Y = X\n`,
  'to pass it on': (specifier) => `export { x } from '${specifier}'\n`,
  'to pass all of it on': (specifier) => `export * from '${specifier}'\n`,
  'when it is needed': (specifier) => `export const load = () => import('${specifier}')\n`,
  'to pass its types on': (specifier) => `export type { X } from '${specifier}'\n`,
}

/** What is planted besides imports: the rule that has to find it, and where. */
const faults: Readonly<Record<string, { path: string; code: string; rule: string }>> = {
  'the environment read outside of core/config.ts': {
    path: 'packages/core/src/db/fault.ts',
    code: 'export const port = process.env.PORT\n',
    rule: 'no-process-env',
  },
  'the environment read in an app': {
    path: 'apps/api/src/fault.ts',
    code: "export const port = process.env['PORT']\n",
    rule: 'no-process-env',
  },
  'a promise that nobody awaits': {
    path: 'apps/worker/src/fault.ts',
    code: 'async function send() {}\nsend()\n',
    rule: 'no-floating-promises',
  },
  'a promise where none is expected': {
    path: 'apps/cli/src/fault.ts',
    code: 'export const odd = [1].filter(async (one) => one > 0)\n',
    rule: 'no-misused-promises',
  },
  any: {
    path: 'apps/local/src/fault.ts',
    code: 'export const odd = (one: any) => one\n',
    rule: 'no-explicit-any',
  },
  'a type error that is silenced': {
    path: 'packages/core/src/queue/fault.ts',
    code: '// @ts-ignore\nexport const odd: string = 1\n',
    rule: 'ban-ts-comment',
  },
  'a null that is wished away': {
    path: 'packages/core/src/ledger/fault.ts',
    code: "export const odd = [1].at(0)!.toString() + 'x'\n",
    rule: 'no-non-null-assertion',
  },
  'a switch that forgets a case': {
    path: 'packages/core/src/transfers/fault.ts',
    code: "export function odd(one: 'a' | 'b') {\n  switch (one) {\n    case 'a':\n      return 1\n  }\n  return 2\n}\n",
    rule: 'switch-exhaustiveness-check',
  },
  'a type imported as a value': {
    path: 'packages/core/src/events/fault.ts',
    code: "import { Pool } from 'pg'\nexport type Odd = Pool\n",
    rule: 'consistent-type-imports',
  },
  'a circle of imports': {
    path: 'packages/core/src/webhooks/fault.ts',
    code: "import { other } from './other.ts'\nexport const odd = () => other\n",
    rule: 'no-cycle',
  },
  'an await that was forgotten in a condition': {
    path: 'packages/core/src/tenants/fault.ts',
    code: 'export async function odd(f: () => Promise<boolean>) {\n  return f() ? 1 : 2\n}\n',
    rule: 'no-misused-promises',
  },
}

const companions: Readonly<Record<string, string>> = {
  'packages/core/src/webhooks/other.ts':
    "import { odd } from './fault.ts'\nexport const other = () => odd\n",
  // Here the environment may be read, and any value may be thrown away on purpose.
  'packages/core/src/config.ts': 'export const port = process.env.PORT\n',
  'test/unit/some.test.ts': "export const port = process.env['PORT']\n",
}

type Planted = { path: string; code: string }

/** One file per import, so that each finding belongs to one of them. */
function plantImports(
  kind: string,
  imports: Readonly<Record<string, readonly string[]>>,
): Planted[] {
  return Object.entries(imports).flatMap(([folder, specifiers]) =>
    specifiers.map((specifier) => ({
      path: importPath(kind, folder, specifier),
      code: `import { x } from '${specifier}'\nconsole.log(x)\n`,
    })),
  )
}

function importPath(kind: string, folder: string, specifier: string): string {
  return `${folder}/${kind}-${Buffer.from(specifier).toString('hex')}.ts`
}

const formPath = (form: string) => `packages/core/src/ledger/form-${form.replaceAll(' ', '-')}.ts`

const planted: Planted[] = [
  ...plantImports('forbidden', forbidden),
  ...plantImports('allowed', allowed),
  ...Object.entries(importForms).map(([form, write]) => ({
    path: formPath(form),
    code: write('bullmq'),
  })),
  ...Object.values(faults),
  ...Object.entries(companions).map(([path, code]) => ({ path, code })),
]

let folder = ''
/** The rules that were broken, by file. */
const found = new Map<string, string[]>()

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'payonce-lint-'))
  for (const name of ['.oxlintrc.json', 'tsconfig.json']) {
    copyFileSync(join(repositoryRoot, name), join(folder, name))
  }
  symlinkSync(join(repositoryRoot, 'node_modules'), join(folder, 'node_modules'))
  for (const { path, code } of planted) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), code)
  }
  for (const { filename, code } of lint()) {
    const rule = /\((.+)\)/.exec(code)?.[1] ?? code
    found.set(filename, [...(found.get(filename) ?? []), rule])
  }
}, 60_000)

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

type Diagnostic = { filename: string; code: string }

function lint(): Diagnostic[] {
  const oxlint = join(repositoryRoot, 'node_modules/oxlint/bin/oxlint')
  const options = ['--type-aware', '--format', 'json', '.']
  const run = spawnSync(process.execPath, [oxlint, ...options], {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 100_000_000,
  })
  if (!run.stdout.startsWith('{')) throw new Error(`oxlint said: ${run.stdout}${run.stderr}`)
  const { diagnostics } = JSON.parse(run.stdout) as { diagnostics: Diagnostic[] }
  return diagnostics.map(({ filename, code }) => ({
    filename: filename.replaceAll('\\', '/').replace(/^\.\//, ''),
    code,
  }))
}

function rulesBrokenBy(path: string): string[] {
  return found.get(path) ?? []
}

const pairsOf = (imports: Readonly<Record<string, readonly string[]>>) =>
  Object.entries(imports).flatMap(([from, specifiers]) =>
    specifiers.map((specifier) => [from, specifier] as const),
  )

describe('the linter refuses', () => {
  it.each(pairsOf(forbidden))('in %s to import %s', (from, specifier) => {
    expect(rulesBrokenBy(importPath('forbidden', from, specifier))).toContain(
      'no-restricted-imports',
    )
  })

  it.each(Object.keys(importForms))('to import a forbidden module %s', (form) => {
    expect(rulesBrokenBy(formPath(form))).toContain('no-restricted-imports')
  })

  it.each(Object.entries(faults))('%s', (_, { path, rule }) => {
    expect(rulesBrokenBy(path)).toContain(rule)
  })
})

describe('the linter allows', () => {
  it.each(pairsOf(allowed))('in %s to import %s', (from, specifier) => {
    expect(rulesBrokenBy(importPath('allowed', from, specifier))).toEqual([])
  })

  it('core/config.ts and tests to read the environment', () => {
    expect(rulesBrokenBy('packages/core/src/config.ts')).toEqual([])
    expect(rulesBrokenBy('test/unit/some.test.ts')).toEqual([])
  })
})

describe('what is planted', () => {
  it('is one file each', () => {
    const paths = planted.map(({ path }) => path)
    expect(new Set(paths).size).toBe(paths.length)
  })
})
