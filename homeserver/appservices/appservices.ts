/**
 * Owns the registrations of application services: who they are, which tokens speak for them and which users and
 * aliases are theirs. {@link https://spec.matrix.org/v1.19/application-service-api/#registration}
 */
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { z } from 'zod'
import {
  isUserId,
  makeUserId,
  type RoomAlias,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import { ConfigError } from '../config.ts'

/** One application service. */
export interface Appservice {
  readonly id: string
  /** The user that it is when it names none. */
  readonly sender: UserId
  /** Whether requests of its users are limited; those of its sender never are. */
  readonly rateLimited: boolean
  /** Is the user its sender, or a local one in its namespaces. */
  covers(user: UserId): boolean
  /** Where it is told of events; it is not when absent. */
  readonly url?: string
  /** By which it knows this server. */
  readonly hsToken: string
  /** Whether it is told of typing, receipts and presence. */
  readonly hearsEphemeral: boolean
  /** Whether it is told of messages to devices, device lists and one-time keys (MSC4203, MSC3202). */
  readonly hearsDevices: boolean
  /** Third-party networks that it speaks for. */
  readonly protocols: readonly string[]
  /** Is the room in its namespaces. */
  watches(room: RoomId): boolean
  /** Is the alias in its namespaces; `namesAny`: has it any. */
  names(alias: RoomAlias): boolean
  readonly namesAny: boolean
}

/** The application services that are registered here. */
export interface Appservices {
  readonly all: readonly Appservice[]
  byToken(token: string): Appservice | undefined
  byId(id: string): Appservice | undefined
  /** Id of the service whose sender, or whose exclusive namespace, the user is. */
  exclusiveOwner(user: UserId): string | undefined
  /** Id of the service in whose exclusive namespace the alias is. */
  exclusiveAliasOwner(alias: RoomAlias): string | undefined
}

const namespacesMax = 1_000
const regexLengthMax = 1_024
const textLengthMax = 1_024

const text = z.string().min(1).max(textLengthMax)
const namespaces = z
  .array(z.object({ regex: z.string().max(regexLengthMax), exclusive: z.boolean() }))
  .max(namespacesMax)
  .nullish()

const registrationSchema = z.object({
  id: text,
  url: z.url({ protocol: /^https?$/ }).nullish(),
  as_token: text,
  hs_token: text,
  sender_localpart: text,
  rate_limited: z.boolean().default(true),
  receive_ephemeral: z.boolean().default(false),
  'de.sorunome.msc2409.push_ephemeral': z.boolean().default(false),
  'org.matrix.msc3202': z.boolean().default(false),
  protocols: z.array(text).max(namespacesMax).nullish(),
  namespaces: z.object({ users: namespaces, rooms: namespaces, aliases: namespaces }),
})

interface Registered extends Appservice {
  readonly token: string
  ownsUser(user: UserId): boolean
  ownsAlias(alias: RoomAlias): boolean
}

/** Reads the registrations (YAML files). Throws ConfigError that names the file and what is wrong in it. */
export function loadAppservices(needs: {
  readonly files: readonly string[]
  readonly serverName: ServerName
}): Appservices {
  const all = needs.files.map((path) => read(path, needs.serverName))
  const byId = indexed(all, 'id', ({ id }) => id)
  const byToken = indexed(all, 'as_token', ({ token }) => token)
  return {
    all,
    byToken: (token) => byToken.get(token),
    byId: (id) => byId.get(id),
    exclusiveOwner: (user) => all.find((service) => service.ownsUser(user))?.id,
    exclusiveAliasOwner: (alias) => all.find((service) => service.ownsAlias(alias))?.id,
  }
}

/** "each as_token and id MUST be unique per application service" */
function indexed(
  all: readonly Registered[],
  what: string,
  keyOf: (service: Registered) => string,
): ReadonlyMap<string, Appservice> {
  const index = new Map(all.map((service) => [keyOf(service), service]))
  if (index.size === all.length) return index
  throw new ConfigError(`appservice_files: two registrations have the same ${what}`)
}

function read(path: string, serverName: ServerName): Registered {
  const registration = parsed(path)
  const sender = `@${registration.sender_localpart}:${serverName}`
  if (!isUserId(sender)) throw wrong(path, 'sender_localpart is no local part of a user id')
  const { users, aliases, rooms } = registration.namespaces
  const user = matchers(path, users)
  const alias = matchers(path, aliases)
  const room = matchers(path, rooms)
  const isLocal = (id: UserId) => serverOfUser(id) === serverName
  return {
    id: registration.id,
    token: registration.as_token,
    sender: makeUserId(registration.sender_localpart, serverName),
    rateLimited: registration.rate_limited,
    covers: (id) => id === sender || (isLocal(id) && user.some(({ regex }) => regex.test(id))),
    ownsUser: (id) => id === sender || (isLocal(id) && isExclusive(user, id)),
    ownsAlias: (id) => isExclusive(alias, id),
    ...(registration.url && { url: registration.url }),
    hsToken: registration.hs_token,
    hearsEphemeral:
      registration.receive_ephemeral || registration['de.sorunome.msc2409.push_ephemeral'],
    hearsDevices: registration['org.matrix.msc3202'],
    protocols: registration.protocols ?? [],
    watches: (id) => room.some(({ regex }) => regex.test(id)),
    names: (id) => alias.some(({ regex }) => regex.test(id)),
    namesAny: alias.length > 0,
  }
}

function parsed(path: string): z.output<typeof registrationSchema> {
  let content: unknown
  try {
    content = parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw wrong(path, error instanceof Error ? error.message : String(error))
  }
  const result = registrationSchema.safeParse(content)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw wrong(path, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not a registration'}`)
}

interface Matcher {
  readonly regex: RegExp
  readonly exclusive: boolean
}

/** As bridges expect it, an expression has to match from the start, and need not match to the end. */
function matchers(path: string, list: z.output<typeof namespaces>): readonly Matcher[] {
  return (list ?? []).map(({ regex, exclusive }) => {
    try {
      return { regex: new RegExp(`^(?:${regex})`), exclusive }
    } catch {
      throw wrong(path, `${regex} is no regular expression`)
    }
  })
}

function isExclusive(list: readonly Matcher[], id: string): boolean {
  return list.some(({ regex, exclusive }) => exclusive && regex.test(id))
}

function wrong(path: string, what: string): ConfigError {
  return new ConfigError(`appservice_files = ${path}: ${what}`)
}
