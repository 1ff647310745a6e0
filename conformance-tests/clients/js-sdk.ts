/** matrix-js-sdk as a person's client: signed in, syncing, and asked what it shows. */
import * as sdk from 'matrix-js-sdk'
import { logger } from 'matrix-js-sdk/lib/logger.js'
import { password, unique } from '../harness/client.ts'
import type { Homeserver } from '../harness/server.ts'

const waitTimeoutMs = 60_000
const pollMs = 200
/** Small enough that a busy room is shown in pieces, which the client has to put together. */
const timelineLimit = 30

// The library expects what Node has from version 22 on.
if (!('withResolvers' in Promise)) {
  Object.defineProperty(Promise, 'withResolvers', {
    value() {
      const settle: { resolve?: unknown; reject?: unknown } = {}
      const promise = new Promise((resolve, reject) => Object.assign(settle, { resolve, reject }))
      return { promise, ...settle }
    },
  })
}

Reflect.apply(Reflect.get(logger, 'disableAll') ?? (() => {}), logger, [])

/** A signed-in client that syncs. */
export interface Person extends AsyncDisposable {
  readonly client: sdk.MatrixClient
  readonly userId: string
  /** Waits until the client itself shows that the user has this membership of the room. */
  isIn(roomId: string, membership: string): Promise<void>
  /** Is a message with this text in what the client shows of the room. */
  shows(roomId: string, text: string): boolean
  /** Texts of the room's messages by this user, in the order in which the client shows them. */
  textsFrom(roomId: string, sender: string): Promise<string[]>
}

/** Registers a user and starts syncing. */
export async function createPerson(
  server: Homeserver,
  name: string,
  options: { readonly encryption?: boolean } = {},
): Promise<Person> {
  const fresh = sdk.createClient({ baseUrl: server.clientUrl })
  const session = await fresh.registerRequest({
    username: unique(name),
    password,
    auth: { type: 'm.login.dummy' },
  })
  const client = sdk.createClient({
    baseUrl: server.clientUrl,
    userId: session.user_id,
    accessToken: session.access_token ?? '',
    deviceId: session.device_id ?? '',
  })
  if (options.encryption) await client.initRustCrypto({ useIndexedDB: false })
  await client.startClient({ initialSyncLimit: timelineLimit, lazyLoadMembers: true })
  await until(`${session.user_id} syncs`, () => client.isInitialSyncComplete())

  return {
    client,
    userId: session.user_id,
    isIn: (roomId, membership) =>
      until(
        `${membership} of ${session.user_id}`,
        () => client.getRoom(roomId)?.getMyMembership() === membership,
      ),
    shows: (roomId, text) =>
      client
        .getRoom(roomId)
        ?.getLiveTimeline()
        .getEvents()
        .some((event) => event.getContent()['body'] === text) ?? false,
    async textsFrom(roomId, sender) {
      const room = client.getRoom(roomId)
      if (!room) return []
      // What a busy sync left out is fetched by paging back, as a client does when its user scrolls.
      for (let pages = 0; pages < 40 && room.oldState.paginationToken !== null; pages++) {
        await client.scrollback(room, 100)
      }
      return room
        .getLiveTimeline()
        .getEvents()
        .filter((event) => event.getSender() === sender && event.getType() === 'm.room.message')
        .map((event) => String(event.getContent()['body']))
    },
    async [Symbol.asyncDispose]() {
      client.stopClient()
      await client.clearStores().catch(() => undefined)
    },
  }
}

/** Waits until a client shows something; it says what it waited for when it never comes. */
export async function until(what: string, test: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + waitTimeoutMs
  while (!(await test())) {
    if (performance.now() > deadline) throw new Error(`it never came: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}
