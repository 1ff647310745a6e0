import { nobodyIgnores } from '../accounts/ignorers.ts'
import { silentLogger } from '../platform/log.ts'
import type { PushGateways } from '../ports.ts'
import type { NotificationsNeeds } from './notifications.ts'

/** What pushing needs where nobody has pushers: a gateway that takes everything, one process. */
export const quietPushing = {
  pushGateways: { accepts: () => true, notify: async () => [] } satisfies PushGateways,
  processes: {
    self: 'this process',
    others: () => [],
    onChange: () => ({ [Symbol.dispose]() {} }),
  },
  settings: { includesContent: true, countsRooms: true },
  ignoredUsers: async () => new Set<never>(),
  ignorers: nobodyIgnores,
  wantsInvite: async () => true,
  logger: silentLogger,
  owns: () => true,
} satisfies Partial<NotificationsNeeds>
