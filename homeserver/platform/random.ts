import { createHash, randomBytes } from 'node:crypto'

/** Chance as a parameter. */
export interface Random {
  /** `length` unpredictable bytes. */
  bytes(length: number): Uint8Array
  /** `length` unpredictable characters of `alphabet` (letters and digits unless told; at most 256 of them). */
  text(length: number, alphabet?: string): string
}

const lettersAndDigits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

/** Unpredictable: from the operating system. */
export const systemRandom: Random = randomOver((length) => randomBytes(length))

/** The same sequence for the same seed; for tests. */
export function seededRandom(seed: string): Random {
  let counter = 0
  return randomOver((length) => {
    const out = Buffer.alloc(length)
    for (let filled = 0; filled < length; filled += 32) {
      createHash('sha256').update(`${seed}:${counter++}`).digest().copy(out, filled)
    }
    return out
  })
}

function randomOver(bytes: (length: number) => Uint8Array): Random {
  return {
    bytes,
    text(length, alphabet = lettersAndDigits) {
      // Bytes above the last whole multiple are dropped: each character is equally likely.
      const fair = 256 - (256 % alphabet.length)
      let out = ''
      while (out.length < length) {
        for (const byte of bytes(length - out.length + 8)) {
          if (byte < fair && out.length < length) out += alphabet[byte % alphabet.length]
        }
      }
      return out
    },
  }
}
