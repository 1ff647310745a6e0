/**
 * Servers whose links to each other a test can cut and heal. In front of each server's federation port stands a gate,
 * which knows who asks by the request's X-Matrix header; what is cut gets no answer but a closed connection.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { Agent, createServer, request as httpsRequest, type Server } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Authority, createAuthority } from './certificates.ts'
import type { Federation, Member } from './pair.ts'
import { parseAuthorization } from './peer-http.ts'
import { freePorts } from './ports.ts'
import { type LaunchedServer, launch } from './server.ts'

/** A federation in which who reaches whom can be changed. */
export interface LinkedFederation extends Omit<Federation, 'launch'> {
  /** Parts the servers: those of different groups do not reach each other; what is on its way between them is lost. */
  part(...groups: readonly (readonly LaunchedServer[])[]): void
  /** Everybody reaches everybody again. */
  heal(): void
}

interface Gate {
  readonly name: string
  readonly server: Server
  /** Requests under way, by who asks. */
  readonly underWay: Map<ServerResponse, string>
}

/** Starts the servers at once, each behind a gate. */
export async function startLinked(members: readonly Member[]): Promise<LinkedFederation> {
  const dir = mkdtempSync(join(tmpdir(), 'conformance-'))
  const authority = createAuthority()
  const authorityFile = join(dir, 'ca.crt')
  writeFileSync(authorityFile, authority.cert)
  const cuts = new Set<string>()
  const isCut = (one: string, other: string) => cuts.has(`${one} ${other}`)
  const agent = new Agent({ keepAlive: true, ca: authority.cert })
  const started: LaunchedServer[] = []
  const gates: Gate[] = []

  async function add(member: Member, at: number): Promise<LaunchedServer> {
    const [gatePort = 0, clientPort = 0, federationPort = 0] = await freePorts(3)
    const name = `localhost:${gatePort}`
    gates.push(await openGate({ name, gatePort, federationPort, authority, agent, isCut }))
    const server = await launch({
      ...{ ...member, name, ports: [clientPort, federationPort], authority, authorityFile },
      dir: join(dir, `hs${at + 1}`),
    })
    started.push(server)
    return server
  }

  async function dispose(): Promise<void> {
    await Promise.all(started.map((server) => server.stop()))
    for (const { server } of gates) {
      server.closeAllConnections()
      server.close()
    }
    agent.destroy()
    if (process.env['CONFORMANCE_KEEP'] === undefined) rmSync(dir, { recursive: true, force: true })
    else process.stderr.write(`kept ${dir}\n`)
  }

  try {
    const servers = await Promise.all(members.map(add))
    return {
      servers,
      part(...groups) {
        cuts.clear()
        for (const [at, group] of groups.entries()) {
          const others = groups.filter((_, other) => other !== at).flat()
          for (const { name } of group)
            for (const other of others) cuts.add(`${name} ${other.name}`)
        }
        for (const { name, underWay } of gates) {
          for (const [res, origin] of underWay) if (isCut(origin, name)) res.destroy()
        }
      },
      heal: () => cuts.clear(),
      [Symbol.asyncDispose]: dispose,
    }
  } catch (error) {
    await dispose()
    throw error
  }
}

async function openGate(needs: {
  readonly name: string
  readonly gatePort: number
  readonly federationPort: number
  readonly authority: Authority
  readonly agent: Agent
  readonly isCut: (origin: string, name: string) => boolean
}): Promise<Gate> {
  const { name, gatePort, isCut } = needs
  const underWay = new Map<ServerResponse, string>()
  const pass: RequestListener = (req, res) => {
    // Requests for keys are not signed, and go through.
    const origin = parseAuthorization(req.headers.authorization)['origin'] ?? ''
    if (isCut(origin, name)) return void res.destroy()
    underWay.set(res, origin)
    res.once('close', () => underWay.delete(res))
    forward(needs, req, res)
  }
  const server = createServer(needs.authority.issue(['localhost', '127.0.0.1']), pass)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(gatePort, '127.0.0.1', resolve)
  })
  return { name, server, underWay }
}

function forward(
  { agent, federationPort }: { readonly agent: Agent; readonly federationPort: number },
  req: IncomingMessage,
  res: ServerResponse,
): void {
  const { method, url, headers } = req
  const target = { host: '127.0.0.1', servername: 'localhost', port: federationPort }
  const onward = httpsRequest({ ...target, agent, method, path: url, headers }, (answer) => {
    res.writeHead(answer.statusCode ?? 502, answer.headers)
    answer.pipe(res)
    answer.once('error', () => res.destroy())
  })
  onward.once('error', () => res.destroy())
  res.once('close', () => onward.destroy())
  req.pipe(onward)
}
