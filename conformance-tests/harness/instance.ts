/** One instance of several processes: two starts on one database, or one start with two workers. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startFederation } from './pair.ts'
import { startPostgres } from './postgres.ts'
import { findRedis, startRedis } from './redis.ts'
import type { LaunchedServer } from './server.ts'
import { launcherUnderTest } from './settings.ts'
import { canListChildren, nodeChildren } from './workers.ts'

/** The processes of one instance. */
export interface Instance extends AsyncDisposable {
  /** What a client may ask; for two workers the same port twice. */
  readonly doors: readonly [LaunchedServer, LaunchedServer]
  /** SIGKILL to one process; of two starts the first. */
  killOne(): Promise<void>
  /** Has all processes serve again. */
  restore(): Promise<void>
}

/** Two starts: the first one can be treated in more ways. */
export interface TwoStarts extends Instance {
  /** SIGTERM; resolves when it has ended. */
  stopFirst(): Promise<void>
  /** SIGSTOP until disposed. */
  pauseFirst(): Disposable
}

/** Two starts with one database and one directory of media. */
export async function twoStarts({ withRedis }: { withRedis: boolean }): Promise<TwoStarts> {
  const dir = mkdtempSync(join(tmpdir(), 'instance-'))
  const postgres = await startPostgres(dir)
  const binary = withRedis ? findRedis() : undefined
  const bus = binary === undefined ? undefined : await startRedis(binary)
  const env = {
    HS_DB: await postgres.createDatabase('shared'),
    ...(bus ? { HS_REDIS: bus.url } : {}),
  }
  const federation = await startFederation([{ launcher: launcherUnderTest, env }])
  const [first] = federation.servers
  if (!first) throw new Error('no server')
  const dataDir = join(first.dir, 'data')
  const second = await federation.launch({
    ...{ launcher: launcherUnderTest, env, dataDir },
    name: first.name,
  })
  return {
    doors: [first, second],
    killOne: () => first.kill(),
    stopFirst: () => first.stop(),
    pauseFirst() {
      const pid = first.pid()
      process.kill(pid, 'SIGSTOP')
      return { [Symbol.dispose]: () => void process.kill(pid, 'SIGCONT') }
    },
    restore: () => first.start(),
    async [Symbol.asyncDispose]() {
      await federation[Symbol.asyncDispose]()
      await bus?.[Symbol.asyncDispose]()
      await postgres.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** One start with two workers behind one port. */
export async function twoWorkers(): Promise<Instance> {
  const env = { HS_WORKERS: '2' }
  const federation = await startFederation([{ launcher: launcherUnderTest, env }])
  const [server] = federation.servers
  if (!server) throw new Error('no server')
  return {
    doors: [server, server],
    async killOne() {
      const [worker] = nodeChildren(server.pid())
      if (worker === undefined) throw new Error('no worker')
      process.kill(worker, 'SIGKILL')
    },
    // The parent starts another.
    async restore() {},
    [Symbol.asyncDispose]: () => federation[Symbol.asyncDispose](),
  }
}

/** Kinds of instances, with why one of them cannot be tried here. */
export const instances = [
  { name: 'two starts without Redis', start: () => twoStarts({ withRedis: false }) },
  {
    name: 'two starts with Redis',
    start: () => twoStarts({ withRedis: true }),
    lacks: findRedis() === undefined ? 'there is no redis-server' : undefined,
  },
  {
    name: 'two workers',
    start: twoWorkers,
    lacks: canListChildren ? undefined : 'this machine does not list the children of a process',
  },
] as const
