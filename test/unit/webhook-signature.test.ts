import { createPublicKey, verify, type KeyObject } from 'node:crypto'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import { Webhook as SvixWebhook } from 'svix'
import { describe, expect, it } from 'vitest'
import {
  newSecret,
  signatureHeader,
  verificationKeyOf,
  type SigningSecret,
} from '@payonce/core/webhooks/signature'

/** The examples that Standard Webhooks publishes: https://www.standardwebhooks.com */
const published = {
  message: {
    id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    timestamp: 1_614_265_330,
    body: '{"test": 2432232314}',
  },
  symmetric: {
    secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  },
  asymmetric: {
    signingKey:
      'whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==',
    publicKey: 'whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=',
    signature:
      'v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==',
  },
}

const hmacSecret: SigningSecret = { scheme: 'v1', key: bytesOf(published.symmetric.secret) }
/** A signing key is the seed and the public key: the seed is what signs. */
const ed25519Secret: SigningSecret = {
  scheme: 'v1a',
  key: bytesOf(published.asymmetric.signingKey).subarray(0, 32),
}

type Message = Parameters<typeof signatureHeader>[0]

/** What consumers use: each refuses by throwing, and only one of them gives the payload back. */
const libraries: readonly (readonly [name: string, verifier: (secret: string) => Verifier])[] = [
  ['standardwebhooks', (secret) => new StandardWebhook(secret)],
  ['svix', (secret) => new SvixWebhook(secret)],
]

type Verifier = {
  verify(body: string, headers: Record<string, string>): unknown
  sign(id: string, timestamp: Date, body: string): string
}

function bytesOf(key: string): Buffer {
  return Buffer.from(key.slice(key.indexOf('_') + 1), 'base64')
}

/** A message of now: the libraries refuse what is older than five minutes. */
function freshMessage(): Message {
  return {
    id: 'evt_01a20ccd84f970008000000000000004',
    timestamp: Math.floor(Date.now() / 1_000),
    body: '{"id":"evt_01a20ccd84f970008000000000000004","data":{"description":"größer 😀"}}',
  }
}

function headersOf({ id, timestamp }: Message, signature: string): Record<string, string> {
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signature,
  }
}

/** The key that a consumer makes of `whpk_…`, by the form of RFC 8410. */
function publicKeyOf(text: string): KeyObject {
  const prefix = Buffer.from('302a300506032b6570032100', 'hex')
  return createPublicKey({
    key: Buffer.concat([prefix, bytesOf(text)]),
    format: 'der',
    type: 'spki',
  })
}

function isSignedBy({ id, timestamp, body }: Message, header: string, publicKey: string): boolean {
  const signed = Buffer.from(`${id}.${timestamp}.${body}`)
  const signature = Buffer.from(header.replace(/^v1a,/, ''), 'base64')
  return verify(null, signed, publicKeyOf(publicKey), signature)
}

describe('a signature by HMAC', () => {
  it('is the published one for the published message', () => {
    expect(signatureHeader(published.message, [hmacSecret])).toBe(published.symmetric.signature)
  })

  it.each(libraries)('is what %s makes of the published message', (_, verifierOf) => {
    const { id, timestamp, body } = published.message
    const made = verifierOf(published.symmetric.secret).sign(id, new Date(timestamp * 1_000), body)
    expect(made).toBe(published.symmetric.signature)
  })

  it('is verified by a secret that is written as it was published', () => {
    expect(verificationKeyOf(hmacSecret)).toBe(published.symmetric.secret)
  })

  it.each(libraries)('of now is verified by %s', (_, verifierOf) => {
    const secret = newSecret('v1')
    const message = freshMessage()
    const headers = headersOf(message, signatureHeader(message, [secret]))
    verifierOf(verificationKeyOf(secret)).verify(message.body, headers)
  })

  it('gives the payload to whoever asks for it', () => {
    const secret = newSecret('v1')
    const message = freshMessage()
    const headers = headersOf(message, signatureHeader(message, [secret]))
    const webhook = new StandardWebhook(verificationKeyOf(secret))
    expect(webhook.verify(message.body, headers)).toEqual(JSON.parse(message.body))
  })

  it.each(libraries)('is refused by %s when anything was changed', (_, verifierOf) => {
    const secret = newSecret('v1')
    const message = freshMessage()
    const signature = signatureHeader(message, [secret])
    const verifier = verifierOf(verificationKeyOf(secret))
    const changed: readonly Message[] = [
      { ...message, body: `${message.body} ` },
      { ...message, body: message.body.replace('größer', 'grösser') },
      { ...message, body: '' },
      { ...message, id: 'evt_01a20ccd84f970008000000000000005' },
      { ...message, timestamp: message.timestamp + 1 },
      { ...message, timestamp: message.timestamp - 1 },
    ]
    for (const one of changed) {
      expect(() => verifier.verify(one.body, headersOf(one, signature))).toThrow(
        'No matching signature found',
      )
    }
  })

  it.each(libraries)('is refused by %s under another secret', (_, verifierOf) => {
    const message = freshMessage()
    const headers = headersOf(message, signatureHeader(message, [newSecret('v1')]))
    const verifier = verifierOf(verificationKeyOf(newSecret('v1')))
    expect(() => verifier.verify(message.body, headers)).toThrow('No matching signature found')
  })

  it.each(libraries)('is refused by %s when it is older than five minutes', (_, verifierOf) => {
    const secret = newSecret('v1')
    const message = { ...freshMessage(), timestamp: freshMessage().timestamp - 301 }
    const headers = headersOf(message, signatureHeader(message, [secret]))
    const verifier = verifierOf(verificationKeyOf(secret))
    expect(() => verifier.verify(message.body, headers)).toThrow('Message timestamp too old')
  })
})

