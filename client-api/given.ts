/** Keys of what can be neither undefined nor null. */
type Present<T> = { [K in keyof T]-?: T[K] extends NonNullable<unknown> ? K : never }[keyof T]

/** Fields that may be undefined or null become optional, the others stay. */
type Given<T> = Pick<T, Present<T>> & {
  [K in Exclude<keyof T, Present<T>>]?: Exclude<T[K], undefined | null>
}

/** The same record without the keys that are undefined or null: how a slice wants its optional fields. */
export function given<T extends object>(fields: T): Given<T>
export function given(fields: object): object {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined && value !== null),
  )
}
