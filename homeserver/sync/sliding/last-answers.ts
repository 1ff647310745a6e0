import { LRUCache } from 'lru-cache'
import type { SlidingRequest } from './request.ts'

/**
 * What connections were answered last, in this process. One that comes back with that position and the same rules has
 * everything as long as nothing has happened: its rooms need not be looked at.
 */
export interface LastAnswers {
  /** The lists as they were answered, as JSON text; nothing when it may be another answer now. */
  find(connection: string, pos: string | undefined, rules: string): string | undefined
  note(connection: string, answer: LastAnswer): void
}

interface LastAnswer {
  readonly pos: string
  readonly rules: string
  readonly lists: string
}

/** Characters of all answers that are remembered. */
const charactersMax = 64_000_000

export function createLastAnswers(): LastAnswers {
  const answers = new LRUCache<string, LastAnswer>({
    maxSize: charactersMax,
    sizeCalculation: ({ rules, lists }) => rules.length + lists.length + 500,
  })
  return {
    find(connection, pos, rules) {
      const last = answers.get(connection)
      return last !== undefined && last.pos === pos && last.rules === rules ? last.lists : undefined
    },
    note: (connection, answer) => void answers.set(connection, answer),
  }
}

/** What the rooms of an answer depend on beside what happens. */
export function rulesOf({ dialect, lists, subscriptions, extensions }: SlidingRequest): string {
  const { accountData, receipts, typing, threadSubscriptions } = extensions
  const selections = [accountData, receipts, typing, threadSubscriptions]
  return JSON.stringify([dialect, [...lists], [...subscriptions], selections])
}
