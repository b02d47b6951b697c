import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { commandOfScript, repositoryRoot } from '../../bench/program.ts'

/** A tenant of the storm, as its clients know it. */
export type Tenant = { id: string; name: string; apiKey: string }

/** Runs a script of package.json on a database, as an operator does, and returns what it prints. */
export async function runScript(
  [name = '', ...args]: readonly string[],
  env: Record<string, string>,
): Promise<string> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...commandOfScript(name, repositoryRoot), ...args],
    { cwd: repositoryRoot, env: { PATH: process.env.PATH ?? '', ...env } },
  )
  return stdout.trim()
}
