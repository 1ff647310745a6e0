/** Reads what multipart.ts writes, from servers that may not write it well: bounded, and the content as it comes. */

/** Headers of a part, by their lower-case names. */
type PartHeaders = ReadonlyMap<string, string>

/** The second part of an answer; the first is metadata, of which none is known yet. */
interface ContentPart {
  readonly headers: PartHeaders
  readonly body: AsyncIterable<Buffer>
}

const headerBytesMax = 16 * 1024
const metadataBytesMax = 64 * 1024
/** {@link https://www.rfc-editor.org/rfc/rfc2046#section-5.1.1} */
const boundaryForm = /boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i

/**
 * The content of a multipart/mixed answer.
 * @throws Error when it is not of that form
 * {@link https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid}
 */
export async function readMultipart(
  contentType: string,
  source: AsyncIterable<Buffer>,
): Promise<ContentPart> {
  const [, quoted, plain] = boundaryForm.exec(contentType) ?? []
  const boundary = quoted ?? plain
  if (!/^multipart\/mixed\s*;/i.test(contentType) || boundary === undefined) {
    throw new Error('answer is not multipart/mixed')
  }
  const reader = createReader(source)
  // Also the first delimiter begins a line: what stands before it means nothing.
  reader.unread(Buffer.from('\r\n'))
  const delimiter = Buffer.from(`\r\n--${boundary}`)
  await reader.textBefore(delimiter, headerBytesMax)
  await reader.textBefore(headersEnd, headerBytesMax)
  reader.unread(Buffer.from('\r\n'))
  await reader.textBefore(delimiter, metadataBytesMax)
  const head = await reader.textBefore(headersEnd, headerBytesMax)
  return { headers: headersOf(head), body: reader.bytesBefore(delimiter) }
}

const headersEnd = Buffer.from('\r\n\r\n')

function headersOf(text: string): PartHeaders {
  const lines = text.split('\r\n').flatMap((line): [string, string][] => {
    const colon = line.indexOf(':')
    if (colon < 1) return []
    return [[line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()]]
  })
  return new Map(lines)
}

function createReader(source: AsyncIterable<Buffer>) {
  const pieces = source[Symbol.asyncIterator]()
  let held: Buffer = Buffer.alloc(0)

  async function more(): Promise<void> {
    const { done, value } = await pieces.next()
    if (done) throw new Error('answer ends within a part')
    held = held.length === 0 ? value : Buffer.concat([held, value])
  }

  /** What can be no part of the mark is given out; the mark itself is read and left out. */
  async function* bytesBefore(mark: Buffer): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const at = held.indexOf(mark)
        const sure = at === -1 ? Math.max(0, held.length - mark.length + 1) : at
        const piece = held.subarray(0, sure)
        held = held.subarray(at === -1 ? sure : sure + mark.length)
        if (piece.length > 0) yield piece
        if (at !== -1) return
        await more()
      }
    } finally {
      await pieces.return?.()
    }
  }

  return {
    unread(bytes: Buffer): void {
      held = Buffer.concat([bytes, held])
    },
    bytesBefore,
    async textBefore(mark: Buffer, bytesMax: number): Promise<string> {
      for (;;) {
        const at = held.indexOf(mark)
        if (at > bytesMax || (at === -1 && held.length > bytesMax + mark.length + pieceBytesMax)) {
          throw new Error('part of the answer is too large')
        }
        if (at !== -1) {
          const text = held.toString('utf8', 0, at)
          held = held.subarray(at + mark.length)
          return text
        }
        await more()
      }
    },
  }
}

/** What comes at a time may be more than what is looked for. */
const pieceBytesMax = 64 * 1024
