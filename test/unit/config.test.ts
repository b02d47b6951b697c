import { describe, expect, it } from 'vitest'
import {
  ConfigError,
  readApiConfig,
  readClientConfig,
  readDatabaseConfig,
  readLocalConfig,
  readWorkerConfig,
} from '@payonce/core/config'

const DATABASE_URL = 'postgres://payonce:secret-of-the-database@db.example/payonce'

const readers = {
  readApiConfig,
  readClientConfig,
  readDatabaseConfig,
  readLocalConfig,
  readWorkerConfig,
}
type Reader = keyof typeof readers
type Variables = Readonly<Record<string, string>>

/** What a reader needs, so that only the variable in question is at fault. */
const needed: Record<Reader, Variables> = {
  readApiConfig: { DATABASE_URL },
  readClientConfig: {},
  readDatabaseConfig: { DATABASE_URL },
  readLocalConfig: {},
  readWorkerConfig: { DATABASE_URL },
}

function complaint(reader: Reader, variables: Variables): string {
  try {
    readers[reader](variables)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as ConfigError).message
  }
  throw new Error('the environment was accepted')
}

describe('a variable that cannot be used is named', () => {
  it.each<[Reader, string, string]>([
    ['readApiConfig', 'DATABASE_URL', 'mysql://db.example/payonce'],
    ['readApiConfig', 'DATABASE_URL', 'no url'],
    ['readApiConfig', 'REDIS_URL', 'http://redis.example'],
    ['readApiConfig', 'REDIS_URL', 'localhost:6379'],
    ['readApiConfig', 'REDIS_URL', 'redis://one.example,two.example'],
    ['readApiConfig', 'REDIS_URL', 'redis://one.example,'],
    ['readApiConfig', 'QUEUE_NAMESPACE', 'Payonce Queue'],
    ['readApiConfig', 'QUEUE_NAMESPACE', '1queue'],
    ['readApiConfig', 'QUEUE_NAMESPACE', 'q'.repeat(41)],
    ['readApiConfig', 'QUEUE_NAMESPACE', 'queue;drop schema public'],
    ['readApiConfig', 'LOG_LEVEL', 'loud'],
    ['readApiConfig', 'PORT', '65536'],
    ['readApiConfig', 'PORT', '-1'],
    ['readApiConfig', 'PORT', '80.5'],
    ['readApiConfig', 'PORT', 'http'],
    ['readApiConfig', 'PUBLIC_URL', 'ftp://pay.example'],
    ['readApiConfig', 'API_CONNECTIONS', '1'],
    ['readApiConfig', 'API_CONNECTIONS', '501'],
    ['readApiConfig', 'METRICS_TOKEN', 'too short'],
    ['readWorkerConfig', 'DATABASE_URL', 'file:///payonce'],
    ['readWorkerConfig', 'REDIS_URL', 'redis.example'],
    ['readWorkerConfig', 'WORKER_CONCURRENCY', '0'],
    ['readWorkerConfig', 'WORKER_CONCURRENCY', 'many'],
    ['readWorkerConfig', 'WORKER_CONNECTIONS', '1'],
    ['readWorkerConfig', 'WORKER_PORT', '70000'],
    ['readLocalConfig', 'PORT', '70000'],
    ['readLocalConfig', 'LOG_LEVEL', 'INFO'],
    ['readDatabaseConfig', 'DATABASE_URL', 'postgresql'],
    ['readDatabaseConfig', 'APP_DATABASE_ROLE', 'r'.repeat(64)],
    ['readClientConfig', 'PAYONCE_URL', 'pay.example'],
  ])('by %s: %s=%s', (reader, name, value) => {
    const message = complaint(reader, { ...needed[reader], [name]: value })
    expect(message).toContain(`${name}: `)
    expect(message.match(/[A-Z]+_?[A-Z_]*:/g)).toEqual([`${name}:`])
  })

  it('together with all others that cannot be used', () => {
    const message = complaint('readApiConfig', { PORT: 'x', LOG_LEVEL: 'y', API_CONNECTIONS: 'z' })
    for (const name of ['DATABASE_URL', 'PORT', 'LOG_LEVEL', 'API_CONNECTIONS']) {
      expect(message).toContain(name)
    }
  })

  it('without its value, which may hold a password', () => {
    const message = complaint('readApiConfig', {
      DATABASE_URL: 'mysql://payonce:canary@db.example/payonce',
      REDIS_URL: 'http://:canary@redis.example',
      QUEUE_NAMESPACE: 'CANARY canary',
      LOG_LEVEL: 'canary',
      PORT: 'canary',
      METRICS_TOKEN: 'canary',
    })
    expect(message).not.toMatch(/canary/i)
  })
})

