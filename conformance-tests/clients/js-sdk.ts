/** matrix-js-sdk as a person's client: signed in, syncing, and asked what it shows. */
import * as sdk from 'matrix-js-sdk'
import { type Logger, logger } from 'matrix-js-sdk/lib/logger.js'
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
const nothing = () => {}
const silent: Logger = {
  ...{ trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing },
  getChild: () => silent,
}

/** A signed-in client that syncs. */
export interface Person extends AsyncDisposable {
  readonly client: sdk.MatrixClient
  readonly userId: string
  readonly deviceId: string
  /** Waits until the client itself shows that the user has this membership of the room. */
  isIn(roomId: string, membership: string): Promise<void>
  /** Is a message with this text in what the client shows of the room. */
  shows(roomId: string, text: string): boolean
  /** Texts of the room's messages by this user, in the order in which the client shows them. */
  textsFrom(roomId: string, sender: string): Promise<string[]>
}

/** The recovery key that a person has written down: the devices of one person share it. */
export interface Notebook {
  recoveryKey?: Uint8Array<ArrayBuffer>
}

interface PersonOptions {
  readonly encryption?: boolean
  /** Show threads beside the main timeline. */
  readonly threads?: boolean
  readonly notebook?: Notebook
}

/** Registers a user and starts syncing. */
export async function createPerson(
  server: Homeserver,
  name: string,
  options: PersonOptions = {},
): Promise<Person> {
  const session = await sdk.createClient({ baseUrl: server.clientUrl }).registerRequest({
    username: unique(name),
    password,
    auth: { type: 'm.login.dummy' },
  })
  return await personOf(server, session, options)
}

/** Signs a user in on one more device. */
export async function signInAgain(
  server: Homeserver,
  user: string,
  options: PersonOptions = {},
): Promise<Person> {
  const session = await sdk.createClient({ baseUrl: server.clientUrl }).loginRequest({
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user },
    password,
  })
  return await personOf(server, session, options)
}

async function personOf(
  server: Homeserver,
  session: { user_id: string; access_token?: string; device_id?: string },
  { encryption, notebook, threads = false }: PersonOptions,
): Promise<Person> {
  const deviceId = session.device_id ?? ''
  const client = sdk.createClient({
    baseUrl: server.clientUrl,
    userId: session.user_id,
    accessToken: session.access_token ?? '',
    deviceId,
    logger: silent,
    verificationMethods: ['m.sas.v1'],
    ...(notebook && { cryptoCallbacks: callbacksOver(notebook) }),
  })
  if (encryption) await client.initRustCrypto({ useIndexedDB: false })
  await client.startClient({
    ...{ initialSyncLimit: timelineLimit, lazyLoadMembers: true },
    threadSupport: threads,
  })
  await until(`${session.user_id} syncs`, () => client.isInitialSyncComplete())

  return {
    client,
    userId: session.user_id,
    deviceId,
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

function callbacksOver(notebook: Notebook): NonNullable<sdk.ICreateClientOpts['cryptoCallbacks']> {
  return {
    getSecretStorageKey: async ({ keys }) => {
      const [id] = Object.keys(keys)
      return id && notebook.recoveryKey ? [id, notebook.recoveryKey] : null
    },
    cacheSecretStorageKey: (_id, _info, key) => {
      notebook.recoveryKey = key
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
