import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { ownPostgres, EmbeddedPostgresError } from './embedded-postgres-error.ts'
import type { PostgresIdentity } from './postgres-identity.ts'

/** The Postgres programs, in a place where they have been seen to run. */
export type PostgresSoftware = { initdb: string; postgres: string; majorVersion: string }

/** The installed package of binaries: its `native` folder holds bin, lib and share. */
export type SoftwarePackage = { name: string; nativeDir: string }

/**
 * Finds Postgres programs that `identity` can run: in the installed package, or, when that lies
 * under a folder which only root can enter, in a copy of it that is kept for later starts.
 */
export function findPostgresSoftware(options: {
  identity: PostgresIdentity | undefined
  log: (line: string) => void
  installed?: SoftwarePackage
  copiesIn?: readonly string[]
}): PostgresSoftware {
  const { identity, log } = options
  const installed = options.installed ?? installedPackage()
  const places = [
    () => completeInPlace(installed.nativeDir),
    ...(options.copiesIn ?? foldersForCopies()).map(
      (folder) => () => copyInto(folder, installed, log),
    ),
  ]
  const reasons: string[] = []
  for (const prepare of places) {
    try {
      return runnable(prepare(), identity)
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error))
      // Programs for another kind of system do not run anywhere else either.
      if (!isAboutPermission(reasons.at(-1) ?? '')) break
    }
  }
  throw doNotRun(identity, reasons)
}

function isAboutPermission(reason: string): boolean {
  return /EACCES|EPERM|EROFS|Permission denied/.test(reason)
}

/** Everyone may enter these on any Linux; /var/cache is not emptied under a running server, as /tmp may be. */
function foldersForCopies(): string[] {
  return ['/var/cache', tmpdir()]
}

function installedPackage(): SoftwarePackage {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    // The binaries are a dependency of `embedded-postgres` and not ours, so they are looked up from
    // there. That package itself is never imported: it makes its process exit 0, whatever happened.
    const require = createRequire(import.meta.url)
    const entry = createRequire(require.resolve('embedded-postgres')).resolve(name)
    const packageDir = dirname(dirname(entry))
    const { version } = JSON.parse(readFileSync(join(packageDir, 'package.json'), 'utf8')) as {
      version: string
    }
    return { name: `${basename(name)}-${version}`, nativeDir: join(packageDir, 'native') }
  } catch (cause) {
    throw new EmbeddedPostgresError(
      'platform_not_supported',
      `There is no embedded Postgres for this computer (${name} is not installed). ` +
        `Run "npm install" again without --omit=optional, or use ${ownPostgres}`,
      { cause },
    )
  }
}

/** Makes up for an install script that was blocked: npm packages cannot carry the links between libraries. */
function completeInPlace(nativeDir: string): string {
  for (const { source, target } of missingLinks(nativeDir)) {
    symlinkSync(relative(dirname(target), source), target)
  }
  return nativeDir
}

function missingLinks(nativeDir: string): { source: string; target: string }[] {
  const list = JSON.parse(readFileSync(join(nativeDir, 'pg-symlinks.json'), 'utf8')) as {
    source: string
    target: string
  }[]
  const packageDir = dirname(nativeDir)
  return list
    .map(({ source, target }) => ({
      source: resolve(packageDir, source),
      target: resolve(packageDir, target),
    }))
    .filter(({ target }) => !existsSync(target))
}

/** Asks the program itself, because only running it answers for permissions, libraries and architecture at once. */
function runnable(nativeDir: string, identity: PostgresIdentity | undefined): PostgresSoftware {
  const postgres = join(nativeDir, 'bin', 'postgres')
  const answer = spawnSync(postgres, ['--version'], {
    ...identity,
    cwd: '/',
    env: {},
    encoding: 'utf8',
  })
  const majorVersion = /\(PostgreSQL\) (\d+)/.exec(answer.stdout ?? '')?.[1]
  if (majorVersion === undefined) {
    throw new Error(`${postgres}: ${answer.error?.message ?? answer.stderr.trim()}`)
  }
  return { postgres, initdb: join(nativeDir, 'bin', 'initdb'), majorVersion }
}

/** Copies the programs (60 MB, 0.1 s) beside their final name and renames, so that a copy is whole or absent. */
function copyInto(folder: string, installed: SoftwarePackage, log: (line: string) => void): string {
  const copy = join(folder, `payonce-postgres-${installed.name}-${process.getuid?.()}`)
  if (!existsSync(copy)) {
    const draft = mkdtempSync(`${copy}-`)
    try {
      copyReadable(installed.nativeDir, join(draft, 'native'))
      completeInPlace(join(draft, 'native'))
      chmodSync(draft, 0o755)
      renameOrYield(draft, copy)
      log(`copied the Postgres programs to ${copy}, where the user who runs them can enter`)
    } finally {
      rmSync(draft, { recursive: true, force: true })
    }
  }
  refuseStrangersFolder(copy)
  return join(copy, 'native')
}

/** Another start may have finished the same copy first; then that one serves. */
function renameOrYield(draft: string, copy: string): void {
  try {
    renameSync(draft, copy)
  } catch (error) {
    if (!existsSync(copy)) throw error
  }
}

/** In a folder that all may write to, another user could have laid out programs for us to run. */
function refuseStrangersFolder(folder: string): void {
  const found = lstatSync(folder)
  const ours = found.isDirectory() && found.uid === process.getuid?.() && (found.mode & 0o022) === 0
  if (!ours)
    throw new Error(`${folder} belongs to someone else, or others may write to it; remove it`)
}

/** Like `cp -r`, but readable by all: a restrictive umask at install time must not carry over. */
function copyReadable(from: string, to: string): void {
  mkdirSync(to)
  chmodSync(to, 0o755)
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const source = join(from, entry.name)
    const target = join(to, entry.name)
    if (entry.isDirectory()) copyReadable(source, target)
    else if (entry.isSymbolicLink()) symlinkSync(readlinkSync(source), target)
    else {
      copyFileSync(source, target, constants.COPYFILE_FICLONE)
      chmodSync(target, basename(from) === 'bin' ? 0o755 : 0o644)
    }
  }
}

function doNotRun(
  identity: PostgresIdentity | undefined,
  reasons: readonly string[],
): EmbeddedPostgresError {
  const who =
    identity === undefined ? 'here' : `as user ${identity.uid} (Postgres refuses to run as root)`
  return new EmbeddedPostgresError(
    'programs_do_not_run',
    `The embedded Postgres does not run ${who}:\n${reasons.map((reason) => `  ${reason}`).join('\n')}\n` +
      `Use ${ownPostgres}`,
  )
}
