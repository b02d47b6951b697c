import { dirname } from 'node:path'
import { ownerOfDataDir } from '@payonce/local/data-dir-claim'
import { freePort } from '@payonce/local/loopback-port'
import type { Exit } from '@payonce/local/supervised-process'
import {
  startCommand,
  type Environment,
  type ProcessOptions,
  type RunningProcess,
} from './processes.ts'

/** What `npm start` has started, and what it says of itself. */
export type Local = {
  /** The process of npm, as whoever starts it sees it. */
  npm: RunningProcess
  /** The process that npm started, which is the whole product but Postgres. */
  pid: number
  url: string
  port: string
  apiKey: string
  apiKeyFile: string
  /** The two lines to paste, word for word. */
  transferLine: string
  accountLine: string
}

export type LocalOptions = ProcessOptions & { dataDir: string; port?: string }

/** Runs `npm start` and waits until it is ready, on any free port unless told. */
export async function startLocal(options: LocalOptions): Promise<Local> {
  const { npm, port } = await untilStarted(options)
  const lines = npm.output().split('\n')
  const [transferLine = '', accountLine = ''] = lines.filter((line) => line.startsWith('curl '))
  const keyAt = lines.findIndex((line) => line.startsWith('API key'))
  return {
    npm,
    port,
    transferLine,
    accountLine,
    pid: ownerOfDataDir(options.dataDir) ?? 0,
    url: /ready at (\S+)/.exec(npm.output())?.[1] ?? '',
    apiKey: lines[keyAt + 1] ?? '',
    apiKeyFile: /kept in (.*):$/.exec(lines[keyAt] ?? '')?.[1] ?? '',
  }
}

/** Another program may take a free port first: then another one is tried. */
async function untilStarted(options: LocalOptions): Promise<{ npm: RunningProcess; port: string }> {
  for (let tries = 1; ; tries++) {
    const port = options.port ?? String(await freePort())
    const npm = await runNpmStart({ ...options, port })
    try {
      await npm.line(lastLine, readyTimeoutMs)
      return { npm, port }
    } catch (error) {
      const isSnatched = /^payonce: Port \d+ .* is in use/m.test(npm.output())
      if (!isSnatched || options.port !== undefined || tries === 3) throw error
    }
  }
}

/** Runs `npm start` where it is expected to give up, and returns what it said with its exit code. */
export async function failToStartLocal(
  options: LocalOptions & { env?: Environment },
): Promise<Exit & { said: string[] }> {
  const npm = await runNpmStart(options)
  const { code } = await npm.exited
  // What npm itself prints first is not ours.
  const said = npm
    .output()
    .split('\n')
    .filter((line) => line !== '' && !/^(> |npm )/.test(line))
  return { code, said }
}

/** 60 s: it takes two, more when the disk is slow or others need the processors. */
const readyTimeoutMs = 60_000
const lastLine = /^Press Ctrl-C/

function runNpmStart({ dataDir, port, env, ...options }: LocalOptions): Promise<RunningProcess> {
  return startCommand(['npm', 'start'], {
    ...options,
    env: {
      // A home without settings of npm, which would have something to say about them.
      HOME: dirname(dataDir),
      npm_config_update_notifier: 'false',
      DATA_DIR: dataDir,
      ...(port === undefined ? {} : { PORT: port }),
      ...env,
    },
  })
}
