import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'

/** Starts the program as an operator does and looks at it from outside. */
interface Program {
  readonly child: ChildProcess
  /** Everything that it printed so far. */
  output(): string
  readonly ended: Promise<number | null>
}

const { PATH, HOME } = process.env
let dataDir: string
let port: number
beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'folkmoot-main-'))
  chmodSync(dataDir, 0o755)
  port = await freePort()
})
afterAll(() => rmSync(dataDir, { recursive: true, force: true }))

const running = new Set<Program>()
afterEach(async () => {
  for (const program of running) program.child.kill('SIGTERM')
  await Promise.all([...running].map(({ ended }) => ended))
})

function start(env: Record<string, string> = {}, file = 'main.ts', args: string[] = []): Program {
  const script = join(import.meta.dirname, file)
  const child = spawn(process.execPath, ['--import', 'tsx', script, ...args], {
    env: {
      PATH,
      HOME,
      DATA_DIR: dataDir,
      CLIENT_HOST: '127.0.0.1',
      CLIENT_PORT: String(port),
      REGISTRATION: 'open',
      ...env,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let text = ''
  child.stdout?.on('data', (chunk) => {
    text += chunk
  })
  child.stderr?.on('data', (chunk) => {
    text += chunk
  })
  const program: Program = {
    child,
    output: () => text,
    ended: new Promise((resolve) =>
      child.once('close', (code) => {
        running.delete(program)
        resolve(code)
      }),
    ),
  }
  running.add(program)
  return program
}

async function startAndWait(env: Record<string, string> = {}): Promise<Program> {
  const program = start(env)
  const printed = () => program.output().includes('clients:') || program.child.exitCode !== null
  await expect.poll(printed, { timeout: 60_000 }).toBe(true)
  expect(program.output()).toContain('Folkmoot serves')
  return program
}

async function get(path: string, at = port): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${at}${path}`, {
    signal: AbortSignal.timeout(5_000),
  })
  return { status: response.status, text: await response.text() }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      const found = typeof address === 'object' ? (address?.port ?? 0) : 0
      server.close(() => resolve(found))
    })
  })
}

/** Process ids of the children, the database's server left out. */
function workersOf(program: Program): number[] {
  const children = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(program.child.pid)])
  return children
    .toString()
    .split('\n')
    .filter((line) => line.includes('main.ts'))
    .map((line) => Number.parseInt(line, 10))
}

it('starts on an empty folder, says what to do next, is healthy, and stops within ten seconds', async () => {
  const metricsPort = await freePort()
  const program = await startAndWait({ METRICS_PORT: String(metricsPort) })
  expect(program.output()).toContain(`http://127.0.0.1:${port}`)
  expect(program.output()).toContain('can never be changed')
  expect(await get('/health')).toEqual({ status: 200, text: 'OK' })
  expect(await get('/ready')).toEqual({ status: 200, text: 'OK' })
  expect((await get('/metrics')).status).toBe(404)
  const metrics = await get('/metrics', metricsPort)
  expect(metrics.text).toContain('process_cpu_seconds_total')

  const second = start({ CLIENT_PORT: String(await freePort()) })
  expect(await second.ended).toBe(1)
  expect(second.output()).toContain('is in use by another Folkmoot process')

  const before = Date.now()
  program.child.kill('SIGTERM')
  expect(await program.ended).toBe(0)
  expect(Date.now() - before).toBeLessThan(10_000)
}, 120_000)

it('does not start under another name than the database’s, and says which', async () => {
  const program = start({ SERVER_NAME: 'other.example' })
  expect(await program.ended).toBe(1)
  expect(program.output()).toMatch(/other\.example.*belongs to localhost:8448/)
}, 60_000)

it('does not start with a wrong setting, and names it', async () => {
  const program = start({ CLIENT_PORT: 'eight' })
  expect(await program.ended).toBe(1)
  expect(program.output()).toContain('client_port = "eight" (CLIENT_PORT): allowed is')
}, 60_000)

it('does not start on a port that is taken, and names it', async () => {
  const blocker = createServer()
  await new Promise<void>((resolve) => blocker.listen(port, '127.0.0.1', resolve))
  const program = start()
  expect(await program.ended).toBe(1)
  expect(program.output()).toContain(`port ${port} of 127.0.0.1 is in use`)
  await new Promise((resolve) => blocker.close(resolve))
}, 60_000)

it('starts again a worker that dies, while the others serve', async () => {
  const program = await startAndWait({ WORKERS: '2' })
  const [victim, ...others] = workersOf(program)
  expect(others).toHaveLength(1)
  process.kill(victim ?? 0, 'SIGKILL')
  // A connection that was being handed to the victim may be lost: the next one is not.
  const ready = () =>
    get('/ready').then(
      ({ status }) => status,
      () => 0,
    )
  await expect.poll(ready, { timeout: 15_000 }).toBe(200)
  await expect
    .poll(() => workersOf(program).filter((pid) => pid !== victim).length, { timeout: 20_000 })
    .toBe(2)
  program.child.kill('SIGTERM')
  expect(await program.ended).toBe(0)
}, 120_000)

it('prints every setting with where it came from', async () => {
  const program = start({ WORKERS: '3' }, 'config.ts')
  expect(await program.ended).toBe(0)
  expect(program.output()).toMatch(/workers: 3\n.*\n.*from: WORKERS; allowed: a whole number/)
}, 60_000)
