/**
 * Owns what is searched: the texts of events and the names of users, read from the log behind everybody's back. A search
 * finds all that its process had seen when it was asked for, and shows nobody what they may not see.
 */
import { createIndexer, type Indexer } from './indexer.ts'
import { createMessageSearch } from './messages.ts'
import { createPeopleSearch } from './people.ts'

type Needs = Parameters<typeof createIndexer>[0] &
  Omit<Parameters<typeof createMessageSearch>[0], 'indexer'> &
  Omit<Parameters<typeof createPeopleSearch>[0], 'indexer'>

export interface Search extends AsyncDisposable {
  readonly messages: ReturnType<typeof createMessageSearch>
  readonly people: ReturnType<typeof createPeopleSearch>
  start(): void
}

/** Builds the slice; before the tail starts. */
export function createSearch(needs: Needs): Search {
  const indexer: Indexer = createIndexer(needs)
  return {
    messages: createMessageSearch({ ...needs, indexer }),
    people: createPeopleSearch({ ...needs, indexer }),
    start: indexer.start,
    [Symbol.asyncDispose]: () => indexer[Symbol.asyncDispose](),
  }
}
