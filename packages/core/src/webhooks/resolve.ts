import { lookup, promises as dns, type LookupAddress } from 'node:dns'
import { isIP } from 'node:net'
import { callbackify } from 'node:util'

/** Resolves a name to all its addresses, as `dns.lookup` with `all` does. */
export type Resolve = (
  name: string,
  options: { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

/**
 * Asks the name servers themselves, over sockets. `dns.lookup` would take one of the four threads
 * that the connections to Postgres and Redis are resolved with too, and a tenant whose name servers
 * never answer would keep them all. What stands in the hosts file is therefore not seen, but for
 * localhost. `servers` are addresses with a port if wanted; the machine's own unless given.
 */
export function createResolve(servers?: readonly string[]): Resolve {
  // 2 s, then once more: an attempt has 5 s to connect.
  const resolver = new dns.Resolver({ timeout: 2_000, tries: 2 })
  if (servers !== undefined) resolver.setServers(servers)

  async function resolveAll(name: string): Promise<LookupAddress[]> {
    const [ipv4, ipv6] = await Promise.allSettled([
      resolver.resolve4(name),
      resolver.resolve6(name),
    ])
    const found = [...addressesOf(ipv4, 4), ...addressesOf(ipv6, 6)]
    if (found.length > 0) return found
    const cause = ipv4.status === 'rejected' ? ipv4.reason : undefined
    throw Object.assign(new Error(`${name} has no address`, { cause }), { code: 'ENOTFOUND' })
  }

  const ask = callbackify(resolveAll)

  return function resolve(name, options, callback) {
    // Neither is asked of anybody.
    if (name === 'localhost' || isIP(name) !== 0) return lookup(name, options, callback)
    ask(name, (error, addresses) => callback(error, addresses ?? []))
  }
}

function addressesOf(result: PromiseSettledResult<string[]>, family: 4 | 6): LookupAddress[] {
  if (result.status === 'rejected') return []
  return result.value.map((address) => ({ address, family }))
}
