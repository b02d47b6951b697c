import { readFile } from 'node:fs/promises'
import { messageOf, UsageError } from './stop.ts'

/**
 * The API key: as given, else from the file that was named, else from the environment, else from
 * the file that a Payonce started here leaves behind.
 */
export async function readApiKey(source: ApiKeySource): Promise<string> {
  const key = await findKey(source)
  if (/^[\x21-\x7e]+$/.test(key)) return key
  throw new UsageError('the API key is empty or holds characters that no key has')
}

export type ApiKeySource = {
  key: string | undefined
  keyFile: string | undefined
  environmentKey: string | undefined
  defaultKeyFile: string
}

async function findKey(source: ApiKeySource): Promise<string> {
  if (source.key !== undefined) return source.key.trim()
  if (source.keyFile !== undefined)
    return readKeyFile(source.keyFile, `--key-file ${source.keyFile}`)
  if (source.environmentKey !== undefined) return source.environmentKey.trim()
  const tried = `no API key is given, and ${source.defaultKeyFile}`
  return readKeyFile(source.defaultKeyFile, `${tried} (where a Payonce started here leaves one)`)
}

async function readKeyFile(path: string, what: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    throw new UsageError(`${what} cannot be read: ${messageOf(error)}; give --key-file FILE`)
  }
}
