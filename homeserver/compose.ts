/**
 * The house plan: every slice of the engine, built once, each from those above it. Read it top to bottom. Nothing
 * runs before `start`: the loaders of the log's tail are set while the slices are built.
 */
import type { SigningKey } from '../spec/crypto/ed25519.ts'
import { makeUserId } from '../spec/ids.ts'
import { createAccountData } from './accounts/account-data.ts'
import { createAccounts } from './accounts/accounts.ts'
import { createAddresses } from './accounts/addresses.ts'
import { createCarryOver } from './accounts/carry-over.ts'
import { createIgnorers } from './accounts/ignorers.ts'
import { createInteractiveAuth } from './accounts/interactive-auth.ts'
import { createLoginTokens } from './accounts/login-tokens.ts'
import { createMailer } from './accounts/mailer.ts'
import { createOpenid } from './accounts/openid.ts'
import { createProfiles, type Profiles } from './accounts/profiles.ts'
import { createSessions } from './accounts/sessions.ts'
import { loadAppservices } from './appservices/appservices.ts'
import { createAsking } from './appservices/asking.ts'
import { createTelling } from './appservices/telling.ts'
import { createThirdPartyNetworks } from './appservices/third-party.ts'
import { type Config, mediaFolder } from './config.ts'
import type { Database } from './database/database.ts'
import { createDelays } from './delays/delays.ts'
import { createDehydratedDevices } from './encryption/dehydrated-devices.ts'
import { createDeviceLists } from './encryption/device-lists.ts'
import { createEncryption } from './encryption/encryption.ts'
import { createIntroductions } from './encryption/introductions.ts'
import { createKeyBackup } from './encryption/key-backup.ts'
import { createRendezvous } from './encryption/rendezvous.ts'
import { createToDevice } from './encryption/to-device.ts'
import { receiveAtOwner } from './events/at-owner.ts'
import { createEvents } from './events/create-events.ts'
import { createPartialRooms } from './events/partial-rooms.ts'
import { createJobs } from './jobs/jobs.ts'
import { createMedia } from './media/media.ts'
import { createPreviews } from './media/previews.ts'
import { createNotices, noticesOwner } from './notices/notices.ts'
import { createNotifications } from './notifications/notifications.ts'
import { createPushRules } from './notifications/push-rules.ts'
import { createThreadSubscriptions } from './notifications/thread-subscriptions.ts'
import type { Clock } from './platform/clock.ts'
import type { Logger } from './platform/log.ts'
import type { Random } from './platform/random.ts'
import type { Identity, KeyRing, PushGateways, Remote, RemoteMedia } from './ports.ts'
import { createPresence } from './presence/presence.ts'
import { createReceipts } from './receipts/receipts.ts'
import { createTyping } from './receipts/typing.ts'
import { atOwner } from './rooms/at-owner.ts'
import { refuseBlocked, refuseBlockedInvites } from './rooms/blocked.ts'
import { createRooms } from './rooms/create-rooms.ts'
import { createRoomDeletions } from './rooms/deletion.ts'
import { readStrippedState } from './rooms/invite-state.ts'
import { membershipRowOf } from './rooms/membership-row.ts'
import { createMemberships } from './rooms/memberships.ts'
import { handshakesAtOwner } from './rooms/remote-at-owner.ts'
import { createRemoteMembership } from './rooms/remote-membership.ts'
import { createReports } from './rooms/reports.ts'
import { createSeenProfiles } from './rooms/seen-profiles.ts'
import { createSearch } from './search/search.ts'
import { createOwnedMethods } from './stream/owned-methods.ts'
import { createStream } from './stream/stream.ts'
import { createOldSync } from './sync/old-sync.ts'
import { createSync } from './sync/sync.ts'

