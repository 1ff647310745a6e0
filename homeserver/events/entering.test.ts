import { expect, it } from 'vitest'
import { parseRoomId } from '../../spec/ids.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { createEntering, enteringLimits } from './entering.ts'

/** A promise that the test settles. */
function deferred<T>() {
  let resolve: (value: T) => void = () => {}
  let reject: (error: Error) => void = () => {}
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

const room = parseRoomId('!a:here.test')

it('lets events wait until the room is here, and only those of that room', async () => {
  const { entering, entered } = createEntering({ clock: new FakeClock() })
  expect(await entered(room)).toBe(false)
  const join = deferred<string>()
  const done = entering(room, () => join.promise)
  const waiting = entered(room)
  expect(await entered(parseRoomId('!b:here.test'))).toBe(false)
  join.resolve('joined')
  expect([await done, await waiting]).toEqual(['joined', true])
  expect(await entered(room)).toBe(false)
})

it('ends with a join that fails', async () => {
  const { entering, entered } = createEntering({ clock: new FakeClock() })
  const join = deferred<void>()
  const done = entering(room, () => join.promise)
  const waiting = entered(room)
  join.reject(new Error('forbidden'))
  await expect(done).rejects.toThrow('forbidden')
  expect(await waiting).toBe(true)
  expect(await entered(room)).toBe(false)
})

it('answers for now when it takes long, and does the rest later, within bounds', async () => {
  const clock = new FakeClock()
  const { entering, entered, later } = createEntering({ clock })
  const join = deferred<void>()
  const done = entering(room, () => join.promise)
  const waiting = entered(room)
  await clock.advance(enteringLimits.waitMs)
  expect(await waiting).toBe('not yet')
  let count = 0
  for (let n = 0; n < enteringLimits.lateMax + 5; n++) {
    later(room, async () => {
      count++
    })
  }
  expect(count).toBe(0)
  join.resolve()
  await done
  await new Promise(setImmediate)
  expect(count).toBe(enteringLimits.lateMax)
})
