import { hash, verify } from '@node-rs/argon2'
import { invalidParam, MatrixError } from '../../spec/errors.ts'
import { fewAtOnce } from '../platform/few-at-once.ts'

/** Hashes of passwords: argon2id with the library's defaults (19 MiB, 2 passes, 1 lane). */
export interface Passwords {
  /** The hash to store; throws M_INVALID_PARAM or M_WEAK_PASSWORD for what the policy refuses. */
  hash(password: string): Promise<string>
  /** Takes as long without a stored hash as with one, so that nobody learns who exists. */
  matches(password: string, stored: string | undefined): Promise<boolean>
}

const passwordBytesMax = 512
/** Hashing at once; each takes 19 MiB and a thread of the pool that files and look-ups share. */
const hashingMax = 2
/** Waiting for a turn; more are refused. */
const waitingMax = 256

/** A hash of nobody's password, to compare against when there is no account. */
const nobody =
  '$argon2id$v=19$m=19456,t=2,p=1$Zm9sa21vb3RmaWxsZXI$Cm1C5/2pHbnxEmRFMC3hWfEUWlE4ouxsA3KiVnZ3Wp0'

/** `lengthMin` in characters. */
export function createPasswords({ lengthMin }: { lengthMin: number }): Passwords {
  const turn = fewAtOnce({
    atOnce: hashingMax,
    waiting: { max: waitingMax, refusal: tooMany },
  })
  return {
    async hash(password) {
      if (Buffer.byteLength(password) > passwordBytesMax) {
        throw invalidParam('password', `longer than ${passwordBytesMax} bytes`)
      }
      if (password.length < lengthMin) {
        throw new MatrixError('M_WEAK_PASSWORD', `password: shorter than ${lengthMin} characters`)
      }
      return await turn(() => hash(password))
    },
    async matches(password, stored) {
      if (Buffer.byteLength(password) > passwordBytesMax) return false
      const same = await turn(() => verify(stored ?? nobody, password))
      return same && stored !== undefined
    },
  }
}

function tooMany(): MatrixError {
  return new MatrixError('M_LIMIT_EXCEEDED', 'too many passwords are being checked', {
    fields: { retry_after_ms: 2000 },
  })
}
