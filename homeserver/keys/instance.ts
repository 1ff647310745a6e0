import { createHash, createHmac } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SigningKey } from '../../spec/crypto/ed25519.ts'
import type { ServerName } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'
import type { Random } from '../platform/random.ts'
import { addRecord, type InstanceRecord, listRecords } from './instance-queries.ts'
import {
  fingerprint,
  makeSigningKey,
  parseSigningKey,
  type StoredSigningKey,
} from './signing-keys.ts'

/**
 * Who this server is: its name, its signing key and its secret. They belong to the database: a process that was
 * given others does not start. With the embedded database the key and the secret are files in the data directory,
 * else rows of `instance_secrets`; what is kept in a file is recorded by its fingerprint.
 */
export interface Instance {
  readonly serverName: ServerName
  readonly signingKey: SigningKey
  /** A secret for one purpose, 64 hexadecimal digits, the same on every process of the instance. */
  secretFor(purpose: string): string
  /** True at the very first start on this database. */
  readonly isNew: boolean
}

/** The configuration is for another instance than the database; the message says which part and what to do. */
export class InstanceError extends Error {
  override readonly name = 'InstanceError'
}

interface Needs {
  readonly db: Db
  readonly random: Random
  readonly serverName: ServerName
  /** Where key and secret lie as files; undefined: in the database. */
  readonly filesDir: string | undefined
  /** The operator's own key file, or '' for none. */
  readonly signingKeyFile: string
}

/** Reads who we are, and makes key and secret at the first start. Rejects with InstanceError. */
export async function openInstance(needs: Needs): Promise<Instance> {
  const before = await listRecords(needs.db)
  checkName(needs.serverName, before.get('server_name'))
  const signingKey = await openSigningKey(needs, before.get('signing_key'))
  const secret = await openSecret(needs, before.get('secret'))
  await addRecord(needs.db, 'server_name', { value: needs.serverName, kept_in: 'database' })
  // Another process may have been first: what the database says now is what counts.
  const after = await listRecords(needs.db)
  checkName(needs.serverName, after.get('server_name'))
  return {
    serverName: needs.serverName,
    signingKey: signingKey.key,
    secretFor: (purpose) => createHmac('sha256', secret).update(purpose).digest('hex'),
    isNew: before.size === 0,
  }
}

function checkName(ours: string, record: InstanceRecord | undefined): void {
  if (record === undefined || record.value === ours) return
  throw new InstanceError(
    `server_name = ${ours}, but this database belongs to ${record.value}: the name of a server can never be changed (set SERVER_NAME=${record.value}, or use another database)`,
  )
}

async function openSigningKey(
  needs: Needs,
  record: InstanceRecord | undefined,
): Promise<StoredSigningKey> {
  const path = needs.signingKeyFile || (needs.filesDir && join(needs.filesDir, 'signing.key'))
  if (!path) return parseSigningKey(await inDatabase(needs, 'signing_key', record))
  const text = readKept(path, record, 'signing key', () => {
    if (needs.signingKeyFile) {
      throw new InstanceError(`signing_key_file = ${path}: there is no such file`)
    }
    return makeSigningKey(needs.random).text
  })
  const stored = parseFile(path, text)
  const recorded = await recordFile(needs, 'signing_key', fingerprint(stored))
  const expected =
    recorded.kept_in === 'file' ? recorded.value : fingerprint(parseSigningKey(recorded.value))
  if (expected !== fingerprint(stored)) {
    throw new InstanceError(
      `the signing key in ${path} is ${stored.key.keyId} ${stored.key.publicKey}, but this database belongs to ${expected}: put that key back`,
    )
  }
  return stored
}

async function openSecret(needs: Needs, record: InstanceRecord | undefined): Promise<string> {
  if (!needs.filesDir) return await inDatabase(needs, 'secret', record)
  const path = join(needs.filesDir, 'instance.secret')
  const text = readKept(path, record, 'secret', () => makeSecret(needs.random)).trim()
  const recorded = await recordFile(needs, 'secret', hashOf(text))
  const expected = recorded.kept_in === 'file' ? recorded.value : hashOf(recorded.value)
  if (expected !== hashOf(text)) {
    throw new InstanceError(
      `the secret in ${path} is not the one that this database belongs to: put the file back`,
    )
  }
  return text
}

/** A value that lies in the database: made once, the same for all. */
async function inDatabase(
  needs: Needs,
  name: 'signing_key' | 'secret',
  record: InstanceRecord | undefined,
): Promise<string> {
  if (record === undefined) {
    const value = name === 'secret' ? makeSecret(needs.random) : makeSigningKey(needs.random).text
    await addRecord(needs.db, name, { value, kept_in: 'database' })
  }
  const kept = (await listRecords(needs.db)).get(name)
  if (kept === undefined) throw new InstanceError(`the database does not keep the ${name}`)
  if (kept.kept_in === 'database') return kept.value
  throw new InstanceError(
    name === 'signing_key'
      ? `this database belongs to the signing key ${kept.value}, which is kept in a file: set SIGNING_KEY_FILE`
      : 'this database belongs to a secret that is kept in the file instance.secret of a data directory',
  )
}

/** Reads a file; one that is missing is made, unless the database already belongs to its content. */
function readKept(
  path: string,
  record: InstanceRecord | undefined,
  what: string,
  make: () => string,
): string {
  if (existsSync(path)) return readFileSync(path, 'utf8')
  if (record?.kept_in === 'file') {
    const which = what === 'signing key' ? `${what} ${record.value}` : what
    throw new InstanceError(
      `${path} is missing, and this database belongs to the ${which}: put the file back`,
    )
  }
  // A database that was used by DATABASE_URL before has them in itself: they move to the file.
  const text = record?.value ?? make()
  writeFileSync(path, `${text}\n`, { mode: 0o600, flag: 'wx' })
  return text
}

function parseFile(path: string, text: string): StoredSigningKey {
  try {
    return parseSigningKey(text)
  } catch (error) {
    throw new InstanceError(`${path}: ${error instanceof Error ? error.message : error}`)
  }
}

async function recordFile(needs: Needs, name: string, value: string): Promise<InstanceRecord> {
  const record: InstanceRecord = { value, kept_in: 'file' }
  await addRecord(needs.db, name, record)
  return (await listRecords(needs.db)).get(name) ?? record
}

function makeSecret(random: Random): string {
  return Buffer.from(random.bytes(32)).toString('hex')
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}
