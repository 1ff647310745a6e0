import { expect, it, vi } from 'vitest'
import { MatrixError } from '../../spec/errors.ts'
import { parseRoomId, parseServerName } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { createRemoteSpaces } from './remote-spaces.ts'

const us = parseServerName('us.test')
const [one, two] = [parseServerName('one.test'), parseServerName('two.test')]
const room = parseRoomId('!space:one.test')

function spaces(answer: (server: string) => JsonObject) {
  const clock = new FakeClock()
  const hierarchy = vi.fn(async (server: string) => answer(server))
  return {
    clock,
    hierarchy,
    ...createRemoteSpaces({ serverName: us, clock, remote: { hierarchy } }),
  }
}

const told = (more: JsonObject = {}): JsonObject => ({
  room: { room_id: room, num_joined_members: 3, name: 'Space', ...more },
  ...{ children: [], inaccessible_children: [] },
})

it('remembers an answer for five minutes, for the same server only', async () => {
  const { find, clock, hierarchy } = spaces(() => told())
  await find(room, [one], false)
  await find(room, [one], false)
  expect(hierarchy).toHaveBeenCalledTimes(1)
  await find(room, [two], false)
  await find(room, [one], true)
  expect(hierarchy).toHaveBeenCalledTimes(3)
  await clock.advance(5 * 60_000)
  await find(room, [one], false)
  expect(hierarchy).toHaveBeenCalledTimes(4)
})

it('remembers no refusal, and asks the next server', async () => {
  const { find, hierarchy } = spaces((server) => {
    if (server === one) throw new MatrixError('M_NOT_FOUND', 'no')
    return told()
  })
  expect((await find(room, [us, one, two], false))?.summary).toMatchObject({ name: 'Space' })
  expect(await find(room, [one], false)).toBeUndefined()
  expect(hierarchy.mock.calls.map(([server]) => server)).toEqual([one, two, one])
})

it('asks three servers and no more', async () => {
  const { find, hierarchy } = spaces(() => {
    throw new MatrixError('M_NOT_FOUND', 'no')
  })
  const servers = ['a', 'b', 'c', 'd'].map((name) => parseServerName(`${name}.test`))
  expect(await find(room, servers, false)).toBeUndefined()
  expect(hierarchy).toHaveBeenCalledTimes(3)
})

it('takes the fields of a summary that are of their types, and no others', async () => {
  const { find } = spaces(() =>
    told({
      ...{ name: 7, topic: 'x'.repeat(20_000), join_rule: 'public', world_readable: 'yes' },
      ...{ num_joined_members: -3, allowed_room_ids: [room, 7, 'none'], unknown: true },
    }),
  )
  expect((await find(room, [one], false))?.summary).toEqual({
    ...{ room_id: room, num_joined_members: 0, world_readable: false, guest_can_join: false },
    ...{ join_rule: 'public', allowed_room_ids: [room] },
  })
})

it.each([
  ['of another room', { room: { room_id: '!other:one.test' } }],
  ['of no room', { children: [] }],
])('does not take an answer %s', async (_, answer: JsonObject) => {
  const { find } = spaces(() => answer)
  expect(await find(room, [one], false)).toBeUndefined()
})
