import type { Operation } from '../history.ts'
import type { Recorder } from '../harness/recorder.ts'
import type { Tenant } from '../harness/database.ts'
import type { ApiConnection, Reply, Request } from './http.ts'

/** Makes calls and writes into the history what was asked and what came back. */
export type Caller = {
  /** Undefined where nobody knows what became of it. `leaves` cuts the connection after the body. */
  call(call: Call): Promise<Reply | undefined>
}

export type Call = {
  client: string
  tenant: Tenant
  operation: Operation
  api: ApiConnection
  leaves?: boolean
}

export function createCaller(recorder: Recorder): Caller {
  let calls = 0

  async function call({
    client,
    tenant,
    operation,
    api,
    leaves,
  }: Call): Promise<Reply | undefined> {
    const call = ++calls
    const request = toRequest(operation, tenant)
    recorder.append({ type: 'invoked', call, client, tenant: tenant.id, operation })
    try {
      const reply = await (leaves ? api.askAndLeave(request) : api.ask(request))
      recorder.append({ type: 'answered', call, ...toAnswer(reply) })
      return reply
    } catch (error) {
      recorder.append({ type: 'lost', call, reason: reasonOf(error) })
      return undefined
    }
  }

  return { call }
}

function toRequest(operation: Operation, { apiKey }: Tenant): Request {
  const authorization = `Bearer ${apiKey}`
  switch (operation.kind) {
    case 'post': {
      const path =
        operation.route === '/v1/transfers'
          ? operation.route
          : operation.route.replace(':id', operation.target)
      return {
        method: 'POST',
        path,
        headers: {
          authorization,
          'content-type': 'application/json',
          'idempotency-key': operation.key,
        },
        body: JSON.stringify(operation.body),
      }
    }
    case 'cancel':
      return {
        method: 'POST',
        path: `/v1/transfers/${operation.target}/cancel`,
        headers: { authorization },
      }
    case 'read':
      return {
        method: 'GET',
        path: `/v1/transfers/${operation.target}`,
        headers: { authorization },
      }
  }
}

function toAnswer({ status, bodyHash, body, isReplay, payonceStatus }: Reply) {
  return {
    status,
    bodyHash,
    ...stringMember('id', body.id),
    ...stringMember('transferStatus', status < 300 ? body.status : undefined),
    ...stringMember('code', body.code),
    isReplay,
    ...stringMember('payonceStatus', payonceStatus),
  }
}

function stringMember<Name extends string>(
  name: Name,
  value: unknown,
): { [name in Name]?: string } {
  return typeof value === 'string' ? ({ [name]: value } as { [name in Name]: string }) : {}
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code: unknown = Reflect.get(error, 'code')
  return typeof code === 'string' ? `${code}: ${error.message}` : error.message
}
