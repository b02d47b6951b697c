import type { Row } from '../row.ts'

/** Rows that take more than HTTP: the test suite runs them with processes and databases of its own. */
export const beyondHttp: readonly Row[] = [
  {
    row: 'I4',
    situation: 'again while the worker is busy or stopped',
    expectation: '202 replay, never 409',
    beyondHttp: 'the worker has to be stopped',
  },
  {
    row: 'I5',
    situation: "again after the payload's retention and a prune; after an upgrade of the server",
    expectation: 'the same id and bytes, no second effect; another body is still 422',
    beyondHttp: 'payloads have to be pruned and the server upgraded',
  },
  {
    row: 'I23',
    situation: 'a collision in flight longer than 2 s',
    expectation: '409 idempotency_in_flight, Retry-After, retryable; the retry replays',
    beyondHttp: 'the key has to be locked in the database',
  },
  {
    row: 'I24',
    situation: 'the API is killed after the commit, before the answer; the client retries',
    expectation: '202 replay with the same id',
    beyondHttp: 'the API has to be killed',
  },
  {
    row: 'I25',
    situation: 'the API is killed right after the 202',
    expectation: 'it settles with no retry',
    beyondHttp: 'the API has to be killed',
  },
  {
    row: 'I26',
    situation: 'the API is killed in the middle of acceptance',
    expectation: 'the next try is 202 at once; no stuck 409',
    beyondHttp: 'the API has to be killed',
  },
  {
    row: 'I27',
    situation: 'Redis is down during the POST',
    expectation: '202, drained later; never a 500 after the commit',
    beyondHttp: 'Redis has to be stopped',
  },
  {
    row: 'I28',
    situation: 'FLUSHALL after many 202s',
    expectation: 'every one reaches one terminal state, with one effect',
    beyondHttp: 'Redis has to be emptied',
  },
  {
    row: 'I29',
    situation: 'Postgres is down',
    expectation:
      '503 with Retry-After, nothing stored; the same key succeeds later, without the marker',
    beyondHttp: 'Postgres has to be stopped',
  },
  {
    row: 'I30',
    situation: 'the worker is killed after the ledger commit, before the job is acknowledged',
    expectation: 'the job runs again, with one effect',
    beyondHttp: 'the worker has to be killed',
  },
  {
    row: 'I31',
    situation: 'a command that always throws',
    expectation: 'parked with growing gaps, while its neighbours settle; visible and cancellable',
    beyondHttp: 'the database has to be made to refuse a command',
  },
  {
    row: 'I45',
    situation: 'a flood of replays, ten times the rate of first requests',
    expectation: 'settlement keeps at least 90 % of its rate',
    beyondHttp: 'it is a measurement: npm run bench -- --scenario replay-flood',
  },
]
