/**
 * The few functions of Node that the protocol needs. With `"types": []` this project sees nothing else of the
 * machine: no files, no clock, no network.
 */
declare module 'node:crypto' {
  export interface KeyObject {
    export(options: { format: 'jwk' }): { x?: string }
  }
  export function hash(
    algorithm: 'sha256',
    data: string,
    outputEncoding: 'base64' | 'base64url',
  ): string
  export function hash(algorithm: 'sha256', data: string, outputEncoding: 'buffer'): Uint8Array
  /** State resolution of room version 1 breaks ties by it. */
  export function hash(algorithm: 'sha1', data: string, outputEncoding: 'hex'): string
  export function createPrivateKey(key: {
    key: Uint8Array
    format: 'der'
    type: 'pkcs8'
  }): KeyObject
  export function createPublicKey(
    key: { key: Uint8Array; format: 'der'; type: 'spki' } | KeyObject,
  ): KeyObject
  export function sign(algorithm: null, data: Uint8Array, key: KeyObject): Uint8Array
  export function verify(
    algorithm: null,
    data: Uint8Array,
    key: KeyObject,
    signature: Uint8Array,
  ): boolean
  export function verify(
    algorithm: null,
    data: Uint8Array,
    key: KeyObject,
    signature: Uint8Array,
    done: (error: Error | null, valid: boolean) => void,
  ): void
}

declare module 'node:buffer' {
  export const Buffer: {
    from(text: string, encoding: 'utf8' | 'base64'): Uint8Array
  }
}
