/** A Redis for tests, where redis-server is installed; it keeps nothing. */
import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { freePorts } from './ports.ts'

const startTimeoutMs = 10_000

/** Path of redis-server, if it is installed. */
export function findRedis(): string | undefined {
  const directories = (process.env['PATH'] ?? '').split(delimiter)
  return directories
    .map((directory) => join(directory, 'redis-server'))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/** Starts it on a free port. */
export async function startRedis(
  binary: string,
): Promise<AsyncDisposable & { readonly url: string }> {
  const [port = 0] = await freePorts(1)
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'ignore'], cwd: '/' })
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('redis-server did not start')), startTimeoutMs)
    child.once('error', reject)
    child.stdout.on('data', (chunk: Buffer) => {
      if (!chunk.includes('Ready to accept')) return
      clearTimeout(timer)
      resolve()
    })
  })
  return {
    url: `redis://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill()
      await ended
    },
  }
}
