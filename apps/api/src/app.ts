import { Hono } from 'hono'
import { createAcceptance } from './acceptance.ts'
import { answerErrors, answerNotFound } from './middleware/answer-errors.ts'
import { authenticate } from './middleware/authenticate.ts'
import { closeUnread } from './middleware/close-unread.ts'
import { refuseOtherMethods } from './middleware/refuse-other-methods.ts'
import { requestContext } from './middleware/request-context.ts'
import { shareWithBrowsers } from './middleware/share-with-browsers.ts'
import { accountRoutes } from './routes/accounts.ts'
import { docsRoutes } from './routes/docs.ts'
import { eventRoutes } from './routes/events.ts'
import { idempotencyKeyRoutes } from './routes/idempotency-keys.ts'
import { operationsRoutes } from './routes/operations.ts'
import { transferBatchRoutes } from './routes/transfer-batches.ts'
import { transferRoutes } from './routes/transfers.ts'
import { trialBalanceRoutes } from './routes/trial-balance.ts'
import { webhookDeliveryRoutes } from './routes/webhook-deliveries.ts'
import { webhookEndpointRoutes } from './routes/webhook-endpoints.ts'
import { webhookSecretRoutes } from './routes/webhook-secret.ts'
import type { Deps, Env } from './deps.ts'

/** The whole HTTP interface. It does no I/O until a request comes. */
export function createApp(deps: Deps): Hono<Env> {
  const app = new Hono<Env>()
  app.use(requestContext(deps))
  app.use(closeUnread())
  app.onError(answerErrors(deps))
  app.notFound(answerNotFound())
  app.use('/v1/*', shareWithBrowsers(deps))
  app.use('/v1/*', authenticate(deps))
  app.route('/', operationsRoutes(deps))
  app.route('/', docsRoutes(deps))
  app.route('/v1/accounts', accountRoutes(deps))
  app.route('/v1/idempotency-keys', idempotencyKeyRoutes(deps))
  const acceptance = createAcceptance(deps)
  app.route('/v1/transfers', transferRoutes(deps, acceptance))
  app.route('/v1/transfer-batches', transferBatchRoutes(deps, acceptance))
  app.route('/v1/trial-balance', trialBalanceRoutes(deps))
  app.route('/v1/events', eventRoutes(deps))
  app.route('/v1/webhook-deliveries', webhookDeliveryRoutes(deps))
  app.route('/v1/webhook-endpoints', webhookEndpointRoutes(deps))
  app.route('/v1/webhook-secret', webhookSecretRoutes(deps))
  refuseOtherMethods(app)
  return app
}
