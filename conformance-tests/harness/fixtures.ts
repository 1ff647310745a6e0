/** The server under test, and the small casts that most tests begin with. */
import { join } from 'node:path'
import { inject } from 'vitest'
import { type Client, inSection, register, unique } from './client.ts'
import type { Body } from './http.ts'
import { type Homeserver, type LaunchedServer, launch } from './server.ts'
import { launcherUnderTest } from './settings.ts'

/** The server that all files of this run share. */
export const server: Homeserver = inject('conformance').server

/** Another server under test, with settings of its own, that knows the peers of this run. */
export function launchBeside(env: Readonly<Record<string, string>>): Promise<LaunchedServer> {
  const { dir, authority, peer } = inject('conformance')
  return launch({
    launcher: launcherUnderTest,
    dir: join(dir, unique('beside')),
    authority: { cert: authority, issue: () => peer },
    authorityFile: join(dir, 'ca.crt'),
    env,
  })
}

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
