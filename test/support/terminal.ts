import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * Pastes a line into a terminal and returns what it prints: into bash, as most people have it, and
 * else into sh. Throws when the line fails.
 */
export function paste(line: string): string {
  const [shell = 'sh'] = ['bash', 'sh'].filter(isThere)
  const script = isThere('curl') ? line : `${ourCurl}\n${line}`
  const { status, stdout, stderr } = spawnSync(shell, ['-c', script], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`exit code ${status} of: ${line}\n${stdout}${stderr}`)
  return stdout
}

const ourCurl = `curl() { '${process.execPath}' --import tsx '${fileURLToPath(new URL('curl.ts', import.meta.url))}' "$@"; }`

function isThere(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
}
