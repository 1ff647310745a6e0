/** What this machine can do at best: durable one-row commits, and Node's own HTTP server with the same load. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import { Pool } from 'undici'
import { freePorts } from '../harness/ports.ts'
import type { PrivatePostgres } from '../harness/postgres.ts'
import { drive, type Limits, type Measurement } from './measure.ts'

/** Measures the bare limits; they are the same for every server. */
export async function bareLimits(cluster: PrivatePostgres, limits: Limits): Promise<Measurement[]> {
  return [...(await commits(cluster, limits)), ...(await http(limits))]
}

async function commits(cluster: PrivatePostgres, limits: Limits): Promise<Measurement[]> {
  const url = await cluster.createDatabase('bare')
  const results: Measurement[] = []
  for (const connections of [1, 16]) {
    const sql = postgres(url, { max: connections, onnotice: () => {} })
    await sql`create table if not exists bare (id bigint generated always as identity, body text)`
    const { latenciesMs, wallMs } = await drive(connections, limits, async (_, i) => {
      await sql`insert into bare (body) values (${`row ${i}`})`
    })
    results.push(rate(`one-row commits, ${connections} connections`, latenciesMs.length, wallMs))
    await sql.end()
  }
  return results
}

async function http(limits: Limits): Promise<Measurement[]> {
  const [port = 0] = await freePorts(1)
  const script = fileURLToPath(new URL('./bare-http.mjs', import.meta.url))
  const child = spawn(process.execPath, [script, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: 64 })
  const body = JSON.stringify({
    msgtype: 'm.text',
    body: 'the quick brown fox jumps over the lazy dog',
  })
  try {
    const { latenciesMs, wallMs } = await drive(
      64,
      { ...limits, samples: limits.samples * 10 },
      async () => {
        const answer = await pool.request({ method: 'PUT', path: '/', body })
        await answer.body.json()
      },
    )
    return [rate('bare Node HTTP, PUT, 64 connections', latenciesMs.length, wallMs)]
  } finally {
    await pool.close()
    child.kill()
  }
}

function rate(name: string, samples: number, wallMs: number): Measurement {
  return {
    server: 'bare',
    name,
    unit: '/s',
    better: 'info',
    value: (samples * 1_000) / wallMs,
    samples,
  }
}
