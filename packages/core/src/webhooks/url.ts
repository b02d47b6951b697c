import ipaddr from 'ipaddr.js'
import { isWithin, type Address, type Networks } from '../networks.ts'

/*
 * Where we send. Every URL that a client names is hostile: it may point into the operator's own
 * network. It is judged as it is parsed when it is registered, and the address is judged again when
 * the connection is made (see send.ts), since a name may resolve to anything by then.
 */

export type JudgedUrl = { result: 'allowed'; url: URL } | { result: 'refused'; reason: string }

/** 2,048 characters: what everybody's software can carry. */
export const MAX_URL_LENGTH = 2_048
/** Ports at which web servers listen; any other one may be a service that takes HTTP for its own. */
const allowedPorts = new Set(['', '443', '8443'])
/** Names that are not the world's: RFC 6761, RFC 6762, RFC 8375, and what clouds and systems call their own. */
const privateNames =
  /(^|\.)(localhost|local|localdomain6?|internal|intranet|lan|home|corp|home\.arpa|test|invalid|example|onion)$/
/** Also an empty one, which URL leaves out. */
const userInfo = /^https?:\/*[^/?#]*@/i

/**
 * Judges a URL by its form alone, without resolving its name. `allowed` are networks that an operator
 * allows by name, for development: there plain http is allowed too, at any port.
 */
export function judgeUrl(text: string, allowed: Networks): JudgedUrl {
  if (text.length > MAX_URL_LENGTH) return refused(`it is longer than ${MAX_URL_LENGTH} characters`)
  // URL leaves out tabs and line feeds, and takes a backslash for a slash.
  if (/[\s\p{Cc}\\]/u.test(text)) return refused('it has spaces, controls or backslashes')
  if (!URL.canParse(text)) return refused('it is no URL')
  const url = new URL(text)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return refused('it is not https')
  if (userInfo.test(text)) return refused('it names a user')
  if (text.includes('#')) return refused('it has a fragment')
  // A host in its ASCII form may be many times as long as it was written.
  if (url.href.length > MAX_URL_LENGTH || !isShortHost(url.hostname)) {
    return refused('its host is too long')
  }
  const name = url.hostname.replace(/\.$/, '')
  const literal = literalOf(name)
  const isOwn = literal !== undefined && isWithin(literal, allowed)
  if (isOwn) return { result: 'allowed', url }
  if (url.protocol === 'http:') return refused('it is not https')
  if (!allowedPorts.has(url.port)) return refused('its port is not 443 or 8443')
  if (literal !== undefined) {
    return isPublic(literal) ? { result: 'allowed', url } : refused('its address is not public')
  }
  if (!isPublicName(name)) return refused('its host is not public')
  return { result: 'allowed', url }
}

/** Whether a connection to this address may be made. */
export function mayConnectTo(address: string, allowed: Networks): boolean {
  if (!ipaddr.isValid(address)) return false
  const parsed = ipaddr.parse(address)
  return isPublic(parsed) || isWithin(parsed, allowed)
}

/** The limits of the domain name system (RFC 1035, 2.3.4). */
function isShortHost(hostname: string): boolean {
  return hostname.length <= 253 && hostname.split('.').every((label) => label.length <= 63)
}

/** A name without empty labels: what those lead to is up to the resolver. */
function isPublicName(name: string): boolean {
  const labels = name.split('.')
  return labels.length > 1 && !labels.includes('') && !privateNames.test(name)
}

/** The address that a host stands for without being resolved; the parser has unmasked its spellings. */
function literalOf(name: string): Address | undefined {
  if (name === 'localhost') return ipaddr.parse('127.0.0.1')
  const bare = name.startsWith('[') ? name.slice(1, -1) : name
  return ipaddr.isValid(bare) ? ipaddr.parse(bare) : undefined
}

/**
 * Whether an address belongs to the public internet. All that is special is not: also the forms of
 * IPv6 that carry an IPv4 address (mapped, NAT64, 6to4, Teredo), wherever they would lead.
 */
function isPublic(address: Address): boolean {
  if (address.range() !== 'unicast' || isWithin(address, ofTheCloud)) return false
  // Global unicast is 2000::/3 (RFC 4291); the library calls unicast whatever has no other name,
  // and so the IPv4-compatible ::/96 (RFC 4291, 2.5.5.1).
  return address.kind() === 'ipv4' || isWithin(address, globalUnicast)
}

/** A public address at which every machine of a cloud (Azure) reaches its own host and its metadata. */
const ofTheCloud: Networks = [ipaddr.parseCIDR('168.63.129.16/32')]

const globalUnicast: Networks = [ipaddr.parseCIDR('2000::/3')]

function refused(reason: string): JudgedUrl {
  return { result: 'refused', reason }
}
