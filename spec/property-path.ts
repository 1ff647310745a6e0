import { isObject, type Json, type JsonObject } from './json.ts'

/**
 * Splits a dot-separated property path; a dot or backslash that belongs to a name is escaped by a backslash, any
 * other backslash stands for itself. {@link https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths}
 */
export function parsePropertyPath(path: string): string[] {
  const names: string[] = []
  let name = ''
  for (let at = 0; at < path.length; at++) {
    const char = path.charAt(at)
    const next = path.charAt(at + 1)
    if (char === '.') {
      names.push(name)
      name = ''
    } else if (char === '\\' && (next === '.' || next === '\\')) {
      name += next
      at++
    } else name += char
  }
  names.push(name)
  return names
}

/** The value at a path; undefined when any step of it is missing. Arrays are not entered. */
export function valueAtPath(root: JsonObject, path: readonly string[]): Json | undefined {
  let value: Json | undefined = root
  for (const name of path) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  return value
}
