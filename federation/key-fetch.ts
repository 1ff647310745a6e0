/** Asks a server for its keys, else the configured notaries; what comes back has been checked. */
import type { Logger } from '../homeserver/platform/log.ts'
import { type ServerKeys, serverKeysSchema } from '../spec/api/federation/keys.ts'
import { verifyJson } from '../spec/crypto/sign-json.ts'
import type { ServerName } from '../spec/ids.ts'
import { arrayAt, isObject, type JsonObject } from '../spec/json.ts'
import type { FederationClient } from './request.ts'

/** A key object as its server signed it, and as it was read. */
export interface Answer {
  readonly json: JsonObject
  readonly keys: ServerKeys
}

/** The key object of `server`, when it has the right shape and at least one of its keys has signed it. */
function parseAnswer(json: unknown, server: ServerName): Answer | undefined {
  const parsed = serverKeysSchema.safeParse(json)
  if (!parsed.success || !isObject(json) || parsed.data.server_name !== server) return undefined
  const isSigned = Object.entries(parsed.data.verify_keys).some(([keyId, { key }]) =>
    verifyJson(json, server, keyId, key),
  )
  return isSigned ? { json, keys: parsed.data } : undefined
}

interface Needs {
  readonly serverName: ServerName
  readonly client: FederationClient
  readonly log: Logger
  readonly notaries?: readonly ServerName[]
  /** Has the notary signed the object with a key that is valid now. */
  readonly isSignedBy: (notary: ServerName, json: JsonObject) => Promise<boolean>
}

const fetchTimeoutMs = 10_000
const answerBytesMax = 256 * 1024

/** Makes the function that fetches; it never rejects, and answers undefined when no valid keys can be had. */
export function createKeyFetch(needs: Needs): (server: ServerName) => Promise<Answer | undefined> {
  async function fromServer(server: ServerName): Promise<Answer | undefined> {
    try {
      const json = await needs.client.call(server, {
        method: 'GET',
        path: '/_matrix/key/v2/server',
        unsigned: true,
        ignoreBackoff: true,
        timeoutMs: fetchTimeoutMs,
        replyBytesMax: answerBytesMax,
      })
      const answer = parseAnswer(json, server)
      if (!answer) needs.log.warn({ server }, 'server published invalid keys')
      return answer
    } catch (error) {
      needs.log.debug({ server, error }, 'keys could not be fetched')
      return undefined
    }
  }

  async function fromNotaries(server: ServerName): Promise<Answer | undefined> {
    for (const notary of needs.notaries ?? []) {
      if (notary === server || notary === needs.serverName) continue
      const answer = await fromNotary(notary, server).catch(() => undefined)
      if (answer) return answer
    }
    return undefined
  }

  async function fromNotary(notary: ServerName, server: ServerName): Promise<Answer | undefined> {
    const reply = await needs.client.call(notary, {
      method: 'POST',
      path: '/_matrix/key/v2/query',
      body: { server_keys: { [server]: {} } },
      unsigned: true,
      timeoutMs: fetchTimeoutMs,
      replyBytesMax: answerBytesMax,
    })
    const objects = isObject(reply) ? (arrayAt(reply, 'server_keys') ?? []) : []
    for (const json of objects) {
      const answer = parseAnswer(json, server)
      if (answer && (await needs.isSignedBy(notary, answer.json))) return answer
    }
    return undefined
  }

  return async (server) => (await fromServer(server)) ?? (await fromNotaries(server))
}
