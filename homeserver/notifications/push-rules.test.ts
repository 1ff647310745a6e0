import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseUserId } from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import type { LogRow } from '../stream/log.ts'
import { openTestLog } from '../stream/test-log.ts'
import { createPushRules, type PushRules } from './push-rules.ts'

let database: TestDatabase
let log: Awaited<ReturnType<typeof openTestLog>>
let rules: PushRules
beforeAll(async () => {
  database = await testDatabase()
  log = await openTestLog(database.db)
  rules = createPushRules({ db: database.db, log: log.writer, tail: log.tail })
})
afterAll(async () => {
  await log[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

const words = (ruleId: string) => ({ kind: 'content', ruleId }) as const
const body = (pattern: string) => ({ pattern, actions: ['notify' as const] })

describe('push rules', () => {
  it('are the predefined ones until a user changes them', async () => {
    const user = parseUserId('@plain:here.test')
    const { content, position } = await rules.accountData(user)
    expect(position).toBe(0)
    expect(content).toHaveProperty('global.override.0.rule_id', '.m.rule.master')
    expect(await rules.customized([user])).toEqual(new Map())
    expect(await rules.ruleset(user)).toBe(await rules.ruleset(user))
  })

  it('are put, switched, changed and deleted, each told by the log as account data', async () => {
    const user = parseUserId('@changing:here.test')
    const rows: LogRow[] = []
    using _subscription = log.tail.subscribe('test', (more) => rows.push(...more))
    await rules.put(user, words('a'), body('alpha'))
    await rules.put(user, words('b'), body('beta'), { after: 'a' })
    await rules.setEnabled(user, words('a'), false)
    await rules.setActions(user, { kind: 'override', ruleId: '.m.rule.master' }, ['notify'])
    const { content } = await rules.ruleset(user)
    expect(content.slice(0, 2).map((rule) => [rule.rule_id, rule.enabled])).toEqual([
      ['a', false],
      ['b', true],
    ])
    expect((await rules.customized([user])).get(user)).toBe(await rules.ruleset(user))
    await rules.delete(user, words('a'))
    expect((await rules.ruleset(user)).content[0]?.rule_id).toBe('b')
    expect(rows.map((row) => [row.kind, row.user, row.ref])).toEqual(
      Array.from({ length: 5 }, () => ['accountData', user, 'm.push_rules']),
    )
    expect((await rules.accountData(user)).position).toBe(rows.at(-1)?.position)
    expect(rows.at(-1)?.payload).toEqual({
      content: JSON.stringify((await rules.accountData(user)).content),
    })
  })

  it('all survive being put at the same time', async () => {
    const user = parseUserId('@busy:here.test')
    await Promise.all(['a', 'b', 'c'].map((id) => rules.put(user, words(id), body(id))))
    const own = (await rules.ruleset(user)).content.filter((rule) => !rule.default)
    expect(own.map((rule) => rule.rule_id).sort()).toEqual(['a', 'b', 'c'])
  })

  it('that do not exist are not found', async () => {
    const user = parseUserId('@plain:here.test')
    await expect(rules.delete(user, words('none'))).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
    await expect(rules.setEnabled(user, words('none'), true)).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
  })
})
