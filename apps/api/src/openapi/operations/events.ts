import type { Operation } from '../operation.ts'

export const eventOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/v1/events',
    operationId: 'listEvents',
    tag: 'Events',
    summary: 'Follow the feed of events',
    description:
      'Every event of the tenant, oldest first, in one order for ever. Keep the id of the last one and send it as `after`: then you miss none and get none twice, since an event is shown only when nothing can come before it any more. That is mostly within a second of its cause.',
    access: 'read',
    query: 'events',
    answers: [{ status: 200, description: 'The next events.', content: { schema: 'EventList' } }],
    problems: [],
  },
  {
    method: 'get',
    path: '/v1/events/:id',
    operationId: 'getEvent',
    tag: 'Events',
    summary: 'Read an event',
    description: 'The event as it stands in the feed and in its deliveries.',
    access: 'read',
    pathParameters: {
      id: {
        description: 'The id of the event.',
        id: 'event',
        example: 'evt_0190f0e0d80070008000000000000007',
      },
    },
    answers: [{ status: 200, description: 'The event.', content: { schema: 'Event' } }],
    problems: ['not_found'],
  },
]
