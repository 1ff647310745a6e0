/** The server under test, and the small casts that most tests begin with. */
import { inject } from 'vitest'
import { type Client, inSection, register } from './client.ts'
import type { Body } from './http.ts'
import type { Homeserver } from './server.ts'

/** The server that all files of this run share. */
export const server: Homeserver = inject('conformance').server

/** Two users, the first of whom made a room that both have joined. */
export async function joinedRoom(
  options: Body = {},
): Promise<{ alice: Client; bob: Client; room: string }> {
  const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')])
  const room = await alice.createRoom({ preset: 'public_chat', ...options })
  await bob.join(room)
  return { alice, bob, room }
}

/** Lets a user join by invite and waits until their sync shows the room. */
export async function inviteAndJoin(owner: Client, guest: Client, room: string): Promise<void> {
  await owner.invite(room, guest.userId)
  await guest.join(room)
  await guest.syncUntil(inSection('join', room))
}
