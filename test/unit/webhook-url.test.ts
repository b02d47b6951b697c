import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseNetworks } from '@payonce/core/networks'
import { MAX_URL_LENGTH, judgeUrl, mayConnectTo } from '@payonce/core/webhooks/url'

/** What became of a URL: 'allowed', or why it was refused. */
function judgementOf(url: string, networks = ''): string {
  const judged = judgeUrl(url, parseNetworks(networks))
  return judged.result === 'allowed' ? 'allowed' : judged.reason
}

/** Special ranges of IPv4 (the registry of RFC 6890), by their first and last addresses. */
const specialIpv4: readonly (readonly [range: string, first: string, last: string])[] = [
  ['this network', '0.0.0.0', '0.255.255.255'],
  ['private 10/8', '10.0.0.0', '10.255.255.255'],
  ['carrier-grade NAT', '100.64.0.0', '100.127.255.255'],
  ['loopback', '127.0.0.0', '127.255.255.255'],
  ['link-local', '169.254.0.0', '169.254.255.255'],
  ['private 172.16/12', '172.16.0.0', '172.31.255.255'],
  ['protocol assignments', '192.0.0.0', '192.0.0.255'],
  ['documentation 1', '192.0.2.0', '192.0.2.255'],
  ['6to4 relays', '192.88.99.0', '192.88.99.255'],
  ['private 192.168/16', '192.168.0.0', '192.168.255.255'],
  ['benchmarks', '198.18.0.0', '198.19.255.255'],
  ['documentation 2', '198.51.100.0', '198.51.100.255'],
  ['documentation 3', '203.0.113.0', '203.0.113.255'],
  ['multicast', '224.0.0.0', '239.255.255.255'],
  ['reserved, and broadcast', '240.0.0.0', '255.255.255.255'],
  ['the metadata of clouds', '169.254.169.254', '169.254.170.2'],
  ['the own host of a machine in a cloud', '168.63.129.16', '168.63.129.16'],
  [
    'the resolver of Azure is not special, its neighbours are',
    '100.100.100.200',
    '100.100.100.200',
  ],
]

