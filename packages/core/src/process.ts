/**
 * Runs a service until the process is asked to stop (SIGTERM, SIGINT), then closes it and exits with
 * 0. Where it cannot start, prints one line that says why, and exits with 1. A second signal ends
 * the process at once.
 */
export async function runUntilSignal(
  name: string,
  start: () => Promise<{ close(): Promise<void> }>,
): Promise<void> {
  try {
    const service = await start()
    await nextSignal()
    await service.close()
    process.exit(0)
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`)
    process.exit(1)
  }
}

function nextSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        resolve()
        process.once(signal, () => process.exit(1))
      })
    }
  })
}
