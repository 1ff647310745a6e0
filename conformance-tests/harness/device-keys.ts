/** Keys of a device as a client would make them; the Curve25519 keys are random bytes, which no server can tell. */
import { randomBytes } from 'node:crypto'
import type { Client } from './client.ts'
import type { Body } from './http.ts'
import { createSigningKey, type SigningKey, signObject, unpadded } from './signing.ts'

export interface DeviceKeys {
  readonly user: string
  readonly signing: SigningKey
  /** As `device_keys` of `/keys/upload`. */
  readonly deviceKeys: Body
}

/** Makes identity keys for the client's device, signed by themselves. */
export function createDeviceKeys(client: Pick<Client, 'userId' | 'deviceId'>): DeviceKeys {
  const signing = createSigningKey(`ed25519:${client.deviceId}`)
  const deviceKeys = signObject(
    {
      user_id: client.userId,
      device_id: client.deviceId,
      algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
      keys: {
        [`curve25519:${client.deviceId}`]: unpadded(randomBytes(32)),
        [signing.id]: signing.publicKey,
      },
    },
    client.userId,
    signing,
  )
  return { user: client.userId, signing, deviceKeys }
}

/** Makes a signed one-time key under this id, as a member of `one_time_keys`. */
export function oneTimeKey({ user, signing }: DeviceKeys, id: string, more: Body = {}): Body {
  const key = { key: unpadded(randomBytes(32)), ...more }
  return { [`signed_curve25519:${id}`]: signObject(key, user, signing) }
}

/** Cross-signing keys of a user: the self-signing key is signed by the master key. */
export function crossSigningKeys(user: string): {
  readonly master: Body
  readonly selfSigning: Body
} {
  const make = (usage: string) => {
    const key = createSigningKey()
    const id = `ed25519:${key.publicKey}`
    return {
      signer: { ...key, id },
      body: { user_id: user, usage: [usage], keys: { [id]: key.publicKey } },
    }
  }
  const master = make('master')
  const selfSigning = make('self_signing')
  return {
    master: master.body,
    selfSigning: signObject(selfSigning.body, user, master.signer),
  }
}
