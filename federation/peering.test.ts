import { describe, expect, it } from 'vitest'
import { parseServerName } from '../spec/ids.ts'
import { createPeering } from './peering.ts'

describe('the servers to talk with', () => {
  it.each([
    ['all, without lists', [], [], 'a.example', true],
    ['those that are allowed', ['a.example'], [], 'a.example', true],
    ['not others', ['a.example'], [], 'b.example', false],
    ['not those below an allowed name', ['a.example'], [], 'x.a.example', false],
    ['those that match a glob', ['*.a.example'], [], 'x.a.example', true],
    ['those in any case', ['A.example'], [], 'a.EXAMPLE', true],
    ['an allowed host at any port', ['a.example'], [], 'a.example:1234', true],
    ['an allowed port', ['a.example:1?34'], [], 'a.example:1234', true],
    ['not another port', ['a.example:1234'], [], 'a.example:1235', false],
    ['not denied ones', [], ['*.evil.example'], 'x.evil.example:8448', false],
    ['not denied ones that are allowed too', ['*'], ['a.example'], 'a.example', false],
    ['not a denied address', [], ['[2001:db8::*'], '[2001:db8::1]:8448', false],
  ])('are %s', (_, allow, deny, server, expected) => {
    expect(createPeering({ allow, deny })(parseServerName(server))).toBe(expected)
  })
})
