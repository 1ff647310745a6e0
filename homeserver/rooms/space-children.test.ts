import { expect, it } from 'vitest'
import type { JsonObject } from '../../spec/json.ts'
import { childrenFrom } from './space-children.ts'

const link = (room: string, content: JsonObject, time = 1): JsonObject => ({
  ...{ type: 'm.space.child', state_key: room, sender: '@a:here.test', origin_server_ts: time },
  content: { via: ['here.test'], ...content },
})
const roomsOf = (...events: JsonObject[]) => childrenFrom(events).map(({ room }) => room)

it('shows children by their order, then by time, then by room', () => {
  expect(
    roomsOf(
      link('!b:x', { order: ' ' }, 1640341000000),
      link('!a:x', { order: 'aaaa' }, 1640141000000),
      link('!d:x', {}, 1640741000000),
      link('!c:x', { order: 'first' }, 1640841000000),
      link('!e:x', {}, 1640641000000),
      link('!g:x', {}, 1640741000000),
    ),
  ).toEqual(['!b:x', '!a:x', '!c:x', '!e:x', '!d:x', '!g:x'])
})

it.each([
  ['is not a string', 7],
  ['has a letter beyond ASCII', 'é'],
  ['is longer than 50 letters', 'x'.repeat(51)],
])('passes over an order that %s', (_, order) => {
  expect(roomsOf(link('!b:x', { order }, 2), link('!a:x', {}, 1))).toEqual(['!a:x', '!b:x'])
})

it.each([
  ['with via that is nothing', { via: null }],
  ['with via that is empty', { via: [] }],
  ['with via that is no list', { via: 'here.test' }],
  ['with via that names no server', { via: [7, 'not a name'] }],
])('leaves out a link %s', (_, content: JsonObject) => {
  expect(roomsOf(link('!a:x', content))).toEqual([])
})

it('leaves out what is no link at all, and fields that a link does not have', () => {
  const [child, ...others] = childrenFrom([
    { ...link('!a:x', { suggested: true }), unsigned: { age: 3 }, more: 'x' },
    { ...link('!b:x', {}), type: 'm.room.name' },
    { ...link('not a room', {}) },
    { ...link('!c:x', {}), sender: 'nobody' },
  ])
  expect(others).toEqual([])
  expect(child).toMatchObject({ room: '!a:x', via: ['here.test'], suggested: true })
  expect(Object.keys(child?.event ?? {}).sort()).toEqual(
    ['content', 'origin_server_ts', 'sender', 'state_key', 'type'].sort(),
  )
})
