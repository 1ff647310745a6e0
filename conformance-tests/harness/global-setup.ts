/**
 * Once per run: makes the certificate authority and starts the server under test, which all single-server files share.
 * Every test makes users and rooms of its own, so files do not disturb each other.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { createAuthority } from './certificates.ts'
import { type LaunchedServer, launch } from './server.ts'
import { launcherUnderTest, nameUnderTest, secretUnderTest, urlUnderTest } from './settings.ts'

declare module 'vitest' {
  interface ProvidedContext {
    conformance: {
      readonly dir: string
      readonly authority: string
      readonly server: { name: string; clientUrl: string; sharedSecret?: string }
      /** Certificate and key of the peer that a test plays; one for all of them. */
      readonly peer: { cert: string; key: string }
    }
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = mkdtempSync(join(tmpdir(), 'conformance-'))
  const authority = createAuthority()
  const authorityFile = join(dir, 'ca.crt')
  writeFileSync(authorityFile, authority.cert)
  let launched: LaunchedServer | undefined
  if (urlUnderTest === undefined) {
    const env = postgresUrl()
    const serverDir = join(dir, 'hs1')
    launched = await launch({
      launcher: launcherUnderTest,
      dir: serverDir,
      authority,
      authorityFile,
      env,
    })
  }
  const server = launched ?? {
    name: nameUnderTest ?? '',
    clientUrl: urlUnderTest ?? '',
    ...(secretUnderTest === undefined ? {} : { sharedSecret: secretUnderTest }),
  }
  project.provide('conformance', {
    dir,
    authority: authority.cert,
    server: {
      name: server.name,
      clientUrl: server.clientUrl,
      ...(server.sharedSecret === undefined ? {} : { sharedSecret: server.sharedSecret }),
    },
    peer: authority.issue(['localhost', '127.0.0.1', '127.0.0.2', '127.0.0.3']),
  })
  return async () => {
    await launched?.stop()
    if (process.env['CONFORMANCE_KEEP'] === undefined) rmSync(dir, { recursive: true, force: true })
    else process.stderr.write(`kept ${dir}\n`)
  }
}

function postgresUrl(): Record<string, string> {
  const url = process.env['CONFORMANCE_DB']
  return url === undefined ? {} : { HS_DB: url }
}
