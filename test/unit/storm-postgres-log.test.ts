import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { keepPostgresLog } from '../../storm/harness/postgres-log.ts'

/** As Postgres 18 wrote them, with shorter statements. */
const ofQueue = `2026-11-24 19:50:55.406 UTC [3948] ERROR:  deadlock detected
2026-11-24 19:50:55.406 UTC [3948] DETAIL:  Process 3948 waits for ShareLock on transaction 956; blocked by process 3947.
	Process 3947 waits for ShareLock on transaction 955; blocked by process 3948.
	Process 3948: -- Detect stalled active jobs
	SELECT id FROM move_stalled_jobs_to_wait($1, $2, $3, $4) AS t(id);
	Process 3947: -- Refresh multiple active-job locks in one round-trip
	WITH input AS (SELECT 1) UPDATE job SET locked_until_ms = $5
2026-11-24 19:50:55.406 UTC [3948] HINT:  See server log for query details.
2026-11-24 19:50:55.406 UTC [3948] CONTEXT:  while updating tuple (3,29) in relation "job"
	SQL statement "UPDATE job SET stalled_marked = true"`

const ours = `2026-11-24 19:51:02.001 UTC [4101] ERROR:  deadlock detected
2026-11-24 19:51:02.001 UTC [4101] DETAIL:  Process 4101 waits for ShareLock on transaction 977; blocked by process 4102.
	Process 4102 waits for ShareLock on transaction 976; blocked by process 4101.
	Process 4101: select * from accounts for no key update
	Process 4102: select * from accounts for no key update
2026-11-24 19:51:02.001 UTC [4101] HINT:  See server log for query details.
2026-11-24 19:51:02.001 UTC [4101] CONTEXT:  while locking tuple (0,7) in relation "accounts"`

/** Nobody has seen one: no transaction does both. */
const mixed = ofQueue.replace(/(Process 3947): --.*/, '$1: select * from accounts')

const other = `2026-11-24 19:51:01.000 UTC [4100] ERROR:  duplicate key value violates unique constraint "transfers_primary"
2026-11-24 19:51:01.000 UTC [4100] DETAIL:  Key (tenant_id, id)=(1, 2) already exists.`

test('the log of Postgres is kept whole, and tells the deadlocks of the queue from ours', () => {
  const folder = mkdtempSync(join(tmpdir(), 'payonce-log-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'postgres.log')
  const log = keepPostgresLog(path)
  const said = [other, ofQueue, other, ours, mixed, other].join('\n')
  for (const line of said.split('\n')) log.write(line)

  expect(log.deadlocks()).toEqual([
    { isOfQueue: true, text: ofQueue },
    { isOfQueue: false, text: ours },
    { isOfQueue: false, text: mixed },
  ])
  expect(readFileSync(path, 'utf8')).toBe(`${said}\n`)
})
