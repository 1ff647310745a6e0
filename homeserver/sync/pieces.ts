/** A long answer in pieces, so that no more of it than a few rooms is in memory at a time. */

/** Characters that go out together: a piece of its own for each small room costs more than it saves. */
const pieceCharacters = 65_536

/** The same text in pieces of some size. */
export async function* coalesced(source: AsyncIterable<string>): AsyncGenerator<string> {
  let waiting = ''
  for await (const piece of source) {
    waiting += piece
    if (waiting.length < pieceCharacters) continue
    yield waiting
    waiting = ''
  }
  if (waiting !== '') yield waiting
}

/** Reads a few at a time and answers in order, without what turns out to be nothing. `read` must not reject. */
export async function* readAhead<T, R>(
  items: readonly T[],
  atOnce: number,
  read: (item: T) => Promise<R | undefined>,
): AsyncGenerator<R> {
  const underWay: Promise<R | undefined>[] = []
  for (const item of items) {
    underWay.push(read(item))
    if (underWay.length < atOnce) continue
    const found = await underWay.shift()
    if (found !== undefined) yield found
  }
  for (const last of underWay) {
    const found = await last
    if (found !== undefined) yield found
  }
}
