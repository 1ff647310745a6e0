import { expect, it } from 'vitest'
import { fewAtOnce } from './few-at-once.ts'

it('runs few at once and in order, refuses when too many wait, and goes on after a failure', async () => {
  const refusal = () => new Error('too many')
  const turn = fewAtOnce({ atOnce: 2, waiting: { max: 1, refusal } })
  const begun: number[] = []
  const ends: (() => void)[] = []
  const task = (n: number) => () => {
    begun.push(n)
    return new Promise<number>((resolve) => ends.push(() => resolve(n)))
  }
  const failing = turn(() => Promise.reject(new Error('failed')))
  const first = turn(task(1))
  const second = turn(task(2))
  await expect(turn(task(3))).rejects.toThrow('too many')
  await expect(failing).rejects.toThrow('failed')
  await expect.poll(() => begun).toEqual([1, 2])
  const third = turn(task(4))
  expect(begun).toEqual([1, 2])
  ends[0]?.()
  await expect.poll(() => begun).toEqual([1, 2, 4])
  for (const end of ends) end()
  expect(await Promise.all([first, second, third])).toEqual([1, 2, 4])
})