/** What the house stands on. */
export interface HomeserverNeeds {
  readonly config: Config
  readonly databaseUrl: string
  readonly db: Database
  readonly signingKey: SigningKey
  /** What the processes of this instance know of each other. */
  readonly internalSecret: string
  readonly remote: Remote
  readonly keys: KeyRing
  readonly identity: Identity
  readonly remoteMedia: RemoteMedia
  readonly pushGateways: PushGateways
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

/** The engine, built and not yet running. */
export type Homeserver = Awaited<ReturnType<typeof createHomeserver>>

/** Builds the slices; `start` lets them run, disposal ends them in the opposite order. */
export async function createHomeserver(needs: HomeserverNeeds) {
  const { config, db, signingKey: key, remote, keys, clock, random } = needs
  const serverName = config.serverName
  const appservices = loadAppservices({ files: config.appserviceFiles, serverName })
  const asking = createAsking({ appservices, clock })
  const stream = await createStream({ ...needs, settings: streamSettings(needs) })
  const { writer, tail, processes, bus } = stream
  const base = { db, clock, random, serverName, remote, tail, log: writer }
  const { self } = processes

  const jobs = createJobs({ ...base, writer, log: needs.log })
  const pushRules = createPushRules(base)
  const noticesUser = makeUserId(config.noticesUser, serverName)
  const accountData = createAccountData({ ...base, pushRules, alwaysWelcome: noticesUser })
  const partial = createPartialRooms(base)
  const memberships = createMemberships({ ...base, partial })
  const owned = createOwnedMethods({ ...stream, clock })
  const localEvents = createEvents({
    ...base,
    ...{
      key,
      keys,
      writer,
      log: needs.log,
      membershipRow: membershipRowOf,
      processes,
      jobs,
      partial,
    },
    ...{ redactionRetentionMs: config.redactionRetentionMs },
    ignoredUsers: accountData.ignoredUsers,
  })
  const events = { ...localEvents, receive: receiveAtOwner(localEvents, owned) }
  const deviceLists = createDeviceLists({ ...base, memberships, partial })
  const { accessTokenMs: refreshableTokenMs } = config
  const sessions = createSessions({ ...base, deviceLists, refreshableTokenMs })
  const { deviceNames } = sessions
  const encryption = createEncryption({
    ...{ ...base, deviceLists, memberships, deviceNames },
    logger: needs.log,
  })
  const toDevice = createToDevice({ ...base, deviceNames })
  const keyBackup = createKeyBackup(base)
  const dehydratedDevices = createDehydratedDevices({ ...base, encryption, toDevice, sessions })

  // Profiles and rooms tell each other: a name goes into rooms, and member events are filled from profiles.
  const profiles: Profiles = createProfiles({
    ...base,
    propagate: (user, profile) => rooms.propagateProfile(user, profile),
  })
  const { invitePermission } = accountData
  const { defaultRoomVersion } = config
  const owns = (room: string) => processes.ownerOf(room) === undefined
  const localRooms = createRooms({
    ...{ ...base, key, keys, events, memberships, profileOf: profiles.local },
    ...{
      defaultRoomVersion,
      fasterJoins: config.fasterJoins,
      aliasOwner: appservices.exclusiveAliasOwner,
      logger: needs.log,
    },
    makesAlias: asking.makesAlias,
    ignoredUsers: accountData.ignoredUsers,
    ...{ identity: needs.identity, owns, invitePermission, noticesUser },
    ...{ carrySettings: createCarryOver({ accountData, pushRules }) },
  })
  const { purges } = events
  const rooms = refuseBlocked(atOwner(localRooms, owned, { events, memberships }), purges)
  const membershipNeeds = { ...base, key, keys, events, memberships, invitePermission }
  const localHandshakes = createRemoteMembership(membershipNeeds)
  const handshakes = handshakesAtOwner(localHandshakes, owned, events)
  const remoteMembership = refuseBlockedInvites(handshakes, purges)
  const deletions = createRoomDeletions({
    ...{ ...base, jobs, memberships, purges },
    leave: (user, room) => rooms.leave({ user, guest: false, admin: false }, room),
  })
  const accounts = createAccounts({
    ...base,
    jobs,
    deviceLists,
    exclusiveOwner: (user) =>
      user === noticesUser ? noticesOwner : appservices.exclusiveOwner(user),
    leaveRooms: rooms.leaveAll,
  })
  const mailer = createMailer({ ...base, log: needs.log, settings: mailSettings(config) })
  const addresses = createAddresses({ ...base, mailer, identity: needs.identity })
  const interactiveAuth = createInteractiveAuth(base)
  const openid = createOpenid(base)
  const media = createMedia({
    ...{ ...base, remoteMedia: needs.remoteMedia },
    ...{ folder: mediaFolder(config), sizeMax: config.uploadSizeBytes },
  })
  const previews = createPreviews({ ...base, media, settings: previewSettings(config) })

  const receipts = createReceipts({ ...base, memberships, events, accountData })
  const typing = createTyping({ ...base, bus, memberships })
  const presence = createPresence({ ...base, bus, memberships, self, enabled: config.presence })
  const introductions = createIntroductions({
    ...{ ...base, memberships, owns, deviceNames, logger: needs.log },
    localDevicesOf: encryption.localDevicesOf,
  })
  const threadSubscriptions = createThreadSubscriptions({ ...base, events, rooms })
  const notifications = createNotifications({
    ...base,
    threadSubscribers: threadSubscriptions.subscribers,
    ...{ pushRules, receipts, events, memberships, owns, processes, writer, logger: needs.log },
    ...{ pushGateways: needs.pushGateways, ignoredUsers: accountData.ignoredUsers },
    ignorers: createIgnorers(base),
    wantsInvite: async (user, sender) =>
      (await accountData.invitePermission(user))(sender) === 'allow',
    settings: { includesContent: config.pushContent, countsRooms: config.pushBadge === 'rooms' },
  })
  const slices = {
    thirdParty: rooms,
    ...{
      accounts,
      addresses,
      sessions,
      interactiveAuth,
      openid,
      profiles,
      accountData,
      appservices,
    },
    ...{ encryption, deviceLists, toDevice, keyBackup, dehydratedDevices },
    rendezvous: createRendezvous(base),
    loginTokens: createLoginTokens(base),
    ...{ events, rooms, spaces: rooms.spaces, memberships, remoteMembership },
    ...{ purges, deletions, media, previews },
    reports: createReports({ ...base, events, memberships, rooms }),
    ...{ receipts, typing, presence, notifications, threadSubscriptions },
  }
  const delays = createDelays({
    ...{ ...base, ...slices, writer, log: needs.log },
    ...{ delayMaxMs: config.delayMaxMs, perUserMax: config.delaysPerUser },
  })
  const telling = createTelling({
    ...{ ...base, ...slices, asking, processes, methods: owned, log: needs.log },
    strippedState: (room, user) => readStrippedState(db, room, user),
  })
  const search = createSearch({
    ...{ ...base, events, memberships, owns, profileOf: profiles.local, logger: needs.log },
    rooms: { ...rooms, preload: localRooms.preload },
    seenProfiles: createSeenProfiles({ db, events, memberships }),
  })
  const { noticesName: displayName } = config
  const notices = createNotices({
    ...{ ...base, ...slices, methods: owned, sender: noticesUser, displayName },
  })
  const sync = createSync({ ...base, ...slices, log: needs.log })
  const oldSync = createOldSync({ ...base, ...slices, sync })

  return {
    ...slices,
    sync,
    delays,
    notices,
    search,
    asking,
    telling,
    networks: createThirdPartyNetworks({ appservices, asking }),
    oldSync,
    stream,
    async start(): Promise<void> {
      await stream.start()
      jobs.start()
      events.completion.start()
      encryption.listRefresh.start()
      delays.start()
      telling.start()
      search.start()
      notifications.start()
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await events.completion[Symbol.asyncDispose]()
      await search[Symbol.asyncDispose]()
      await telling[Symbol.asyncDispose]()
      await asking[Symbol.asyncDispose]()
      await delays[Symbol.asyncDispose]()
      await jobs[Symbol.asyncDispose]()
      await notifications[Symbol.asyncDispose]()
      introductions[Symbol.dispose]()
      encryption.listRefresh[Symbol.dispose]()
      await presence[Symbol.asyncDispose]()
      typing[Symbol.dispose]()
      await previews[Symbol.asyncDispose]()
      await sessions[Symbol.asyncDispose]()
      await stream[Symbol.asyncDispose]()
    },
  }
}

function mailSettings(config: Config) {
  return { smtpUrl: config.smtpUrl, from: config.mailFrom, baseUrl: config.publicBaseUrl }
}

function previewSettings(config: Config) {
  return {
    enabled: config.urlPreviews,
    allowedNetworks: config.urlPreviewAllowPrivate,
    deniedHosts: config.urlPreviewDeny,
  }
}

function streamSettings({ config, databaseUrl, internalSecret }: HomeserverNeeds) {
  return {
    databaseUrl,
    secret: internalSecret,
    peerHost: config.internalHost,
    peerPort: config.internalPort,
    logRetentionMs: config.logRetentionMs,
    ...(config.redisUrl !== '' && { redisUrl: config.redisUrl }),
  }
}
