/** The text of a transaction to another server; canonical, so that the signature needs no second serialisation. */
import { lenientCanonicalJson } from '../spec/canonical-json.ts'
import type { ServerName } from '../spec/ids.ts'
import { isObject, type Json, type JsonObject } from '../spec/json.ts'

/** What a transaction carries; both lists as canonical JSON texts. */
export interface OutgoingTransaction {
  readonly pdus: readonly string[]
  readonly edus: readonly string[]
}

/** The body of a transaction: its keys in canonical order. */
export function transactionText(
  origin: ServerName,
  now: number,
  { pdus, edus }: OutgoingTransaction,
): string {
  return (
    `{"edus":[${edus.join(',')}],"origin":${JSON.stringify(origin)},` +
    `"origin_server_ts":${now},"pdus":[${pdus.join(',')}]}`
  )
}

/** An EDU as it stands in a transaction; undefined when it has no canonical form and cannot be sent. */
export function eduText(eduType: string, content: JsonObject): string | undefined {
  try {
    return lenientCanonicalJson({ content, edu_type: eduType })
  } catch {
    return undefined
  }
}

/** As `eduText`, of content that was stored as text. */
export function storedEduText(eduType: string, content: string): string | undefined {
  try {
    const parsed: Json = JSON.parse(content)
    return isObject(parsed) ? eduText(eduType, parsed) : undefined
  } catch {
    return undefined
  }
}
