import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'

/** Raised when the form below changes: old fingerprints then stay comparable by their own form. */
const formVersion = 1

export type FingerprintedRequest = {
  method: string
  /** The matched route with its parameters decoded: `/v1/transfers/tr_…/refund`. */
  route: string
  /** The JSON as it was sent, before any default is filled in; undefined for an empty body. */
  body: unknown
}

/**
 * SHA-256 over a version, the method, the route and the RFC 8785 form of the body. Two requests
 * with the same fingerprint ask for the same thing, however their JSON was spelled.
 * Throws for what RFC 8785 cannot write (lone surrogates, numbers beyond a double): refuse those
 * before.
 */
export function fingerprint({ method, route, body }: FingerprintedRequest): Buffer {
  const canonicalBody = body === undefined ? '' : canonicalize(body)
  return createHash('sha256')
    .update(`${formVersion}\n${method}\n${route}\n${canonicalBody}`)
    .digest()
}
