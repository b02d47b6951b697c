import { execFileSync, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { repositoryRoot, type ProcessOptions } from './processes.ts'

/**
 * A copy of this repository with what `npm install --omit=dev` brings, readable by all as far as its
 * parent folder lets them: for tests of who can run it from where.
 */
export function copyCheckout(to: string): void {
  mkdirSync(to)
  for (const path of [...sources, ...installedPackages()]) {
    cpSync(join(repositoryRoot, path), join(to, path), { recursive: true, verbatimSymlinks: true })
  }
  execFileSync('chmod', ['-R', 'a+rX', to])
}

/**
 * The PATH on which a user finds npm and Node. Where these lie in a folder that only root can enter,
 * as a version manager in root's home has them, they are copied into `folder` first.
 */
export function pathToNpm(user: Required<ProcessOptions>['identity'], folder: string): string {
  const path = process.env.PATH ?? ''
  const canRun = spawnSync('npm', ['--version'], { ...user, cwd: '/', env: { PATH: path } })
  if (canRun.status === 0) return path
  const bin = join(folder, 'programs')
  mkdirSync(bin)
  copyFileSync(process.execPath, join(bin, 'node'))
  const npm = execFileSync('sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).trim()
  cpSync(dirname(dirname(realpathSync(npm))), join(bin, 'npm-package'), { recursive: true })
  symlinkSync('npm-package/bin/npm-cli.js', join(bin, 'npm'))
  execFileSync('chmod', ['-R', 'a+rX', bin])
  return `${bin}:/usr/local/bin:/usr/bin:/bin`
}

const sources = ['package.json', '.npmrc', 'tsconfig.json', 'apps', 'packages', 'drizzle']

/** The folders of all packages that are not for development alone, by the lock file. */
function installedPackages(): string[] {
  const lock = JSON.parse(readFileSync(join(repositoryRoot, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean }>
  }
  return Object.entries(lock.packages)
    .filter(([path, { dev }]) => path.startsWith('node_modules/') && dev !== true)
    .map(([path]) => path)
    .filter((path) => existsSync(join(repositoryRoot, path)))
}
