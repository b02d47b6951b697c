import { spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'

it.each(['prune', 'migrate'])('%s refuses an argument before it touches anything', (command) => {
  const args = ['--import', 'tsx', `apps/cli/src/${command}/main.ts`, '--dry-run']
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', env: {} })
  expect(status).toBe(2)
  expect(stderr).toContain(`Usage: npm run ${command}`)
})
