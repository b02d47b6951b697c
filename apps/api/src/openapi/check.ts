import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createDocument } from './document.ts'

/*
 * Lints the document as it is served: `npm run check:openapi`. Neither this nor the linter does
 * anything over a network. Ends with the linter's exit code.
 */

const folder = mkdtempSync(join(tmpdir(), 'payonce-openapi-'))
try {
  const file = join(folder, 'openapi.json')
  const document = createDocument({ publicUrl: 'https://payonce.example' })
  writeFileSync(file, JSON.stringify(document, null, 2))
  const linter = createRequire(import.meta.url).resolve('@redocly/cli/package.json')
  const cli = join(dirname(linter), 'bin', 'cli.js')
  const config = join(import.meta.dirname, '../../../../redocly.yaml')
  const lint = spawnSync(process.execPath, [cli, 'lint', file, '--config', config], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
  })
  process.exitCode = lint.status ?? 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
