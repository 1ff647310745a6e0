import { isIP } from 'node:net'
import { z } from 'zod'
import { isServerName } from '../spec/ids.ts'
import { logLevels } from './platform/log.ts'

/**
 * Every setting: its kind and bound, its default, and a sentence for whoever sets it. The name in the YAML file is the
 * key in snake_case, the environment variable the same in capitals. `secret` keeps a value out of `npm run config`
 * and lets it come from a file (`DATABASE_URL_FILE`).
 */
export const settingsSchema = z.strictObject({
  // The instance
  serverName: z.string().refine(isServerName).prefault('localhost:8448').meta({
    allowed: 'a host name with an optional port, such as example.org',
    description:
      'The name in user ids and room ids. It can never be changed after the first start.',
  }),
  dataDir: path('data', 'Folder for the embedded database, the signing key and uploaded files.'),
  publicBaseUrl: z
    .union([z.url({ protocol: /^https?$/ }), z.literal('')])
    .default('')
    .meta({
      allowed: 'a URL that begins with https:// or http://',
      description:
        'Where clients reach this server from outside; empty: as they happened to reach it.',
    }),
  policyServerKey: z
    .union([z.string().regex(/^[A-Za-z0-9+/_-]{43}$/), z.literal('')])
    .default('')
    .meta({
      allowed: 'a key of 43 characters',
      description:
        'Public ed25519 key (unpadded base64) of the policy server of this name; empty: there is none.',
    }),
  adminContact: z
    .union([z.email(), z.literal('')])
    .default('')
    .meta({
      allowed: 'a mail address',
      description: 'Whom people may write to about this server.',
    }),
  federationAddress: z
    .string()
    .refine((text) => text === '' || isServerName(text))
    .default('')
    .meta({
      allowed: 'a host name with an optional port',
      description: 'Where other servers connect, if that is not what the server name says.',
    }),
  signingKeyFile: path('', 'The signing key in Synapse’s format; empty: made at the first start.'),

  // Processes
  workers: integer(1, 1, 64, 'How many processes of this machine serve requests.'),
  internalHost: host('127.0.0.1', 'Address on which processes of this instance reach each other.'),
  internalPort: integer(
    0,
    0,
    65_535,
    'Port of that address (of the first worker; the others follow); 0 takes a free one.',
  ),
  drainMs: integer(6_000, 0, 60_000, 'How long a stopping process waits for requests in flight.'),

  // Listeners
  clientHost: host('0.0.0.0', 'Address of the plain-HTTP listener for clients.'),
  clientPort: integer(8008, 0, 65_535, 'Port of the listener for clients; 0 takes a free one.'),
  federationHost: host('0.0.0.0', 'Address of the HTTPS listener for other servers.'),
  federationPort: integer(8448, 0, 65_535, 'Port of the listener for other servers.'),
  tlsCertFile: path('', 'PEM certificate chain of that listener; without one it is not opened.'),
  tlsKeyFile: path('', 'PEM key of that certificate.'),
  metricsHost: host('127.0.0.1', 'Address of the listener for /metrics.'),
  metricsPort: integer(0, 0, 65_535, 'Port of the listener for /metrics; 0 does not open it.'),
  trustedProxies: networks(
    ['127.0.0.0/8', '::1/128'],
    'Reverse proxies whose X-Forwarded-For is believed.',
  ),

  // Stores
  databaseUrl: secret('Postgres 15 or newer; empty: the embedded one.'),
  databaseConnections: integer(10, 2, 500, 'Most database connections of one process.'),
  databaseStatementMs: integer(30_000, 1_000, 3_600_000, 'Longest time for one statement.'),
  postgresBinDir: path('', 'Folder of other Postgres programs for the embedded database.'),
  redisUrl: secret('Redis for faster wake-ups between processes; empty: Postgres does it.'),
  mediaDir: path('', 'Folder for uploaded files; empty: media in the data folder.'),

  // Accounts
  registration: choice(
    ['closed', 'open', 'token'],
    'Who may make an account: nobody, anybody, or who has a registration token.',
  ),
  registrationSharedSecret: secret('Secret of /_synapse/admin/v1/register; empty: it is closed.'),
  registrationTokens: list('Tokens that open registration when it takes them.', true),
  guests: flag(false, 'Whether visitors without an account may look at rooms that allow it.'),
  loginTokens: flag(
    false,
    'Whether who is signed in may let another device in by a token that is good once.',
  ),
  rendezvous: choice(
    ['open', 'authenticated', 'off'],
    'Who may open a channel for signing in by QR code: anybody, who is signed in, or nobody.',
  ),
  accessTokenMs: integer(
    300_000,
    10_000,
    31_536_000_000,
    'Life of the access token of a client that can refresh it.',
  ),

  // Behaviour
  presence: flag(true, 'Whether people see who is online.'),
  federatePresence: flag(true, 'Whether servers tell each other who is online.'),
  presenceMembersMax: integer(
    1_000,
    0,
    1_000_000,
    'Most members of a room whose servers are told who is online in it.',
  ),
  rateLimits: flag(true, 'Whether requests are limited by account and address.'),
  defaultRoomVersion: z
    .enum(['10', '11', '12'])
    .default('12')
    .meta({ description: 'Version of a new room for which the client asks none.' }),
  pushContent: flag(
    true,
    'Whether push gateways are told what was said, if the app does not ask for ids only.',
  ),
  pushBadge: choice(
    ['rooms', 'notifications'],
    'What the number on an app’s badge counts: rooms with something unread, or notifications.',
  ),
  turnUris: list('TURN servers for calls, such as turn:turn.example.org?transport=udp.'),
  turnSharedSecret: secret('Secret that those share with this server (static-auth-secret).'),
  turnLifetimeMs: integer(
    3_600_000,
    60_000,
    86_400_000,
    'How long credentials for those hold that a client is given.',
  ),
  livekitUrls: listOf(
    (text) => /^https?:\/\//.test(text) && URL.canParse(text),
    'URLs',
    'Services (lk-jwt-service) that let clients into LiveKit, for calls of several people.',
  ),
  noticesUser: z
    .string()
    .regex(/^[a-z0-9._=/+-]{1,200}$/)
    .default('_server')
    .meta({
      allowed: 'the local part of a user id',
      description:
        'Who sends the notices of whoever runs the server; nobody else may have the name.',
    }),
  noticesName: z
    .string()
    .min(1)
    .max(255)
    .default('Server notices')
    .meta({ allowed: 'a text', description: 'Name of that user and of the rooms for notices.' }),
  delayMaxMs: integer(
    86_400_000,
    0,
    31_536_000_000,
    'Longest delay after which events may be sent, as calls use it; 0 delays none.',
  ),
  delaysPerUser: integer(100, 1, 10_000, 'Most delayed events that one user may have waiting.'),
  appserviceFiles: list('Registrations of bridges and bots (YAML files).'),

  // Mail
  smtpUrl: secret('Mail server, as smtp://user:password@host:587; empty: no mail is sent.'),
  mailFrom: z
    .union([z.email(), z.literal('')])
    .default('')
    .meta({ allowed: 'a mail address', description: 'Sender of mails; wanted with smtp_url.' }),
  registrationNeedsAddress: flag(
    false,
    'Whether a new account needs a mail address; only with smtp_url.',
  ),

  // Previews of links
  urlPreviews: flag(
    true,
    'Whether this server fetches pages that people link to, to show what they are about.',
  ),
  urlPreviewAllowPrivate: networks(
    [],
    'Private networks whose pages may be fetched for that, such as 10.0.0.0/8.',
  ),
  urlPreviewDeny: list('Hosts whose pages are not fetched, * and ? as wildcards.'),

  // Federation
  federationAllowPrivate: networks(
    [],
    'Private networks that requests to other servers and push gateways may reach, such as 10.0.0.0/8.',
  ),
  federationCaFile: path('', 'PEM certificates trusted for other servers, besides the usual ones.'),
  federationAllow: list(
    'Names of servers to talk with, * and ? as wildcards; empty: all but the denied ones.',
  ),
  federationDeny: list('Names of servers not to talk with, * and ? as wildcards.'),
  federationNotaries: listOf(
    isServerName,
    'names of servers',
    'Servers that are asked for the keys of one that does not answer.',
  ),
  oldVerifyKeys: listOf(
    (text) => oldVerifyKeyForm.test(text),
    'lines of <key id> <public key> <milliseconds since 1970>',
    'Keys with which this server signed before, as "ed25519:a_xxxx <Base64> <when it ended>".',
  ),
  federationRetryMinMs: integer(
    1_000,
    50,
    3_600_000,
    'Shortest pause before a server that did not answer is tried again; it grows to a fifth of the time it was away.',
  ),
  federationRetryMaxMs: integer(
    604_800_000,
    1_000,
    2_592_000_000,
    'Longest such pause; it ends at once when the server is heard from.',
  ),

  fasterJoins: flag(
    false,
    'Join rooms of other servers without waiting for their members, which come in the background.',
  ),

  // Limits
  bodySizeBytes: integer(1_048_576, 65_536, 67_108_864, 'Largest JSON body of a client.'),
  uploadSizeBytes: integer(
    104_857_600,
    1_024,
    10_737_418_240,
    'Largest file that a user may upload; larger ones of other servers are not fetched (nor any beyond 256 MiB).',
  ),
  federationBodySizeBytes: integer(
    16_777_216,
    4_194_304,
    268_435_456,
    'Largest JSON body of another server, and largest answer taken from one.',
  ),
  federationRequests: integer(
    100,
    1,
    10_000,
    'Requests of other servers that one process serves at a time.',
  ),
  federationRequestsPerServer: integer(10, 1, 1_000, 'The same for requests of one server.'),
  federationQueueMs: integer(
    3_000,
    0,
    60_000,
    'How long a request of another server waits for its turn before it is told to come later.',
  ),
  jsonDepth: integer(100, 16, 500, 'Deepest nesting of a JSON body.'),
  syncTimeoutMs: integer(300_000, 1_000, 600_000, 'Longest wait of a sync for something new.'),
  redactionRetentionMs: integer(
    604_800_000,
    0,
    31_536_000_000,
    'How long the content of a redacted event is kept in the database.',
  ),
  logRetentionMs: integer(
    172_800_000,
    3_600_000,
    31_536_000_000,
    'How long the log of changes is kept for clients that were away; after that they sync anew.',
  ),

  // Logging
  logLevel: z.enum(logLevels).default('info').meta({ description: 'How much is logged.' }),
})

