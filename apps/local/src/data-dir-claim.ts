import { linkSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { processStart } from './process-identity.ts'
import { readIfThere } from './read-if-there.ts'

/**
 * Makes this process the only owner of a data folder, and returns what gives it back. A claim ends
 * with its process, however that ends. Refuses with `data_dir_in_use` while the owner lives.
 */
export function claimDataDir(dataDir: string): () => void {
  const path = join(dataDir, claimFile)
  const mine = claimOfThisProcess()
  while (!tryToWrite(path, mine)) {
    const found = readIfThere(path)
    if (found === undefined) continue
    const owner = livingOwner(found)
    if (owner !== undefined) throw inUse(dataDir, owner)
    removeUnchanged(path, found)
  }
  return function release() {
    if (readIfThere(path) === mine) rmSync(path, { force: true })
  }
}

/** The process that owns a data folder now, if any. */
export function ownerOfDataDir(dataDir: string): number | undefined {
  const found = readIfThere(join(dataDir, claimFile))
  return found === undefined ? undefined : livingOwner(found)
}

const claimFile = 'postgres-owner.json'

type Claim = { pid: number; started: string }

function claimOfThisProcess(): string {
  const claim: Claim = { pid: process.pid, started: processStart(process.pid) ?? '' }
  return JSON.stringify(claim)
}

/** Writes the claim whole or not at all: a link appears at once and never replaces another file. */
function tryToWrite(path: string, content: string): boolean {
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, content)
  try {
    linkSync(draft, path)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
}

function livingOwner(content: string): number | undefined {
  const claim = parseClaim(content)
  // The number alone proves nothing: after a crash another process may bear it.
  return claim && processStart(claim.pid) === claim.started ? claim.pid : undefined
}

function parseClaim(content: string): Claim | undefined {
  try {
    const { pid, started } = JSON.parse(content) as Partial<Claim>
    return typeof pid === 'number' && typeof started === 'string' ? { pid, started } : undefined
  } catch {
    return undefined
  }
}

/**
 * Removes a dead claim. It is moved aside first and looked at again, because another process may
 * have replaced it with its own between our reading and our moving.
 */
function removeUnchanged(path: string, expected: string): void {
  const aside = `${path}.dead-${process.pid}`
  try {
    renameSync(path, aside)
    if (readIfThere(aside) !== expected) linkSync(aside, path)
  } catch {
    // Someone else moved it or has already claimed the folder: the caller looks again.
  } finally {
    rmSync(aside, { force: true })
  }
}

function inUse(dataDir: string, pid: number): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    'data_dir_in_use',
    `The data folder ${dataDir} is in use by process ${pid}. ` +
      `Stop that process (Ctrl-C in its terminal, or: kill ${pid}), or choose another data folder.`,
  )
}
