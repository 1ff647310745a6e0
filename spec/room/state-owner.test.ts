import { describe, expect, it } from 'vitest'
import { stateOwner } from './state-owner.ts'

describe('the owner of state', () => {
  it.each([
    ['@alice:example.org', '@alice:example.org'],
    ['@alice:example.org_phone', '@alice:example.org'],
    ['@a_b:example.org:8448_x_y:@z', '@a_b:example.org:8448'],
    ['@alice:example.orgphone', '@alice:example.orgphone'],
    ['@prefix_@alice:example.org_x', '@prefix_@alice:example.org'],
  ])('of %s is %s', (key, owner) => {
    expect(stateOwner(key)).toBe(owner)
  })

  it.each(['@alice', '@alice:', '@alice:_x', '@alice:example.org@x_y', 'alice:example.org'])(
    'of %s is nobody',
    (key) => {
      expect(stateOwner(key)).toBeUndefined()
    },
  )
})