/** Key id, public key, and when the server stopped to use it. */
const oldVerifyKeyForm = /^ed25519:\w{1,64} [A-Za-z0-9+/]{43}=? \d{1,15}$/

/** Every setting's value, frozen. */
export type Config = Readonly<z.output<typeof settingsSchema>>

function integer(value: number, min: number, max: number, description: string) {
  return z.int().min(min).max(max).default(value).meta({ description })
}

function flag(value: boolean, description: string) {
  return z.boolean().default(value).meta({ description })
}

function choice<const T extends readonly [string, ...string[]]>(values: T, description: string) {
  const schema = z.enum(values)
  return schema.default(schema.parse(values[0])).meta({ description })
}

function list(description: string, isSecret = false) {
  return z
    .array(z.string().min(1).max(4_096))
    .max(1_000)
    .default([])
    .meta({ description, secret: isSecret, allowed: 'a list' })
}

function listOf(isValid: (text: string) => boolean, allowed: string, description: string) {
  return z
    .array(z.string().max(4_096).refine(isValid))
    .max(100)
    .default([])
    .meta({ description, allowed: `a list: ${allowed}` })
}

function path(value: string, description: string) {
  return z.string().max(4_096).default(value).meta({ description, allowed: 'a path' })
}

function secret(description: string) {
  return z.string().max(4_096).default('').meta({ description, secret: true })
}

function host(value: string, description: string) {
  return z
    .string()
    .refine((text) => isIP(text) !== 0 || text === 'localhost')
    .default(value)
    .meta({ description, allowed: 'an IP address of this machine' })
}

function networks(value: string[], description: string) {
  return z
    .array(z.string().refine(isNetwork))
    .max(1_000)
    .default(value)
    .meta({ description, allowed: 'networks in CIDR form, such as 10.0.0.0/8' })
}

function isNetwork(text: string): boolean {
  const [address = '', bits = ''] = text.split('/')
  const version = isIP(address)
  return version !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128)
}
