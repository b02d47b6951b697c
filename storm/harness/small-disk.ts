import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'

/** A file system that can be full without harm to anything else. */
export type SmallDisk = {
  folder: string
  /** Takes all the space that is left, until there is none. */
  fill(): Promise<void>
  /** Gives the space back. */
  free(): void
}

const megabyte = Buffer.alloc(1024 * 1024)

/**
 * Mounts a file system in memory at a new folder, and takes it away when this process ends. Needs
 * root on Linux, and throws otherwise.
 */
export function makeSmallDisk(folder: string, megabytes: number): SmallDisk {
  mkdirSync(folder)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder])
  } catch (cause) {
    throw new Error('a small disk can only be mounted as root, on Linux', { cause })
  }
  // Lazily: whoever works in there ends with this process, and may not have ended yet.
  process.prependOnceListener('exit', () => execFileSync('umount', ['--lazy', folder]))
  const ballast = join(folder, 'ballast')

  async function fill(): Promise<void> {
    const file = await open(ballast, 'a')
    try {
      for (;;) await file.write(megabyte)
    } catch (error) {
      const isFull = error instanceof Error && 'code' in error && error.code === 'ENOSPC'
      if (!isFull) throw error
    } finally {
      await file.close()
    }
  }

  return { folder, fill, free: () => rmSync(ballast, { force: true }) }
}
