import { chownSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { readIfThere } from './read-if-there.ts'

export type ApiKeyFile = {
  /** Absolute. */
  path: string
  /** The key in it; empty when there is none, or none that we may read. */
  read(): string
  /** Replaces the key. Only the owner of the data folder can read it afterwards. */
  write(key: string): void
}

/** The file `api-key` in a data folder, where `npm run submit` looks for it. */
export function createApiKeyFile(dataDir: string): ApiKeyFile {
  const path = join(resolve(dataDir), 'api-key')
  return {
    path,
    read: () => readIfThere(path)?.trim() ?? '',
    write(key) {
      // Beside its final name and then renamed: a start that is killed leaves the old key or the new.
      const draft = `${path}.new`
      rmSync(draft, { force: true })
      writeFileSync(draft, `${key}\n`, { mode: 0o600 })
      giveToOwnerOf(dataDir, draft)
      renameSync(draft, path)
    },
  }
}

/** Root may start this on a plain user's folder, and the key must stay that user's. */
function giveToOwnerOf(dataDir: string, path: string): void {
  if (process.getuid?.() !== 0) return
  const { uid, gid } = statSync(dataDir)
  chownSync(path, uid, gid)
}
