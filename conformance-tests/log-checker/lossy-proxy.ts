import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { parseDatabaseUrl } from '../../homeserver/database/address.ts'

/**
 * Stands between workers and Postgres and at times cuts a connection just when an answer comes back: the statement is
 * done and its caller does not know.
 */
export interface LossyProxy extends AsyncDisposable {
  /** The database's address by way of the proxy. */
  readonly url: string
  /** Answers that were lost. */
  readonly lost: number
}

/** Loses one answer every `everyMs`, counted from the first connection. */
export async function startLossyProxy(databaseUrl: string, everyMs: number): Promise<LossyProxy> {
  const target = parseDatabaseUrl(databaseUrl)
  const sockets = new Set<Socket>()
  let lost = 0
  let nextLossAt = 0

  const server = createServer((client) => {
    const upstream =
      target.socketPath === undefined
        ? createConnection(target.port, target.host)
        : createConnection(target.socketPath)
    const close = () => {
      client.destroy()
      upstream.destroy()
      sockets.delete(client)
      sockets.delete(upstream)
    }
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', close)
      socket.on('close', close)
    }
    client.pipe(upstream)
    upstream.on('data', (chunk) => {
      const now = performance.now()
      if (nextLossAt === 0) nextLossAt = now + everyMs
      // Only a commit is worth losing: its answer names a base.
      if (now >= nextLossAt && chunk.includes('"base"')) {
        nextLossAt = now + everyMs
        lost += 1
        close()
      } else if (!client.write(chunk)) upstream.pause()
    })
    client.on('drain', () => upstream.resume())
  })
  const port = await listen(server)
  const url = new URL(databaseUrl)
  url.searchParams.delete('host')
  url.searchParams.delete('port')
  url.hostname = '127.0.0.1'
  url.port = String(port)
  return {
    url: url.href,
    get lost() {
      return lost
    },
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
  })
}