const specialIpv6: readonly (readonly [range: string, first: string, last: string])[] = [
  ['unspecified', '::', '::'],
  ['loopback', '::1', '0:0:0:0:0:0:0:1'],
  ['IPv4-compatible', '::127.0.0.1', '::ffff:ffff'],
  ['IPv4-mapped', '::ffff:127.0.0.1', '::ffff:7f00:1'],
  ['IPv4-mapped, of a public address', '::ffff:8.8.8.8', '::ffff:808:808'],
  ['IPv4-translated', '::ffff:0:127.0.0.1', '::ffff:0:7f00:1'],
  ['NAT64', '64:ff9b::7f00:1', '64:ff9b::10.0.0.1'],
  ['NAT64, of a public address', '64:ff9b::8.8.8.8', '64:ff9b::808:808'],
  ['NAT64 of a site', '64:ff9b:1::', '64:ff9b:1:ffff:ffff:ffff:ffff:ffff'],
  ['discard only', '100::', '100::ffff:ffff:ffff:ffff'],
  ['Teredo', '2001::', '2001:0:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['benchmarks', '2001:2::', '2001:2:0:ffff:ffff:ffff:ffff:ffff'],
  ['ORCHID', '2001:10::', '2001:1f:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['ORCHIDv2', '2001:20::', '2001:2f:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['documentation', '2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['6to4', '2002::', '2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['6to4 of loopback and of a private address', '2002:7f00:1::', '2002:a00:1::1'],
  ['6to4 of a public address', '2002:808:808::', '2002:808:808::1'],
  ['newer documentation', '3fff::', '3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['what nobody was given', '4000::', '5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['segment routing', '5f00::', '5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['unique-local', 'fc00::', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['the metadata of a cloud', 'fd00:ec2::254', 'fd20:ce::254'],
  ['link-local', 'fe80::', 'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['site-local', 'fec0::', 'feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['multicast', 'ff00::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
]

/** Public addresses, most of them next to a special range. */
const publicIpv4 = [
  '1.0.0.0',
  '1.1.1.1',
  '8.8.8.8',
  '9.255.255.255',
  '11.0.0.0',
  '100.63.255.255',
  '100.128.0.0',
  '126.255.255.255',
  '128.0.0.0',
  '169.253.255.255',
  '169.255.0.0',
  '172.15.255.255',
  '172.32.0.0',
  '192.0.3.0',
  '192.167.255.255',
  '192.169.0.0',
  '198.17.255.255',
  '198.20.0.0',
  '203.0.114.0',
  '223.255.255.255',
]
const publicIpv6 = [
  '2001:4860:4860::8888',
  '2001:db7:ffff::1',
  '2001:db9::1',
  '2003::1',
  '2606:4700:4700::1111',
  '2a00:1450:4001:82a::200e',
  '3ffe::1',
]

describe('B31 a webhook URL is refused, and it is said why, when', () => {
  it.each([
    ['it is http', 'http://shop.example.com/hook', 'it is not https'],
    ['it is http to a public address', 'http://8.8.8.8/hook', 'it is not https'],
    ['it is ftp', 'ftp://shop.example.com/hook', 'it is not https'],
    ['it is a file', 'file:///etc/passwd', 'it is not https'],
    ['it is JavaScript', 'javascript:alert(1)', 'it is not https'],
    ['it is data', 'data:text/plain,hello', 'it is not https'],
    ['it is gopher', 'gopher://shop.example.com:443/1', 'it is not https'],
    ['it is a web socket', 'wss://shop.example.com/hook', 'it is not https'],
    ['it is https in a blob', 'blob:https://shop.example.com/1', 'it is not https'],
    ['it is empty', '', 'it is no URL'],
    ['it is a path', '/hook', 'it is no URL'],
    ['it has no scheme', '//shop.example.com/hook', 'it is no URL'],
    ['it has no scheme and no slashes', 'shop.example.com/hook', 'it is no URL'],
    ['it has no host', 'https://', 'it is no URL'],
    ['its port is none', 'https://shop.example.com:http/', 'it is no URL'],
    ['its port is too large', 'https://shop.example.com:65536/', 'it is no URL'],
    ['its address has a zone', 'https://[fe80::1%25eth0]/', 'it is no URL'],
    ['its address has five parts', 'https://1.2.3.4.5/', 'it is no URL'],
    ['its address is out of bounds', 'https://256.1.1.1/', 'it is no URL'],
    ['it names a user', 'https://alice@shop.example.com/', 'it names a user'],
    ['it has a password', 'https://alice:secret@shop.example.com/', 'it names a user'],
    ['it has a password alone', 'https://:secret@shop.example.com/', 'it names a user'],
    ['its user is empty', 'https://@shop.example.com/', 'it names a user'],
    ['its user and password are empty', 'https://:@shop.example.com/', 'it names a user'],
    ['its user looks like a host', 'https://shop.example.com@8.8.8.8/', 'it names a user'],
    ['it names a user without slashes', 'https:@shop.example.com/', 'it names a user'],
    ['it has a fragment', 'https://shop.example.com/hook#here', 'it has a fragment'],
    ['its fragment is empty', 'https://shop.example.com/hook#', 'it has a fragment'],
    ['its port is that of http', 'https://shop.example.com:80/', 'its port is not 443 or 8443'],
    ['its port is that of ssh', 'https://shop.example.com:22/', 'its port is not 443 or 8443'],
    ['its port is that of Redis', 'https://8.8.8.8:6379/', 'its port is not 443 or 8443'],
    ['its port is 0', 'https://shop.example.com:0/', 'its port is not 443 or 8443'],
    ['its port is the last one', 'https://shop.example.com:65535/', 'its port is not 443 or 8443'],
  ])('%s', (_, url, reason) => {
    expect(judgementOf(url)).toBe(reason)
  })

  it.each([
    ['a tab', 'https://local\thost/'],
    ['a line feed', 'https://shop.example.com/ho\nok'],
    ['a carriage return', 'https://shop.example.com/ho\rok'],
    ['a line feed behind it', 'https://shop.example.com/\n'],
    ['a space before it', ' https://shop.example.com/'],
    ['a space inside', 'https://shop.example.com/my hook'],
    ['a space that does not break', 'https://shop.example.com/my\u00a0hook'],
    ['a separator of lines', 'https://shop.example.com/my\u2028hook'],
    ['a byte order mark', '\ufeffhttps://shop.example.com/'],
    ['a NUL', 'https://shop.example.com/\u0000'],
    ['an escape', 'https://shop.example.com/\u001b[31m'],
    ['a control of C1', 'https://shop.example.com/\u0085'],
    ['a backslash in its path', 'https://shop.example.com\\hook'],
    ['backslashes for slashes', 'https:\\\\shop.example.com/'],
    ['a backslash that hides a host', 'https://127.0.0.1\\@shop.example.com/'],
  ])('there is %s', (_, url) => {
    expect(judgementOf(url)).toBe('it has spaces, controls or backslashes')
  })

  it('it is longer than what everybody can carry', () => {
    const atMost = 'https://shop.example.com/'.padEnd(MAX_URL_LENGTH, 'x')
    expect(judgementOf(atMost)).toBe('allowed')
    expect(judgementOf(`${atMost}x`)).toBe('it is longer than 2048 characters')
  })

  it.each([
    ['localhost', 'localhost'],
    ['with a trailing dot', 'localhost.'],
    ['in upper case', 'LOCALHOST'],
    ['in mixed case, with a port', 'LocalHost:8443'],
    ['with an escape', '%6cocalhost'],
    ['in circles', 'ⓛⓞⓒⓐⓛⓗⓞⓢⓣ'],
    ['in full width', 'ｌｏｃａｌｈｏｓｔ'],
    ['with a soft hyphen', 'local\u00adhost'],
    ['with an ideographic full stop', 'localhost\u3002'],
  ])('its host is localhost, %s', (_, host) => {
    expect(judgementOf(`https://${host}/hook`)).toBe('its address is not public')
  })

  it.each([
    ['under localhost', 'shop.localhost'],
    ['under localhost, with a dot', 'shop.LOCALHOST.'],
    ['localhost with two dots', 'localhost..'],
    ['an address with two dots', '127.0.0.1..'],
    ['with an empty label', 'shop..example.com'],
    ['with an empty label in front', '.example.com'],
    ['what Debian calls ::1', 'ip6-localhost'],
    ['what Debian calls it besides', 'ip6-loopback'],
    ['what Red Hat calls 127.0.0.1', 'localhost.localdomain'],
    ['what Red Hat calls ::1', 'localhost6.localdomain6'],
    ['a single label', 'postgres'],
    ['a single label with a dot', 'redis.'],
    ['the host of a container', 'host.docker.internal'],
    ['the metadata of a cloud', 'metadata.google.internal'],
    ['a service of a cluster', 'payonce.default.svc.cluster.local'],
    ['found by multicast', 'printer.local'],
    ['of an intranet', 'books.intranet'],
    ['of a company', 'books.corp'],
    ['of a home', 'router.home'],
    ['of a home network', 'router.home.arpa'],
    ['of a LAN', 'router.lan'],
    ['for tests', 'shop.test'],
    ['invalid', 'shop.invalid'],
    ['an example', 'shop.example'],
    ['hidden', 'expyuzz4wqqyqhjn.onion'],
  ])('its host is %s', (_, host) => {
    expect(judgementOf(`https://${host}/hook`)).toBe('its host is not public')
  })

  it.each([
    ['decimal', '2130706433'],
    ['hexadecimal', '0x7f000001'],
    ['hexadecimal and short', '0x7f.1'],
    ['octal', '0177.0.0.1'],
    ['octal as a whole', '017700000001'],
    ['short', '127.1'],
    ['short, in three parts', '127.0.1'],
    ['mixed', '0x7f.0.0.01'],
    ['with zeros before', '00000177.0.0.1'],
    ['with a trailing dot', '127.0.0.1.'],
    ['zero', '0'],
    ['in circles', '①②⑦.⓪.⓪.①'],
    ['in full width', '１２７.０.０.１'],
    ['with full-width dots', '127．0．0．1'],
    ['with ideographic dots', '127。0。0。1'],
    ['with escapes', '%31%32%37.0.0.1'],
    ['decimal and link-local', '2852039166'],
    ['hexadecimal and private', '0xa.0.0.1'],
  ])('its address is %s', (_, host) => {
    expect(judgementOf(`https://${host}/hook`)).toBe('its address is not public')
  })

  it.each(specialIpv4)('its address is special: %s', (_, ...addresses) => {
    for (const address of addresses) {
      expect(judgementOf(`https://${address}/hook`)).toBe('its address is not public')
    }
  })

  it.each(specialIpv6)('its address is special: %s of IPv6', (_, ...addresses) => {
    for (const address of addresses) {
      expect(judgementOf(`https://[${address}]/hook`)).toBe('its address is not public')
    }
  })
})

describe('a webhook URL is allowed when', () => {
  it.each([
    ['it leads to a host of the world', 'https://shop.example.com/hook'],
    ['it is in upper case', 'HTTPS://SHOP.PAYONCE.DEV/'],
    ['it has a query with an @', 'https://shop.example.com?mail=alice@example.com'],
    ['its path has an @', 'https://shop.example.com/@alice'],
    ['its port is named', 'https://shop.example.com:443/hook'],
    ['its port is 8443', 'https://shop.example.com:8443/hook'],
    ['its host has a trailing dot', 'https://shop.example.com./hook'],
    ['its host is international', 'https://bücher.example.com/'],
    ['its host is in Cyrillic', 'https://пример.рф/'],
    ['its host is in punycode', 'https://xn--e1afmkfd.xn--p1ai/'],
    ['its host only sounds private', 'https://localhost.example.com/'],
    ['its host begins with digits', 'https://127.0.0.1.example.com/'],
    ['its last label only ends like a private one', 'https://shop.mylocal/'],
    ['its path has letters of the world', 'https://shop.example.com/größe'],
  ])('%s', (_, url) => {
    expect(judgementOf(url)).toBe('allowed')
  })

  it.each([...publicIpv4, ...publicIpv6.map((address) => `[${address}]`)])(
    'its address is public: %s',
    (host) => {
      expect(judgementOf(`https://${host}/hook`)).toBe('allowed')
      expect(judgementOf(`https://${host}:8443/hook`)).toBe('allowed')
    },
  )

  it('it is then given as it was understood', () => {
    const judged = judgeUrl('https://SHOP.example.com:443/a/../hook', [])
    expect(judged).toEqual({ result: 'allowed', url: new URL('https://shop.example.com/hook') })
  })
})

describe('a connection is made', () => {
  it.each(specialIpv4)('B32 to no special address: %s', (_, ...addresses) => {
    for (const address of addresses) expect(mayConnectTo(address, [])).toBe(false)
  })

  it.each(specialIpv6)('B32 to no special address: %s of IPv6', (_, ...addresses) => {
    for (const address of addresses) expect(mayConnectTo(address, [])).toBe(false)
  })

  it.each([...publicIpv4, ...publicIpv6])('to the public address %s', (address) => {
    expect(mayConnectTo(address, [])).toBe(true)
  })

  it.each([
    '',
    'localhost',
    'shop.example.com',
    '256.1.1.1',
    '1.2.3.4.5',
    ':::',
    '[::1]',
    '::1%lo',
  ])('not to %j, which is no address of the world', (text) => {
    expect(mayConnectTo(text, parseNetworks('10.0.0.0/8'))).toBe(false)
  })

  it('to no address of IPv6 that carries one of IPv4, whatever that is', () => {
    fc.assert(
      fc.property(fc.ipV4(), (ipv4) => {
        const [high, low] = wordsOf(ipv4)
        const carriers = [
          `::${ipv4}`,
          `::ffff:${ipv4}`,
          `::ffff:0:${ipv4}`,
          `64:ff9b::${ipv4}`,
          `64:ff9b:1::${ipv4}`,
          `2002:${high}:${low}::1`,
          `2001:0:${high}:${low}::1`,
        ]
        for (const carrier of carriers) {
          expect(mayConnectTo(carrier, [])).toBe(false)
          expect(judgementOf(`https://[${carrier}]/`)).toBe('its address is not public')
        }
      }),
    )
  })

  it('wherever a URL with this address is allowed, and nowhere else', () => {
    const literals = fc.oneof(
      fc.ipV4().map((address) => [address, address] as const),
      fc.ipV6().map((address) => [address, `[${address}]`] as const),
    )
    fc.assert(
      fc.property(literals, ([address, host]) => {
        expect(mayConnectTo(address, [])).toBe(judgementOf(`https://${host}/`) === 'allowed')
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('an address of IPv4', () => {
  it('is judged alike in each of its spellings', () => {
    fc.assert(
      fc.property(fc.ipV4(), (dotted) => {
        const [a = 0, b = 0, c = 0, d = 0] = dotted.split('.').map(Number)
        const number = ((a * 256 + b) * 256 + c) * 256 + d
        const spellings = [
          String(number),
          `0x${number.toString(16)}`,
          `0${number.toString(8)}`,
          `${a}.${number % 2 ** 24}`,
          `0x${a.toString(16)}.0${b.toString(8)}.${c * 256 + d}`,
          `${dotted}.`,
          dotted.replaceAll('.', '。'),
          dotted.replaceAll(/\d/g, (digit) => String.fromCodePoint(0xff10 + Number(digit))),
        ]
        const judgement = judgementOf(`https://${dotted}/`)
        for (const host of spellings) expect(judgementOf(`https://${host}/`)).toBe(judgement)
      }),
    )
  })
})

describe('in a network that an operator allows', () => {
  const networks = '127.0.0.0/8, ::1/128,10.1.0.0/16'

  it.each([
    'http://127.0.0.1/hook',
    'http://127.0.0.1:3000/hook',
    'http://127.255.255.255:1/hook',
    'https://127.0.0.1/hook',
    'https://127.0.0.1:6000/hook',
    'http://localhost:4000/hook',
    'http://LOCALHOST.:4000/hook',
    'http://2130706433:4000/hook',
    'http://[::1]:4000/hook',
    'http://10.1.255.255:8080/hook',
  ])('%s is allowed, though it is plain or at another port', (url) => {
    expect(judgementOf(url, networks)).toBe('allowed')
  })

  it.each([
    ['another private network', 'https://10.2.0.1/hook', 'its address is not public'],
    ['plain http to another private network', 'http://10.2.0.1/hook', 'it is not https'],
    ['an address that carries an allowed one', 'http://[::ffff:127.0.0.1]/hook', 'it is not https'],
    ['the same by https', 'https://[::ffff:7f00:1]/hook', 'its address is not public'],
    ['plain http to a public address', 'http://8.8.8.8/hook', 'it is not https'],
    ['plain http to a name', 'http://shop.example.com/hook', 'it is not https'],
    ['plain http to a name with digits', 'http://127.0.0.1.example.com/', 'it is not https'],
    ['another port of a name', 'https://example.com:3000/', 'its port is not 443 or 8443'],
    ['another port of an address', 'https://8.8.8.8:3000/', 'its port is not 443 or 8443'],
    ['a name under localhost', 'https://shop.localhost/hook', 'its host is not public'],
    ['a user', 'http://alice@127.0.0.1/hook', 'it names a user'],
    ['a fragment', 'http://127.0.0.1/hook#here', 'it has a fragment'],
    ['another scheme', 'ftp://127.0.0.1/hook', 'it is not https'],
    ['a tab', 'http://127.0\t.0.1/hook', 'it has spaces, controls or backslashes'],
  ])('%s is refused as everywhere', (_, url, reason) => {
    expect(judgementOf(url, networks)).toBe(reason)
  })

  it('localhost is refused when it is not in it', () => {
    expect(judgementOf('https://localhost/hook', '10.0.0.0/8')).toBe('its address is not public')
  })

  it('connections are made to its addresses, to public ones, and to no other', () => {
    const allowed = parseNetworks(networks)
    for (const address of ['127.0.0.1', '127.9.9.9', '::1', '10.1.0.1', '8.8.8.8', '2003::1']) {
      expect(mayConnectTo(address, allowed)).toBe(true)
    }
    for (const address of ['10.0.255.255', '10.2.0.0', '::2', '::ffff:127.0.0.1', '192.168.0.1']) {
      expect(mayConnectTo(address, allowed)).toBe(false)
    }
  })
})

describe('a list of networks', () => {
  it('is read with spaces, and with nothing between commas', () => {
    const read = parseNetworks(' 127.0.0.0/8 ,, ::1/128 ')
    expect(read.map(([address, bits]) => `${address.toString()}/${bits}`)).toEqual([
      '127.0.0.0/8',
      '::1/128',
    ])
  })

  it('may be empty', () => {
    expect(parseNetworks('')).toEqual([])
  })

  it.each(['127.0.0.1', 'localhost/8', '10.0.0.0/33', '::1/129', '10.0.0.0/8;::1/128', '*'])(
    'is refused as a whole for %j',
    (text) => {
      expect(() => parseNetworks(`127.0.0.0/8,${text}`)).toThrow(/ipaddr/)
    },
  )
})

/** The two words of an address of IPv4, in hexadecimal digits. */
function wordsOf(ipv4: string): [high: string, low: string] {
  const [a = 0, b = 0, c = 0, d = 0] = ipv4.split('.').map(Number)
  return [(a * 256 + b).toString(16), (c * 256 + d).toString(16)]
}

describe('a host', () => {
  it('is refused where its ASCII form is longer than a name can be', () => {
    const written = `https://${'漢'.repeat(70)}.example.com/`
    for (const url of [
      written,
      `https://${'a'.repeat(64)}.com/`,
      `https://${'a.'.repeat(127)}com/`,
    ]) {
      expect(judgeUrl(url, [])).toEqual({ result: 'refused', reason: 'its host is too long' })
    }
    expect(judgeUrl(`https://${'a'.repeat(63)}.com/`, []).result).toBe('allowed')
  })
})
