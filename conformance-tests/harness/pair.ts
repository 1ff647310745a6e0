/** Servers that federate with each other, started for one test file. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAuthority } from './certificates.ts'
import { type LaunchedServer, type LaunchOptions, launch } from './server.ts'

/** What one of the servers is started with. */
export type Member = Pick<LaunchOptions, 'launcher' | 'env' | 'host' | 'name' | 'dataDir'>

/** A few servers that trust each other. */
export interface Federation extends AsyncDisposable {
  readonly servers: readonly LaunchedServer[]
  /** Starts one more process or server among them. */
  launch(member: Member): Promise<LaunchedServer>
}

/** Starts the servers at once; all of them stop and their data is removed at the end. */
export async function startFederation(members: readonly Member[]): Promise<Federation> {
  const dir = mkdtempSync(join(tmpdir(), 'conformance-'))
  const authority = createAuthority()
  const authorityFile = join(dir, 'ca.crt')
  writeFileSync(authorityFile, authority.cert)
  const started: LaunchedServer[] = []
  let count = 0

  async function add(
    member: Member & Pick<LaunchOptions, 'name' | 'ports'>,
  ): Promise<LaunchedServer> {
    count += 1
    const server = await launch({
      ...member,
      dir: join(dir, `hs${count}`),
      authority,
      authorityFile,
    })
    started.push(server)
    return server
  }
  async function dispose(): Promise<void> {
    await Promise.all(started.map((server) => server.stop()))
    if (process.env['CONFORMANCE_KEEP'] === undefined) rmSync(dir, { recursive: true, force: true })
    else process.stderr.write(`kept ${dir}\n`)
  }

  try {
    const servers = await Promise.all(members.map(add))
    return { servers, launch: add, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}