describe('a variable that is needed', () => {
  it.each<Reader>(['readApiConfig', 'readDatabaseConfig', 'readWorkerConfig'])(
    'is named where it is missing, by %s',
    (reader) => {
      expect(complaint(reader, {})).toContain('DATABASE_URL is not set')
    },
  )

  it.each(['', ' ', '\t', '\n'])('counts as missing where it is blank (%j)', (blank) => {
    expect(complaint('readApiConfig', { DATABASE_URL: blank })).toContain('DATABASE_URL is not set')
  })
})

describe('a variable that is left out', () => {
  it('has a default', () => {
    expect(readApiConfig({ DATABASE_URL })).toMatchObject({
      LOG_LEVEL: 'info',
      HOST: '0.0.0.0',
      PORT: 3000,
      QUEUE_NAMESPACE: 'payonce_queue',
      API_CONNECTIONS: 10,
    })
    expect(readWorkerConfig({ DATABASE_URL })).toMatchObject({
      WORKER_CONCURRENCY: 200,
      WORKER_CONNECTIONS: 5,
    })
    expect(readLocalConfig({})).toMatchObject({
      LOG_LEVEL: 'warn',
      HOST: '127.0.0.1',
      PORT: 3000,
      DATA_DIR: './.payonce',
    })
  })

  it('or is just not there', () => {
    expect(readApiConfig({ DATABASE_URL })).not.toHaveProperty('REDIS_URL')
    expect(readWorkerConfig({ DATABASE_URL })).not.toHaveProperty('WORKER_PORT')
    expect(readClientConfig({})).toEqual({})
  })

  /** Port 0 would be any free port: nobody would find the server. */
  it.each(['', ' ', '\t'])('is left out also where it is blank (%j)', (blank) => {
    const variables = { DATABASE_URL, REDIS_URL: blank, PORT: blank, METRICS_TOKEN: blank }
    expect(readApiConfig(variables)).toEqual(readApiConfig({ DATABASE_URL }))
  })
})

describe('a usable environment', () => {
  it('is read, numbers as numbers', () => {
    const config = readApiConfig({
      DATABASE_URL,
      REDIS_URL: 'rediss://redis.example:6380/1',
      PORT: '8080',
      PUBLIC_URL: 'https://pay.example',
      METRICS_TOKEN: '0123456789abcdef',
      LOG_LEVEL: 'debug',
    })
    expect(config).toMatchObject({
      DATABASE_URL,
      REDIS_URL: 'rediss://redis.example:6380/1',
      PORT: 8080,
      PUBLIC_URL: 'https://pay.example',
      METRICS_TOKEN: '0123456789abcdef',
      LOG_LEVEL: 'debug',
    })
  })

  it('may say postgres or postgresql', () => {
    const url = DATABASE_URL.replace('postgres:', 'postgresql:')
    expect(readDatabaseConfig({ DATABASE_URL: url }).DATABASE_URL).toBe(url)
  })

  it('may choose any free port by 0', () => {
    expect(readLocalConfig({ PORT: '0' }).PORT).toBe(0)
  })

  it('may hold variables of others, which are left alone', () => {
    expect(readLocalConfig({ PATH: '/bin', HOME: '/nowhere' })).toEqual(readLocalConfig({}))
  })
})
