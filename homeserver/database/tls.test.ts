import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { silentLogger } from '../platform/log.ts'
import { parseDatabaseUrl } from './address.ts'
import { createDatabase } from './database.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts'
import { postgresUser } from './postgres-binaries.ts'

/** A loopback address of its own, because the port is the usual one. */
const address = '127.0.54.32'
const hasOpenssl = spawnSync('openssl', ['version']).status === 0

describe.runIf(hasOpenssl && process.platform === 'linux')('a database behind TLS', () => {
  let dir: string
  let server: EmbeddedPostgres
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'folkmoot-tls-'))
    chmodSync(dir, 0o755)
    const [cert, key] = [join(dir, 'server.crt'), join(dir, 'server.key')]
    const made = spawnSync('openssl', [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'],
      ...['-addext', `subjectAltName=IP:${address}`, '-keyout', key, '-out', cert],
    ])
    expect(made.status).toBe(0)
    const user = postgresUser()
    if (user) chownSync(key, user.uid, user.gid)
    server = await startEmbeddedPostgres({
      dataDir: join(dir, 'data'),
      log: silentLogger,
      sync: false,
      settings: {
        listen_addresses: address,
        ssl: 'on',
        ssl_cert_file: cert,
        ssl_key_file: key,
      },
    })
  })
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true, force: true })
  })

  it('is reached encrypted, checked when that is asked for', async () => {
    for (const mode of ['require', `verify-full&sslrootcert=${join(dir, 'server.crt')}`]) {
      await using db = createDatabase({ url: urlWith(mode), connections: 1 })
      const rows = await db`select ssl from pg_stat_ssl where pid = pg_backend_pid()`
      expect(rows).toEqual([{ ssl: true }])
    }
  })

  it('is not believed when its certificate does not hold', async () => {
    await using db = createDatabase({ url: urlWith('verify-full'), connections: 1, acquireMs: 500 })
    await expect(db`select 1`).rejects.toMatchObject({ kind: 'unavailable' })
  })

  function urlWith(mode: string): string {
    const { user, password, database } = parseDatabaseUrl(server.url)
    return `postgres://${user}:${password}@${address}/${database}?sslmode=${mode}`
  }
})
