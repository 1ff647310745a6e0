import { describe, expect, it } from 'vitest'
import { newRoom } from '../../conformance-tests/properties/room-builder.ts'
import { parseServerName } from '../ids.ts'
import type { JsonObject } from '../json.ts'
import { isServerAllowed } from './server-acl.ts'

const room = newRoom('11')
function allowed(server: string, content: JsonObject): boolean {
  const acl = room.main.send({ type: 'm.room.server_acl', stateKey: '', content })
  const first = isServerAllowed(acl, parseServerName(server))
  expect(isServerAllowed(acl, parseServerName(server))).toBe(first)
  return first
}

describe('a server ACL', () => {
  it('restricts nobody where there is none', () => {
    expect(isServerAllowed(undefined, parseServerName('evil.example'))).toBe(true)
  })

  it.each([
    ['good.example', { allow: ['*'] }, true],
    ['good.example', {}, false],
    ['good.example', { allow: [] }, false],
    ['good.example', { allow: ['good.example'] }, true],
    ['GOOD.example', { allow: ['good.EXAMPLE'] }, true],
    ['sub.good.example', { allow: ['good.example'] }, false],
    ['evil.example', { allow: ['*'], deny: ['evil.example'] }, false],
    ['evil.example:8448', { allow: ['*'], deny: ['evil.example'] }, false],
    ['sub.evil.example', { allow: ['*'], deny: ['*.evil.example'] }, false],
    ['evil.example', { allow: ['*'], deny: ['*.evil.example'] }, true],
    ['evil1.example', { allow: ['*'], deny: ['evil?.example'] }, false],
    ['evilexample', { allow: ['*'], deny: ['evil.example'] }, true],
    ['1.2.3.4', { allow: ['*'], allow_ip_literals: false }, false],
    ['1.2.3.4:80', { allow: ['*'], allow_ip_literals: false }, false],
    ['[::1]:80', { allow: ['*'], allow_ip_literals: false }, false],
    ['[::1]', { allow: ['*'], allow_ip_literals: false }, false],
    ['1.2.3.4', { allow: ['*'] }, true],
    ['1.2.3.4', { allow: ['*'], allow_ip_literals: 'false' }, true],
    ['1.2.3.4.example', { allow: ['*'], allow_ip_literals: false }, true],
    ['[::1]:80', { allow: ['*'], deny: ['[::1]'] }, false],
    ['good.example', { allow: '*' }, false],
    ['good.example', { allow: [5, null, '*'], deny: [{}] }, true],
  ])('lets %s in under %j: %s', (server, content, expected) => {
    expect(allowed(server, content)).toBe(expected)
  })

  it('of many stars costs no more than its length allows', () => {
    const glob = `${'*a'.repeat(100)}*b`
    const started = performance.now()
    expect(allowed(`${'a'.repeat(240)}.example`, { allow: ['*'], deny: [glob] })).toBe(true)
    expect(performance.now() - started).toBeLessThan(1_000)
  })
})
