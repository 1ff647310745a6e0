/**
 * Owns the push rules of users. A change is a row of the log (kind accountData, ref m.push_rules), because clients
 * get their rules as account data. {@link https://spec.matrix.org/v1.19/client-server-api/#push-rules}
 */
import { MatrixError } from '../../spec/errors.ts'
import { isUserId, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import {
  deleteRule,
  mergeRules,
  noPushRules,
  type PushAction,
  type PushRuleBody,
  type PushRuleName,
  type PushRulePlace,
  type PushRuleset,
  putRule,
  setRuleActions,
  setRuleEnabled,
  type UserPushRules,
  userPushRulesSchema,
} from '../../spec/push/rules.ts'
import type { Database } from '../database/database.ts'
import type { LogWriter, Tail } from '../stream/log.ts'
import { refusal } from '../stream/settled.ts'
import { createTailedCache } from '../stream/tailed-cache.ts'
import * as queries from './queries.ts'

export interface PushRules {
  /** Changes whenever somebody's rules do. */
  readonly version: number
  /** Whose rules changed since a version; undefined when that is too long ago. */
  changedSince(version: number): readonly UserId[] | undefined
  /** All rules that hold for a user; the same object until they change. */
  ruleset(user: UserId): Promise<PushRuleset>
  /** The rulesets of those of these users who have other than the predefined rules. */
  customized(users: readonly UserId[]): Promise<ReadonlyMap<UserId, PushRuleset>>
  /** Content of the account data m.push_rules, with the position of its last change (0: never). */
  accountData(user: UserId): Promise<{ readonly content: JsonObject; readonly position: number }>
  put(user: UserId, name: PushRuleName, body: PushRuleBody, place?: PushRulePlace): Promise<void>
  delete(user: UserId, name: PushRuleName): Promise<void>
  setEnabled(user: UserId, name: PushRuleName, enabled: boolean): Promise<void>
  setActions(user: UserId, name: PushRuleName, actions: readonly PushAction[]): Promise<void>
}

interface Stored {
  readonly user: UserPushRules
  readonly ruleset: PushRuleset
  readonly position: number
}

const usersMax = 20_000
const attemptsMax = 5
/** Changes remembered, for whoever wants to know whether they concern them. */
const changesMax = 1_000

export function createPushRules(needs: {
  db: Database
  log: Pick<LogWriter, 'write'>
  tail: Pick<Tail, 'subscribe'>
}): PushRules {
  const { db, log } = needs
  const cache = createTailedCache<Stored>({
    tail: needs.tail,
    name: 'push_rules',
    entriesMax: usersMax,
    load,
    staleBy: (row) =>
      row.kind === 'accountData' && row.ref === 'm.push_rules' ? row.user : undefined,
  })

  const customizers = createCustomizers(needs)

  async function load(key: string): Promise<Stored> {
    if (!isUserId(key)) throw new Error('not the key of push rules')
    const row = await queries.findPushRules(db, key)
    const user = row === undefined ? noPushRules : userPushRulesSchema.parse(JSON.parse(row.rules))
    return { user, ruleset: mergeRules(key, user), position: row?.position ?? 0 }
  }

  /** Of two changes that start from the same rules, the second starts again from the first one's. */
  async function change(
    user: UserId,
    make: (rules: UserPushRules) => UserPushRules,
  ): Promise<void> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const before = await load(user)
      const made = make(before.user)
      const rules = JSON.stringify(made)
      const payload = { content: JSON.stringify({ global: mergeRules(user, made) }) }
      const key = `${user} ${before.position}`
      const verdict = await log.write({
        once: { scope: 'push_rules', key, answer: '' },
        entries: [
          {
            kind: 'accountData',
            user,
            ref: 'm.push_rules',
            payload,
            tables: { push_rules: [{ user_id: user, rules }] },
          },
        ],
      })
      if (verdict.kind === 'done') return
      if (verdict.kind !== 'duplicate') throw refusal(verdict)
    }
    throw new MatrixError('M_UNKNOWN', 'the push rules are changing too often')
  }

  return {
    get version() {
      return customizers.version
    },
    changedSince: customizers.changedSince,
    ruleset: async (user) => (await cache.get(user)).ruleset,
    async customized(users) {
      const known = await customizers.all()
      const out = new Map<UserId, PushRuleset>()
      for (const user of users) if (known.has(user)) out.set(user, (await cache.get(user)).ruleset)
      return out
    },
    async accountData(user) {
      const { ruleset, position } = await cache.get(user)
      return { content: { global: jsonOf(ruleset) }, position }
    },
    put: (user, name, body, place) => change(user, (rules) => putRule(rules, name, body, place)),
    delete: (user, name) => change(user, (rules) => deleteRule(rules, name)),
    setEnabled: (user, name, enabled) =>
      change(user, (rules) => setRuleEnabled(rules, name, enabled)),
    setActions: (user, name, actions) =>
      change(user, (rules) => setRuleActions(rules, name, actions)),
  }
}

/**
 * Who has ever changed a rule: most users have not, and for an event in a room of thousands nothing is then to be
 * loaded. Read once, and from then on told by the tail.
 */
function createCustomizers({ db, tail }: { db: Database; tail: Pick<Tail, 'subscribe'> }) {
  const users = new Set<UserId>()
  let version = 0
  /** The newest changes; the last one made the version what it is. */
  const changes: UserId[] = []
  let read: Promise<ReadonlySet<UserId>> | undefined
  tail.subscribe('push rule users', (rows) => {
    for (const row of rows) {
      if (row.kind === 'accountData' && row.ref === 'm.push_rules' && row.user) {
        users.add(row.user)
        version += 1
        changes.push(row.user)
        if (changes.length > 2 * changesMax) changes.splice(0, changesMax)
      }
    }
  })

  async function readAll(): Promise<ReadonlySet<UserId>> {
    for (const row of await queries.usersWithPushRules(db)) users.add(row.user_id)
    return users
  }

  function all(): Promise<ReadonlySet<UserId>> {
    read ??= readAll().catch((error: unknown) => {
      read = undefined
      throw error
    })
    return read
  }

  return {
    all,
    changedSince(from: number): readonly UserId[] | undefined {
      const count = version - from
      return count <= changes.length ? changes.slice(changes.length - count) : undefined
    },
    get version() {
      return version
    },
  }
}

/** A ruleset is JSON; its type says so only after a round through it. */
function jsonOf(ruleset: PushRuleset): JsonObject {
  const value: JsonObject = JSON.parse(JSON.stringify(ruleset))
  return value
}
