import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Below what systems give to outgoing connections (32768 and more on Linux, 49152 elsewhere), so that nobody takes a
 * port between the choice and the server's start, or while a server is being started again.
 */
const first = 10_240
const count = 22_000
/** A file for each port that a test has chosen, with the id of its process. */
const claims = join(tmpdir(), `conformance-ports-${process.getuid?.() ?? 0}`)
const ours = new Set<number>()
let next = Math.floor(Math.random() * count)

process.on('exit', () => {
  for (const port of ours) rmSync(join(claims, String(port)), { force: true })
})

/** Chooses ports of an address that are free now; no other test is given them while this process lives. */
export async function freePorts(wanted: number, host = '127.0.0.1'): Promise<number[]> {
  mkdirSync(claims, { recursive: true })
  const ports: number[] = []
  for (let tries = 0; ports.length < wanted; tries++) {
    if (tries === count) throw new Error('no port is free')
    const port = first + next
    next = (next + 1) % count
    if (claim(port) && (await isFree(port, host))) ports.push(port)
  }
  return ports
}

function claim(port: number): boolean {
  const file = join(claims, String(port))
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' })
    ours.add(port)
    return true
  } catch {
    if (!isAlive(holderOf(file))) rmSync(file, { force: true })
    return false
  }
}

function holderOf(file: string): number | undefined {
  try {
    return Number(readFileSync(file, 'utf8')) || undefined
  } catch {
    return undefined
  }
}

/** One that nobody has written yet is being written now. */
function isAlive(pid: number | undefined): boolean {
  if (pid === undefined) return true
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

async function isFree(port: number, host: string): Promise<boolean> {
  const server = createServer()
  const free = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, host, () => resolve(true))
  })
  await new Promise<void>((resolve) => server.close(() => resolve()))
  return free
}
