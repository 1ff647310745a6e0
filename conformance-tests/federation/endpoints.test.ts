import { describe, expect, it } from 'vitest'
import * as events from '../../spec/api/federation/events.ts'
import * as keys from '../../spec/api/federation/keys.ts'
import * as media from '../../spec/api/federation/media.ts'
import * as membership from '../../spec/api/federation/membership.ts'
import * as queries from '../../spec/api/federation/queries.ts'
import * as transactions from '../../spec/api/federation/transactions.ts'
import { server } from '../harness/fixtures.ts'
import { createPeer } from '../harness/peer.ts'

const samples: Readonly<Record<string, string>> = {
  roomId: `!nowhere:${server.name}`,
  userId: `@nobody:${server.name}`,
  serverName: server.name,
  eventId: '$nothing',
}

/** Older spellings of a path, after the first, may be missing elsewhere. */
const routes = [keys, transactions, events, membership, queries, media]
  .flatMap((module) => Object.values(module))
  .flatMap((one) =>
    typeof one === 'object' && 'paths' in one
      ? [[one.name, one.method, one.paths[0]] as const]
      : [],
  )

describe('every endpoint between servers that this project declares', () => {
  it.each(routes)('is served: %s, %s %s', async (_, method, path) => {
    await using peer = await createPeer()
    const uri = path.replace(/\{(\w+)\}/g, (__: string, name: string) =>
      encodeURIComponent(samples[name] ?? 'nothing'),
    )
    const answer = await peer.ask(server, method, uri, method === 'GET' ? undefined : {})
    expect(answer.body['errcode']).not.toBe('M_UNRECOGNIZED')
  })
})
