/** Two servers of this border over TLS on loopback, with fakes for the engine; for tests. */

import type { RequestListener } from 'node:http'
import https from 'node:https'
import type { Database } from '../homeserver/database/database.ts'
import { systemClock } from '../homeserver/platform/clock.ts'
import { silentLogger } from '../homeserver/platform/log.ts'
import { systemRandom } from '../homeserver/platform/random.ts'
import { signingKeyFromSeed } from '../spec/crypto/ed25519.ts'
import { parseServerName } from '../spec/ids.ts'
import { createInbound, type InboundNeeds } from './inbound.ts'
import { createOutbound, type OutboundSettings } from './outbound.ts'
import type { FederationLimits } from './server.ts'

/** Certificates for the listener, and who signed them. */
export interface Authority {
  readonly cert: string
  issue(hosts: readonly string[]): { readonly cert: string; readonly key: string }
}

export type Side = Awaited<ReturnType<typeof createSide>>

export const testLimits: FederationLimits = {
  bodyBytesMax: 1_048_576,
  jsonDepthMax: 50,
  perServerMax: 10,
  totalMax: 100,
  waitMs: 3_000,
}

/** A method that no test has given a meaning. */
const unexpected = (name: string) => async (): Promise<never> => {
  throw new Error(`unexpected call of ${name}`)
}

const noPartialRooms: InboundNeeds['events']['partial'] = {
  view: async () => ({ has: () => false, completedAt: () => undefined }),
  isPartial: async () => false,
  serversOf: async () => new Set(),
  find: async () => undefined,
  all: async () => [],
  complete: async () => true,
  onBegun() {},
}

type FakeEvents = InboundNeeds['events']

/** An engine that knows nothing but what the test says. */
export function fakeEvents(parts: Partial<FakeEvents> = {}): FakeEvents {
  return {
    get: async () => new Map(),
    rulesOf: async () => undefined,
    currentEntry: async () => undefined,
    serversIn: async () => new Set(),
    serverMaySee: async () => true,
    stateAt: async () => new Map(),
    authChain: async () => [],
    backfillFrom: async () => [],
    missingBetween: async () => [],
    closestTo: async () => undefined,
    partial: noPartialRooms,
    receive: async () => new Map(),
    ...parts,
  }
}

export async function createSide(
  db: Database,
  authority: Authority,
  seed: number,
  parts: Partial<InboundNeeds> & {
    allowedNetworks?: readonly string[]
    peering?: OutboundSettings['peering']
  } = {},
) {
  let listener: RequestListener = (_, res) => res.end()
  const tls = authority.issue(['127.0.0.1', 'localhost'])
  const server = https.createServer(tls, (req, res) => listener(req, res))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const serverName = parseServerName(`127.0.0.1:${port}`)
  const key = signingKeyFromSeed(`ed25519:${seed}`, new Uint8Array(32).fill(seed))
  const clock = systemClock
  const log = silentLogger
  const outbound = await createOutbound({
    settings: {
      serverName,
      key,
      allowedNetworks: parts.allowedNetworks ?? ['127.0.0.0/8'],
      authorities: [authority.cert],
      peering: parts.peering ?? { allow: [], deny: [] },
    },
    db,
    clock,
    log,
  })
  listener = createInbound({
    serverName,
    key,
    version: '0.0.0',
    limits: testLimits,
    isTrustedProxy: () => true,
    outbound,
    events: fakeEvents(),
    rooms: { resolveAlias: unexpected('resolveAlias'), publicRooms: unexpected('publicRooms') },
    thirdParty: {
      exchangeInvite: unexpected('exchangeInvite'),
      boundInvites: unexpected('boundInvites'),
    },
    spaces: { forServer: unexpected('forServer') },
    openid: { userOf: async () => undefined },
    membership: {
      makeJoin: unexpected('makeJoin'),
      sendJoin: unexpected('sendJoin'),
      makeLeave: unexpected('makeLeave'),
      sendLeave: unexpected('sendLeave'),
      makeKnock: unexpected('makeKnock'),
      sendKnock: unexpected('sendKnock'),
      receiveInvite: unexpected('receiveInvite'),
      receiveRemoval: async () => undefined,
    },
    profiles: { get: unexpected('profile') },
    encryption: {
      localDevicesOf: unexpected('localDevicesOf'),
      localQuery: unexpected('localQuery'),
      localClaim: unexpected('localClaim'),
    },
    edus: {
      typing: unexpected('typing'),
      receipts: unexpected('receipts'),
      presence: unexpected('presence'),
      toDevice: unexpected('toDevice'),
      deviceList: unexpected('deviceList'),
      signingKeys: unexpected('signingKeys'),
    },
    clock,
    random: systemRandom,
    log,
    ...parts,
  })
  return {
    serverName,
    key,
    outbound,
    server,
    async [Symbol.asyncDispose]() {
      await outbound[Symbol.asyncDispose]()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
