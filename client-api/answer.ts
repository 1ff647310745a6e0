/**
 * What goes back over the wire when a plain object would not do: text that is JSON already, another status, extra
 * headers, a body that comes in pieces, something that is not JSON.
 */
export class Answer {
  readonly status: number
  readonly type: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | AsyncIterable<string | Uint8Array>

  constructor(body: string | AsyncIterable<string | Uint8Array>, options: AnswerOptions = {}) {
    this.body = body
    this.status = options.status ?? 200
    this.type = options.type ?? 'application/json'
    this.headers = options.headers ?? {}
  }
}

/** Status 200 and JSON unless told. */
export interface AnswerOptions {
  readonly status?: number
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** JSON that is serialised already: events and syncs are. */
export function raw(json: string | AsyncIterable<string>): Answer {
  return new Answer(json)
}

/** An array of values that are serialised already. */
export function rawArray(values: readonly string[]): string {
  return `[${values.join(',')}]`
}

/** A JSON object of values that are serialised already. */
export function rawObject(fields: Readonly<Record<string, string>>): Answer {
  const members = Object.entries(fields).map(([key, json]) => `${JSON.stringify(key)}:${json}`)
  return raw(`{${members.join(',')}}`)
}

/** Values of a list that are written at once; of a longer one a piece at a time. */
const atOnceMax = 500
/** Characters of a piece. */
const pieceCharacters = 65_536

/** A list of any length between two texts; a long one is written while the client reads it. */
export function rawList<T>(
  values: readonly T[],
  write: (value: T) => string,
  { open, close }: { readonly open: string; readonly close: string },
): Answer {
  if (values.length <= atOnceMax) return raw(`${open}${values.map(write).join(',')}${close}`)
  return raw(pieces(values, write, { open, close }))
}

async function* pieces<T>(
  values: readonly T[],
  write: (value: T) => string,
  { open, close }: { readonly open: string; readonly close: string },
): AsyncGenerator<string> {
  let piece = open
  let isFirst = true
  for (const value of values) {
    piece += isFirst ? write(value) : `,${write(value)}`
    isFirst = false
    if (piece.length < pieceCharacters) continue
    yield piece
    piece = ''
  }
  yield piece + close
}
