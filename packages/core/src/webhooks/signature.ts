import { createHmac, createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

/*
 * Standard Webhooks 1.0.0: the id of the event, the time of the attempt and the bytes of the body are
 * signed, by HMAC-SHA256 (`v1`) and, where an endpoint asks for it, by ed25519 besides (`v1a`).
 */

export type SecretScheme = 'v1' | 'v1a'

/** What signs: the bytes of an HMAC key, or the seed of an ed25519 key. */
export type SigningSecret = { scheme: SecretScheme; key: Buffer }

/** 256 bits, as long as what the schemes can use. */
const keyBytes = 32

export function newSecret(scheme: SecretScheme): SigningSecret {
  return { scheme, key: randomBytes(keyBytes) }
}

/** What the consumer verifies with: the secret itself (`whsec_…`), or the public key (`whpk_…`). */
export function verificationKeyOf({ scheme, key }: SigningSecret): string {
  if (scheme === 'v1') return `whsec_${key.toString('base64')}`
  return `whpk_${publicBytesOf(privateKeyOf(key)).toString('base64')}`
}

/** The value of the header `webhook-signature`: one signature per secret, in their order. */
export function signatureHeader(
  message: { id: string; timestamp: number; body: string },
  secrets: readonly SigningSecret[],
): string {
  const signed = Buffer.from(`${message.id}.${message.timestamp}.${message.body}`)
  return secrets.map((secret) => `${secret.scheme},${signatureOf(secret, signed)}`).join(' ')
}

function signatureOf({ scheme, key }: SigningSecret, signed: Buffer): string {
  if (scheme === 'v1') return createHmac('sha256', key).update(signed).digest('base64')
  return sign(null, signed, privateKeyOf(key)).toString('base64')
}

/** What stands before the 32 bytes of a seed in PKCS #8 (RFC 8410, section 7). */
const ed25519Prefix = Buffer.from('302e020100300506032b657004220420', 'hex')

function privateKeyOf(seed: Buffer): KeyObject {
  return createPrivateKey({
    key: Buffer.concat([ed25519Prefix, seed]),
    format: 'der',
    type: 'pkcs8',
  })
}

/** The last 32 bytes of a public key's DER form are the key (RFC 8410, section 4). */
function publicBytesOf(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-keyBytes)
}
