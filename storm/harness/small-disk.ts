import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
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

/** False for anybody but root, and in containers without the right to mount (CAP_SYS_ADMIN). */
export function canMakeSmallDisks(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'payonce-disk-'))
  try {
    mount(folder, 1)
    execFileSync('umount', [folder])
    return true
  } catch {
    return false
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/**
 * Mounts a file system in memory at a new folder, and takes it away when this process ends. Needs
 * root on Linux with the right to mount, and throws otherwise.
 */
export function makeSmallDisk(folder: string, megabytes: number): SmallDisk {
  mkdirSync(folder)
  try {
    mount(folder, megabytes)
  } catch (cause) {
    throw new Error('a small disk needs root and the right to mount, on Linux', { cause })
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

function mount(folder: string, megabytes: number): void {
  const options = `size=${megabytes}m`
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder], { stdio: 'pipe' })
}
