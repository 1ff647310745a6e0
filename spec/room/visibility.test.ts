import { describe, expect, it } from 'vitest'
import { maySee, serverMaySee } from './visibility.ts'

const nobody = { membershipAtEvent: undefined, currentMembership: undefined }

describe('a user', () => {
  it.each([
    // visibility, membership at the event, membership now, may see
    ['world_readable', undefined, undefined, true],
    ['world_readable', 'ban', 'ban', true],
    ['shared', 'join', 'leave', true],
    ['shared', undefined, 'join', true],
    ['shared', 'leave', 'join', true],
    ['shared', 'invite', 'invite', false],
    ['shared', undefined, 'leave', false],
    ['shared', undefined, undefined, false],
    ['invited', 'invite', 'join', true],
    ['invited', 'invite', 'invite', true],
    ['invited', 'join', 'ban', true],
    ['invited', undefined, 'join', false],
    ['invited', 'knock', 'join', false],
    ['joined', 'join', 'leave', true],
    ['joined', 'invite', 'join', false],
    ['joined', undefined, 'join', false],
    [undefined, undefined, 'join', true],
    ['org.example.odd', undefined, 'join', true],
    ['org.example.odd', undefined, undefined, false],
  ])(
    'under %s, with membership %s then and %s now: %s',
    (historyVisibility, membershipAtEvent, currentMembership, seen) => {
      expect(maySee({ historyVisibility, membershipAtEvent, currentMembership })).toBe(seen)
    },
  )

  it('who left sees shared history from before a membership, when told that there was one', () => {
    const view = {
      historyVisibility: 'shared',
      membershipAtEvent: undefined,
      currentMembership: 'leave',
    }
    expect(maySee({ ...view, joinedSince: true })).toBe(true)
    expect(maySee({ ...view, currentMembership: 'join', joinedSince: false })).toBe(false)
  })

  it('sees their own join, and their own leaving and ban', () => {
    const strict = { historyVisibility: 'joined', currentMembership: 'join' }
    expect(maySee({ ...strict, membershipAtEvent: undefined, membershipAfterEvent: 'join' })).toBe(
      true,
    )
    expect(maySee({ ...strict, membershipAtEvent: 'join', membershipAfterEvent: 'leave' })).toBe(
      true,
    )
    expect(maySee({ ...strict, membershipAtEvent: 'join', membershipAfterEvent: 'ban' })).toBe(true)
    expect(maySee({ ...strict, membershipAtEvent: 'leave', membershipAfterEvent: 'ban' })).toBe(
      false,
    )
  })

  it('sees their own invite where the invited may see', () => {
    const invite = {
      membershipAtEvent: undefined,
      membershipAfterEvent: 'invite',
      currentMembership: 'invite',
    }
    expect(maySee({ ...invite, historyVisibility: 'invited' })).toBe(true)
    expect(maySee({ ...invite, historyVisibility: 'joined' })).toBe(false)
  })

  it('sees a change of visibility that either setting shows', () => {
    expect(
      maySee({ ...nobody, historyVisibility: 'joined', historyVisibilityAfter: 'world_readable' }),
    ).toBe(true)
    expect(
      maySee({ ...nobody, historyVisibility: 'world_readable', historyVisibilityAfter: 'joined' }),
    ).toBe(true)
    expect(
      maySee({ ...nobody, historyVisibility: 'joined', historyVisibilityAfter: 'invited' }),
    ).toBe(false)
  })
})

describe('a server', () => {
  it.each([
    ['world_readable', [], true],
    ['shared', [], true],
    [undefined, [], true],
    ['invited', [], false],
    ['invited', ['leave', 'invite'], true],
    ['invited', ['leave', 'ban'], false],
    ['joined', ['invite'], false],
    ['joined', ['invite', 'join'], true],
  ])('under %s, with users of membership %j: %s', (historyVisibility, memberships, seen) => {
    expect(serverMaySee({ historyVisibility, memberships })).toBe(seen)
  })

  it('sees a change of visibility that either setting shows', () => {
    expect(
      serverMaySee({
        historyVisibility: 'joined',
        historyVisibilityAfter: 'shared',
        memberships: [],
      }),
    ).toBe(true)
  })
})
