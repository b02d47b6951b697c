/** What a process under test is told: see sources/register.mjs, which reads it. */
export type Orders = {
  /** Ends or freezes the process when it comes by this place for the n-th time. */
  failpoint?: { name: string; hit: number; action: 'kill' | 'freeze' }
  /** By how much its clock is wrong. */
  clockOffsetMs?: number
}
