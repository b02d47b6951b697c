import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '@payonce/local/loopback-port'
import { commandOfScript, repositoryRoot, startProgram, untilReady } from '../program.ts'
import type { Measurement } from '../metrics.ts'
import type { Bench, Contender, Scenario } from '../scenario.ts'

export const ready: Scenario = {
  name: 'ready',
  title: 'The one-command stack (npm start), from its start until it serves',
  contenders: async (bench) => [firstStart(bench), await laterStart(bench)],
  ratios: [],
  targets: [
    { metric: 'readyMs', of: 'first start', atMost: 6_000 },
    { metric: 'readyMs', of: 'later start', atMost: 4_000 },
  ],
}

function firstStart(bench: Bench): Contender {
  return {
    name: 'first start',
    measure: async () => {
      const dataDir = newDataDir(bench)
      try {
        return await measureStart(dataDir)
      } finally {
        rmSync(dataDir, { recursive: true, force: true })
      }
    },
  }
}

async function laterStart(bench: Bench): Promise<Contender> {
  const dataDir = newDataDir(bench)
  bench.tell('making the data folder of the later starts')
  await measureStart(dataDir)
  return {
    name: 'later start',
    measure: () => measureStart(dataDir),
    close: async () => rmSync(dataDir, { recursive: true, force: true }),
  }
}

function newDataDir({ stack }: Pick<Bench, 'stack'>): string {
  return mkdtempSync(join(stack.folder, 'local-'))
}

async function measureStart(dataDir: string): Promise<Measurement> {
  const port = await freePort()
  const startedAt = performance.now()
  const program = await startProgram({
    command: commandOfScript('start', repositoryRoot),
    checkout: repositoryRoot,
    env: { DATA_DIR: dataDir, HOST: '127.0.0.1', PORT: String(port) },
  })
  try {
    await untilReady(`http://127.0.0.1:${port}/readyz`, program)
    return { readyMs: performance.now() - startedAt }
  } finally {
    await program.stop()
  }
}
