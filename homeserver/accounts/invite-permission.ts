/**
 * Whom a user lets invite them: the account data of the specification, and the finer lists of MSC4155. Rules are
 * compiled once and kept until the account data changes.
 */
import { compileGlob } from '../../spec/glob.ts'
import { isUserId, serverOfUser, type UserId } from '../../spec/ids.ts'
import { arrayAt, type JsonObject } from '../../spec/json.ts'
import type { Tail } from '../stream/log.ts'
import { createTailedCache } from '../stream/tailed-cache.ts'

/** `ignore`: the inviter does not learn that the invite is never shown. */
export type InviteVerdict = 'allow' | 'ignore' | 'block'
/** What becomes of an invite by a user. */
export type InvitePermission = (inviter: UserId) => InviteVerdict

/** Types under which clients keep `default_action`, the newest first. */
const plainTypes = ['m.invite_permission_config', 'org.matrix.msc4380.invite_permission_config']
const listsType = 'org.matrix.msc4155.invite_permission_config'
const types: ReadonlySet<string> = new Set([...plainTypes, listsType])

export const invitePermissionLimits = {
  /** Users whose rules are kept. */
  usersMax: 20_000,
  /** Globs of one list that are looked at. */
  globsMax: 10_000,
  /** Longest glob: that of a user id. */
  globChars: 255,
} as const

interface Needs {
  readonly tail: Pick<Tail, 'subscribe'>
  readonly find: (user: UserId, type: string) => Promise<JsonObject | undefined>
  /** Whose invites nobody can refuse. */
  readonly alwaysWelcome?: UserId | undefined
}

/**
 * Answers the rules of a user of this server.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#invite-permission}
 */
export function createInvitePermissions({
  tail,
  find,
  alwaysWelcome,
}: Needs): (user: UserId) => Promise<InvitePermission> {
  const permissions = createTailedCache<InvitePermission>({
    tail,
    name: 'invite_permissions',
    entriesMax: invitePermissionLimits.usersMax,
    load: async (key) => {
      const permission = isUserId(key) ? await load(key) : allowAll
      if (permission === allowAll) return allowAll
      return (inviter) => (inviter === alwaysWelcome ? 'allow' : permission(inviter))
    },
    staleBy: (row) => (row.kind === 'accountData' && types.has(row.ref) ? row.user : undefined),
  })

  async function load(user: UserId): Promise<InvitePermission> {
    for (const type of plainTypes) {
      if ((await find(user, type))?.['default_action'] === 'block') return blockAll
    }
    const lists = await find(user, listsType)
    return lists === undefined ? allowAll : permissionOf(lists)
  }

  return (user) => permissions.get(user)
}

const allowAll: InvitePermission = () => 'allow'
const blockAll: InvitePermission = () => 'block'

/** Rules for users come before rules for servers; in each, what allows comes first and what blocks last. */
export function permissionOf(lists: JsonObject): InvitePermission {
  const rulesFor = (kind: 'users' | 'servers') =>
    [
      { verdict: 'allow', matches: anyOf(lists, `allowed_${kind}`) },
      { verdict: 'ignore', matches: anyOf(lists, `ignored_${kind}`) },
      { verdict: 'block', matches: anyOf(lists, `blocked_${kind}`) },
    ] as const
  const [users, servers] = [rulesFor('users'), rulesFor('servers')]
  return (inviter) => {
    const server = serverOfUser(inviter)
    const rule =
      users.find(({ matches }) => matches(inviter)) ??
      servers.find(({ matches }) => matches(server))
    return rule?.verdict ?? 'allow'
  }
}

/** Does one of a list's globs match; what is no glob is passed over. */
function anyOf(lists: JsonObject, field: string): (text: string) => boolean {
  const { globsMax, globChars } = invitePermissionLimits
  const globs = (arrayAt(lists, field) ?? [])
    .slice(0, globsMax)
    .filter((glob) => typeof glob === 'string' && glob !== '' && glob.length <= globChars)
    .map((glob) => compileGlob(String(glob)))
  return (text) => globs.some((matches) => matches(text))
}
