import { z } from 'zod'
import type { Clock } from '../platform/clock.ts'
import { createForwarding } from './forwarding.ts'
import { NotOurs, type RunningPeers } from './peers.ts'
import type { RunningProcesses } from './processes.ts'
import type { RunningTail } from './tail.ts'

/**
 * Methods of the engine that run in the process that owns a key, wherever they are called. The caller has seen in its
 * own log what the owner did when it gets the answer.
 */

export const ownedMethodLimits = {
  /** Longest wait for the own tail to reach what the owner has done, in ms. */
  tailMs: 1_000,
  /** Longest time of a method that asks other servers, in ms. */
  remoteMs: 120_000,
} as const

/** A method whose arguments and result are JSON. */
export interface OwnedMethod<A extends object, R> {
  /** Its name between processes. */
  readonly name: string
  readonly args: z.ZodType<A>
  readonly result: z.ZodType<R>
  /** Does it here. `repeated`: an owner that died may have done it already. */
  run(args: A, repeated: boolean): Promise<R>
  /** Longest time in which owners are asked; that of forwarding when absent. */
  readonly totalMs?: number
}

export interface OwnedMethods {
  /** This process owns the key. */
  isOurs(key: string): boolean
  /** Answers calls of the method by other processes, and makes the function that calls it where `key` is owned. */
  add<A extends object, R>(method: OwnedMethod<A, R>): (key: string, args: A) => Promise<R>
}

const Called = z.object({ args: z.unknown(), repeated: z.boolean().optional() })
const Answered = z.object({ result: z.unknown().optional(), position: z.number() })

export function createOwnedMethods({
  processes,
  peers,
  tail,
  clock,
}: {
  processes: Pick<RunningProcesses, 'ownerOf' | 'others' | 'onChange' | 'holdsLease'>
  peers: Pick<RunningPeers, 'call' | 'handle'>
  tail: Pick<RunningTail, 'position' | 'reached' | 'hint'>
  clock: Clock
}): OwnedMethods {
  const forwarding = createForwarding({ processes, peers, clock })
  return {
    isOurs: (key) => processes.ownerOf(key) === undefined,
    add({ name, args: argsSchema, result: resultSchema, run, totalMs }) {
      peers.handle(name, async (body) => {
        // A call that waited while this process was paused was given up: its effect would come too late.
        if (!processes.holdsLease) throw new NotOurs()
        const { args, repeated = false } = Called.parse(body)
        const result = await run(argsSchema.parse(args), repeated)
        return { result, position: tail.position }
      })
      return async (key, args) => {
        // The usual case of one process pays nothing.
        if (processes.ownerOf(key) === undefined) return await run(args, false)
        const local = async (repeated: boolean) => new DoneHere(await run(args, repeated))
        const answer = await forwarding.atOwner(key, name, { args }, local, totalMs)
        if (answer instanceof DoneHere) return answer.result
        const { result, position } = Answered.parse(answer)
        tail.hint(position)
        await tail.reached(position, ownedMethodLimits.tailMs)
        return resultSchema.parse(result)
      }
    },
  }
}

/** What this process did itself, because the key had come to it. */
class DoneHere<R> {
  readonly result: R

  constructor(result: R) {
    this.result = result
  }
}
