import { createServer } from 'node:net'

/**
 * Below what systems give to outgoing connections (32768 and more on Linux, 49152 elsewhere), so that nobody takes a
 * port between the choice and the server's start, or while a server is being started again.
 */
const first = 10_240
/** Each worker of the test runner has its own part, and each process in it begins somewhere else. */
const parts = 8
const partSize = 2_800
const part = Number(process.env['VITEST_POOL_ID'] ?? 0) % parts
let next = process.pid % partSize

/** Chooses ports of an address that are free now, and that no other worker chooses. */
export async function freePorts(count: number, host = '127.0.0.1'): Promise<number[]> {
  const ports: number[] = []
  for (let tries = 0; ports.length < count; tries++) {
    if (tries === partSize) throw new Error('no port is free')
    const port = first + part * partSize + next
    next = (next + 1) % partSize
    if (await isFree(port, host)) ports.push(port)
  }
  return ports
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
