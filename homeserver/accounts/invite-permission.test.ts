import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseUserId } from '../../spec/ids.ts'
import { permissionOf } from './invite-permission.ts'
import { type TestAccounts, testAccounts } from './test-accounts.ts'

const bob = parseUserId('@bob:away.test')
const carol = parseUserId('@carol:here.test')

describe('lists of whom a user lets invite them', () => {
  it('let everybody in who is not named', () => {
    const permission = permissionOf({ blocked_users: [carol], ignored_servers: ['other.test'] })
    expect(permission(bob)).toBe('allow')
    expect(permission(carol)).toBe('block')
  })

  it('ask for the user before the server, and for what allows first', () => {
    const permission = permissionOf({
      allowed_users: ['@bob:*'],
      ignored_users: ['@bob:*', '@c*'],
      blocked_users: ['*'],
      allowed_servers: ['*'],
    })
    expect(permission(bob)).toBe('allow')
    expect(permission(carol)).toBe('ignore')
    expect(permission(parseUserId('@dora:here.test'))).toBe('block')
  })

  it('may hold what is no glob', () => {
    const blocked = [null, 7, '', '@bob'.padEnd(300, '*'), carol]
    const permission = permissionOf({ blocked_users: blocked, allowed_servers: 'here.test' })
    expect(permission(bob)).toBe('allow')
    expect(permission(carol)).toBe('block')
  })
})

describe('the permission to invite a user', () => {
  let here: TestAccounts
  beforeAll(async () => {
    here = await testAccounts()
  })
  afterAll(() => here[Symbol.asyncDispose]())

  it('follows the account data at once', async () => {
    const { accountData } = here
    const verdict = async () => (await accountData.invitePermission(carol))(bob)
    expect(await verdict()).toBe('allow')
    await accountData.set(carol, 'm.invite_permission_config', { default_action: 'block' })
    expect(await verdict()).toBe('block')
    await accountData.set(carol, 'm.invite_permission_config', {})
    expect(await verdict()).toBe('allow')
    const lists = { ignored_servers: ['away.*'] }
    await accountData.set(carol, 'org.matrix.msc4155.invite_permission_config', lists)
    expect(await verdict()).toBe('ignore')
  })
})
