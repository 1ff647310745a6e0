/**
 * How values travel. The driver's look-up of types at connect is off (`fetch_types`), so the types that our tables
 * use are listed here: 8-byte integers as numbers, and one-dimensional arrays.
 */

const arrayTypes = {
  bool: { array: 1000, parse: (text: string) => text === 't' },
  bytea: { array: 1001, parse: (text: string) => Buffer.from(text.slice(2), 'hex') },
  int2: { array: 1005, parse: Number },
  int4: { array: 1007, parse: Number },
  int8: { array: 1016, parse: Number },
  float8: { array: 1022, parse: Number },
  text: { array: 1009, parse: (text: string) => text },
  varchar: { array: 1015, parse: (text: string) => text },
  timestamptz: { array: 1185, parse: (text: string) => new Date(text) },
  json: { array: 199, parse: (text: string): unknown => JSON.parse(text) },
  jsonb: { array: 3807, parse: (text: string): unknown => JSON.parse(text) },
} as const

interface WireType {
  readonly to: number
  readonly from: number[]
  readonly serialize: (value: unknown) => unknown
  readonly parse: (text: string) => unknown
}

/** The driver's `types` option. */
export const wireTypes: Readonly<Record<string, WireType>> = {
  int8: { to: 20, from: [20], serialize: String, parse: Number },
  ...Object.fromEntries(
    Object.entries(arrayTypes).map(([name, { array, parse }]) => [
      `${name}Array`,
      {
        to: array,
        from: [array],
        serialize: arrayLiteral,
        parse: (text: string) => parseArray(text, parse),
      },
    ]),
  ),
}

/** `['a', null]` → `{"a",NULL}`. */
function arrayLiteral(value: unknown): string {
  if (!Array.isArray(value)) throw new TypeError('an array parameter needs an array')
  return `{${value.map(arrayElement).join(',')}}`
}

function arrayElement(value: unknown): string {
  if (value === null) return 'NULL'
  if (value === undefined) throw new TypeError('undefined in an array parameter')
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') {
    return String(value)
  }
  if (typeof value === 'string') return quoted(value)
  if (value instanceof Uint8Array) return quoted(`\\x${Buffer.from(value).toString('hex')}`)
  if (value instanceof Date) return quoted(value.toISOString())
  return quoted(JSON.stringify(value))
}

function quoted(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

/** Reads a one-dimensional array's text form. */
function parseArray(text: string, parse: (element: string) => unknown): unknown[] {
  const out: unknown[] = []
  let at = 1
  while (at < text.length - 1) {
    if (text[at] === '"') {
      let element = ''
      for (at++; text[at] !== '"'; at++) {
        if (text[at] === '\\') at++
        element += text[at]
      }
      at++
      out.push(parse(element))
    } else {
      const comma = text.indexOf(',', at)
      const end = comma === -1 ? text.length - 1 : comma
      const element = text.slice(at, end)
      out.push(element === 'NULL' ? null : parse(element))
      at = end
    }
    at++
  }
  return out
}