describe('while a secret is rotated, a message', () => {
  it.each(libraries)('is verified by %s under the new and under the old one', (_, verifierOf) => {
    const [old, current, other] = [newSecret('v1'), newSecret('v1'), newSecret('v1')]
    const message = freshMessage()
    const headers = headersOf(message, signatureHeader(message, [current, old]))
    for (const secret of [current, old]) {
      verifierOf(verificationKeyOf(secret)).verify(message.body, headers)
    }
    const stranger = verifierOf(verificationKeyOf(other))
    expect(() => stranger.verify(message.body, headers)).toThrow('No matching signature found')
  })

  it.each(libraries)('is verified by %s also with a signature by ed25519', (_, verifierOf) => {
    const secret = newSecret('v1')
    const message = freshMessage()
    const header = signatureHeader(message, [newSecret('v1a'), secret])
    verifierOf(verificationKeyOf(secret)).verify(message.body, headersOf(message, header))
  })

  it('has one signature per secret, in their order, with a space between', () => {
    const header = signatureHeader(published.message, [ed25519Secret, hmacSecret])
    expect(header).toBe(`${published.asymmetric.signature} ${published.symmetric.signature}`)
  })
})

describe('a signature by ed25519', () => {
  const { publicKey, signature, signingKey } = published.asymmetric

  it('is the published one for the published message', () => {
    expect(signatureHeader(published.message, [ed25519Secret])).toBe(signature)
  })

  it('is verified by the published public key, which shows nothing of the seed', () => {
    expect(verificationKeyOf(ed25519Secret)).toBe(publicKey)
    expect(bytesOf(publicKey)).toEqual(bytesOf(signingKey).subarray(32))
    expect(isSignedBy(published.message, signature, publicKey)).toBe(true)
  })

  it('of a new secret is verified by what the consumer is given', () => {
    const secret = newSecret('v1a')
    const message = freshMessage()
    const header = signatureHeader(message, [secret])
    const key = verificationKeyOf(secret)
    expect(isSignedBy(message, header, key)).toBe(true)
    expect(isSignedBy({ ...message, body: `${message.body} ` }, header, key)).toBe(false)
    expect(isSignedBy({ ...message, id: 'evt_1' }, header, key)).toBe(false)
    expect(isSignedBy({ ...message, timestamp: message.timestamp + 1 }, header, key)).toBe(false)
    expect(isSignedBy(message, header, verificationKeyOf(newSecret('v1a')))).toBe(false)
  })
})

describe('a new secret', () => {
  it.each([
    ['v1', /^whsec_[\w+/]{43}=$/],
    ['v1a', /^whpk_[\w+/]{43}=$/],
  ] as const)('of %s has 256 bits, and is no other one', (scheme, form) => {
    const made = Array.from({ length: 100 }, () => newSecret(scheme))
    for (const secret of made) {
      expect(secret.scheme).toBe(scheme)
      expect(secret.key).toHaveLength(32)
      expect(verificationKeyOf(secret)).toMatch(form)
    }
    expect(new Set(made.map(verificationKeyOf)).size).toBe(made.length)
  })
})
