import { describe, expect, it } from 'vitest'
import { clientEndpoints } from '../../spec/api/index.ts'
import { server } from '../harness/fixtures.ts'
import { ask } from '../harness/http.ts'
import { underTestIsSynapse } from '../harness/settings.ts'

/** Well-formed things that nobody knows: a served endpoint refuses them in its own way. */
const samples: Readonly<Record<string, string>> = {
  roomId: `!nowhere:${server.name}`,
  roomIdOrAlias: `!nowhere:${server.name}`,
  roomAlias: `#nowhere:${server.name}`,
  userId: `@nobody:${server.name}`,
  eventId: '$nothing',
  receiptType: 'm.read',
  kind: 'override',
  serverName: server.name,
}

/** What Synapse serves by its earlier name only. */
const absentFromSynapse: readonly string[] = ['slidingSync']

/** Older spellings of a path, after the first, may be missing elsewhere. */
const routes = clientEndpoints
  .filter(({ name }) => !(underTestIsSynapse && absentFromSynapse.includes(name)))
  .map(({ name, method, paths: [path] }) => [name, method, path] as const)

describe('every endpoint that the specification of this project declares', () => {
  it.each(routes)('is served: %s, %s %s', async (_, method, path) => {
    const where = path.replace(/\{(\w+)\}/g, (__, name: string) =>
      encodeURIComponent(samples[name] ?? 'nothing'),
    )
    const answer = await ask(
      server.clientUrl,
      method,
      where,
      method === 'PUT' || method === 'POST' ? { raw: '{}' } : {},
    )
    expect(answer.body['errcode']).not.toBe('M_UNRECOGNIZED')
    expect(answer.status).toBeLessThan(500)
  })
})
