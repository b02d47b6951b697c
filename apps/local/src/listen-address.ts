import { listenOnce } from './loopback-port.ts'

/** Where we were told to listen cannot be used. The message says why and what to do. */
export class ListenAddressError extends Error {
  override readonly name = 'ListenAddressError'
}

/**
 * The port to listen on: the wanted one, or any free one for 0. Looked at before anything is
 * started; another program may still take it until we do listen. Throws `ListenAddressError`.
 */
export async function choosePort(host: string, wanted: number): Promise<number> {
  try {
    return await listenOnce(wanted, host)
  } catch (cause) {
    throw cannotListen(cause, host, wanted)
  }
}

/** The same error with advice, whether it was met here or by the API itself. */
export function cannotListen(error: unknown, host: string, port: number): unknown {
  if (!(error instanceof Error && 'syscall' in error && 'code' in error)) return error
  const why = reasons[String(error.code)]?.(host, port)
  return why === undefined ? error : new ListenAddressError(why, { cause: error })
}

const reasons: Record<string, (host: string, port: number) => string> = {
  EADDRINUSE: (host, port) =>
    `Port ${port} on ${host} is in use by another program. ` +
    `Stop that program, or choose another port: PORT=${port === 65_535 ? 3000 : port + 1} npm start`,
  EACCES: (host, port) =>
    `Port ${port} on ${host} may not be used by this user. Choose one above 1023: PORT=3000 npm start`,
  EADDRNOTAVAIL: (host) =>
    `${host} is no address of this computer. Leave HOST out, or set it to 127.0.0.1 or 0.0.0.0.`,
  ENOTFOUND: unknownHost,
  // What a machine without a network says of the same name.
  EAI_AGAIN: unknownHost,
}

function unknownHost(host: string): string {
  return `HOST ${host} is not known. Leave it out, or set it to 127.0.0.1 or 0.0.0.0.`
}
