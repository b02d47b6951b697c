import { ConfigError, readClientConfig } from '@payonce/core/config'
import { conformance, type Output } from './conformance.ts'

const output: Output = {
  print: (text) => process.stdout.write(text),
  tell: (text) => process.stderr.write(text),
  isTerminal: process.stderr.isTTY,
}

try {
  const { PAYONCE_API_KEY: apiKey, PAYONCE_URL: url } = readClientConfig()
  process.exitCode = await conformance(process.argv.slice(2), { apiKey, url }, output)
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  output.tell(`conformance: ${error.message}\n`)
  process.exitCode = 2
}
