/** The fields that are there. */
type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined | null> }

/** The same record without the keys that are undefined or null: how a slice wants its optional fields. */
export function given<T extends object>(fields: T): Given<T>
export function given(fields: object): object {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined && value !== null),
  )
}
