import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'

/*
 * Fails where schema.ts says something that no migration does. drizzle-kit exits with 0 even when it
 * crashes, so its word is required, and the folder it was given has to be unchanged besides.
 */

const folder = import.meta.dirname
const copy = join(mkdtempSync(join(tmpdir(), 'payonce-schema-')), 'drizzle')
try {
  cpSync(folder, copy, { recursive: true })
  // drizzle-kit takes a folder relative to where it runs, and nothing else.
  const out = relative(process.cwd(), copy)
  const generate = spawnSync(
    'npx',
    [
      'drizzle-kit',
      'generate',
      '--dialect=postgresql',
      '--schema=./packages/core/src/db/schema.ts',
      `--out=${out}`,
    ],
    { encoding: 'utf8' },
  )
  const said = `${generate.stdout}${generate.stderr}`
  const changed = differences(folder, copy)
  if (!said.includes('No schema changes') || changed.length > 0) {
    console.error(said)
    console.error(`schema.ts and drizzle/ differ: ${changed.join(', ') || 'see above'}`)
    console.error('Run npm run schema:generate -- --name WHAT_CHANGES, and read the SQL it writes.')
    process.exitCode = 1
  } else {
    console.log('schema.ts and drizzle/ agree')
  }
} finally {
  rmSync(join(copy, '..'), { recursive: true })
}

function differences(a: string, b: string): string[] {
  const filesOf = (path: string) => readdirSync(path, { recursive: true, encoding: 'utf8' })
  const isFile = (name: string) => /\.\w+$/.test(name)
  const names = new Set([...filesOf(a), ...filesOf(b)].filter(isFile))
  return [...names].filter((name) => contentOf(join(a, name)) !== contentOf(join(b, name)))
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
