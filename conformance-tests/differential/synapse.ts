/** Synapse's own auth rules and state resolution, in a Python process that lives as long as a test file. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { pythonOfSynapse } from '../harness/settings.ts'
import type { History, Outcome } from './history.ts'

const outcomeSchema = z.object({
  ids: z.array(z.string()),
  verdicts: z.array(z.enum(['accept', 'chain', 'state'])),
  merged: z.array(z.array(z.string()).nullable()),
  answers: z.array(z.array(z.string())),
})
const lineSchema = z.union([outcomeSchema, z.object({ error: z.string() })])

/** Starts the process. One history is asked about at a time. */
export function startSynapseRules(): SynapseRules {
  const child = spawn(pythonOfSynapse(), [join(import.meta.dirname, 'synapse-rules.py')])
  return new SynapseRules(child)
}

export class SynapseRules implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  #errors = ''

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    child.stderr.on('data', (text) => {
      this.#errors = `${this.#errors}${text}`.slice(-4_000)
    })
  }

  /** What Synapse makes of a history. @throws Error with Synapse's traceback when it breaks down over it. */
  async replay({ version, events, questions }: History): Promise<Outcome> {
    const pdus = events.map(({ json }) => json)
    this.#child.stdin.write(`${JSON.stringify({ version, events: pdus, questions })}\n`)
    const { value, done } = await this.#lines.next()
    if (done) throw new Error(`Synapse's rules ended: ${this.#errors}`)
    const answer = lineSchema.parse(JSON.parse(value))
    if ('error' in answer) throw new Error(answer.error)
    return answer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.stdin.end()
    await ended
  }
}
