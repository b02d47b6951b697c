import ipaddr from 'ipaddr.js'

/** An address of either version of IP. */
export type Address = ipaddr.IPv4 | ipaddr.IPv6

/** Ranges of addresses. */
export type Networks = readonly [address: Address, bits: number][]

/** Reads networks in CIDR notation, separated by commas. Throws where one is none. */
export function parseNetworks(text: string): Networks {
  return text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .map((entry) => ipaddr.parseCIDR(entry))
}

export function isWithin(address: Address, networks: Networks): boolean {
  return networks.some(
    ([network, bits]) => network.kind() === address.kind() && address.match(network, bits),
  )
}
