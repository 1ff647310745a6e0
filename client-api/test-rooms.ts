import type { Addresses } from '../homeserver/accounts/addresses.ts'
import type { ThirdPartyNetworks } from '../homeserver/appservices/third-party.ts'
import type { Delays } from '../homeserver/delays/delays.ts'
import type { Purges } from '../homeserver/events/purges.ts'
import type { Media } from '../homeserver/media/media.ts'
import type { Previews } from '../homeserver/media/previews.ts'
import type { Notices } from '../homeserver/notices/notices.ts'
import type { ThreadSubscriptions } from '../homeserver/notifications/thread-subscriptions.ts'
import type { Spaces } from '../homeserver/rooms/hierarchy.ts'
import type { JumpToDate } from '../homeserver/rooms/jump-to-date.ts'
import type { Related } from '../homeserver/rooms/related.ts'
import type { Reports } from '../homeserver/rooms/reports.ts'
import type { Rooms } from '../homeserver/rooms/rooms.ts'
import { notFound } from '../spec/errors.ts'
import type { ClientApiNeeds } from './needs.ts'

const absent = async (): Promise<never> => {
  throw notFound('room')
}

/** For tests: an engine in which there is no room. */
export const noRooms: Rooms & JumpToDate & Related = {
  create: absent,
  upgrade: absent,
  send: absent,
  redact: absent,
  join: absent,
  knock: absent,
  leave: absent,
  invite: absent,
  inviteThirdParty: absent,
  claimInvite: absent,
  kick: absent,
  ban: absent,
  unban: absent,
  forget: absent,
  event: absent,
  state: absent,
  stateEvent: absent,
  members: absent,
  joinedMembers: absent,
  messages: absent,
  context: absent,
  eventByTime: absent,
  related: absent,
  threads: absent,
  withRelations: async (_user, list) => list,
  resolveAlias: absent,
  createAlias: absent,
  deleteAlias: absent,
  aliasesOf: absent,
  visibility: absent,
  setVisibility: absent,
  setNetworkVisibility: absent,
  publicRooms: async () => ({ chunk: [] }),
  clientEvent: () => '{}',
}

/** For tests: an engine in which there is no space. */
export const noSpaces: Spaces = { hierarchy: absent, summary: absent, forServer: absent }

/** For tests: an engine without threads. */
export const noThreads: ThreadSubscriptions = {
  get: absent,
  subscribe: absent,
  unsubscribe: absent,
  changesFor: async () => [],
  subscribers: async () => new Set(),
}

/** For tests: an engine without files. */
export const noMedia: Media = {
  sizeMax: 0,
  upload: absent,
  create: absent,
  fill: absent,
  get: absent,
  thumbnail: absent,
  keep: absent,
  measure: absent,
  read: () => {
    throw notFound('file')
  },
}

/** For tests: an engine that keeps no device asleep, lets no devices meet, and knows no syncs of old. */
export const noneOfThese: Pick<ClientApiNeeds, 'dehydratedDevices' | 'rendezvous' | 'oldSync'> = {
  dehydratedDevices: { get: absent, put: absent, delete: absent, messages: absent },
  rendezvous: { create: absent, get: absent, put: absent, delete: absent },
  oldSync: { snapshot: absent, roomSnapshot: absent, stream: absent, event: absent },
}

/** For tests: an engine that sends no mail. */
export const noAddresses: Addresses = {
  enabled: false,
  requestToken: absent,
  submitToken: async () => undefined,
  validated: async () => undefined,
  confirm: absent,
  confirmedBy: async () => undefined,
  of: async () => [],
  ownerOf: async () => undefined,
  add: absent,
  bind: absent,
  unbind: async () => false,
  delete: async () => false,
  deleteAll: async () => {},
}

/** For tests: an engine that sends nothing later. */
export const noDelays: Delays = { add: absent, act: absent, of: async () => [], get: absent }

/** For tests: an engine without other networks. */
export const noNetworks: ThirdPartyNetworks = {
  protocols: async () => ({}),
  protocol: async () => undefined,
  find: async () => [],
  meaning: async () => [],
}

/** For tests: an engine without notices. */
export const noNotices: Notices = { send: absent }

/** For tests: an engine that fetches no pages. */
export const noPreviews: Pick<Previews, 'of'> = { of: absent }

/** For tests: an engine that deletes nothing. */
export const noPurges: Purges = {
  purgeHistory: absent,
  find: async () => [],
  row: () => ({}),
  forgetRoom: absent,
  isBlocked: async () => false,
  setBlocked: absent,
}

/** For tests: an engine that takes no reports. */
export const noReports: Reports = {
  reportEvent: absent,
  reportRoom: absent,
  reportUser: absent,
  list: async () => ({ reports: [], total: 0 }),
  find: async () => undefined,
  delete: async () => false,
}
