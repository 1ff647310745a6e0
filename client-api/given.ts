/** Fields that may be undefined or null become optional, the others stay. */
type Given<T> = {
  [K in keyof T as T[K] extends NonNullable<unknown> ? K : never]: T[K]
} & {
  [K in keyof T as T[K] extends NonNullable<unknown> ? never : K]?: Exclude<T[K], undefined | null>
}

/** The same record without the keys that are undefined or null: how a slice wants its optional fields. */
export function given<T extends object>(fields: T): Given<T>
export function given(fields: object): object {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined && value !== null),
  )
}
