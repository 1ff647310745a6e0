import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseUserId } from '../../spec/ids.ts'
import { far, person, type TestEncryption, testEncryption } from './test-encryption.ts'

let test: TestEncryption
beforeAll(async () => {
  test = await testEncryption()
})
afterAll(() => test[Symbol.asyncDispose]())

const everything = { after: 0, upTo: Number.MAX_SAFE_INTEGER, limit: 100 }

describe('a message to devices', () => {
  it('waits for each device until it is acknowledged', async () => {
    const alice = person(test, 'alice')
    const phone = person(test, 'bob', 'PHONE')
    const laptop = person(test, 'bob', 'LAPTOP')
    const { user } = phone
    await test.toDevice.send(alice, 'm.test', { [user]: { '*': { n: 1 } } }, 'txn1')
    await test.toDevice.send(
      alice,
      'm.test',
      { [user]: { PHONE: { n: 2 }, GONE: { n: 3 } } },
      'txn2',
    )
    const first = await test.toDevice.pending(user, phone.device, everything)
    expect(first.map(({ content, sender, type }) => ({ content, sender, type }))).toEqual([
      { content: '{"n":1}', sender: alice.user, type: 'm.test' },
      { content: '{"n":2}', sender: alice.user, type: 'm.test' },
    ])
    expect(await test.toDevice.pending(user, phone.device, everything)).toEqual(first)
    expect(await test.toDevice.pending(user, laptop.device, everything)).toHaveLength(1)
    test.toDevice.acknowledge(user, phone.device, first[0]?.position ?? 0)
    await test.toDevice.drained()
    expect(await test.toDevice.pending(user, phone.device, everything)).toEqual(first.slice(1))
    test.toDevice.acknowledge(user, phone.device, first[1]?.position ?? 0)
    await test.toDevice.drained()
    expect(await test.toDevice.pending(user, phone.device, everything)).toEqual([])
    expect(await test.toDevice.pending(user, laptop.device, everything)).toHaveLength(1)
  })

  it('is sent once however often the request is repeated', async () => {
    const alice = person(test, 'alice')
    const carol = person(test, 'carol')
    const send = (txn: string) =>
      test.toDevice.send(alice, 'm.test', { [carol.user]: { DEVICE: {} } }, txn)
    await Promise.all([send('same'), send('same')])
    await send('same')
    await send('other')
    expect(await test.toDevice.pending(carol.user, carol.device, everything)).toHaveLength(2)
  })

  it('is answered in pages between positions', async () => {
    const alice = person(test, 'alice')
    const dora = person(test, 'dora')
    for (const n of [1, 2, 3])
      await test.toDevice.send(alice, 'm.test', { [dora.user]: { DEVICE: { n } } }, `p${n}`)
    const page = await test.toDevice.pending(dora.user, dora.device, { ...everything, limit: 2 })
    expect(page).toHaveLength(2)
    const after = page[1]?.position ?? 0
    expect(
      await test.toDevice.pending(dora.user, dora.device, { ...everything, after }),
    ).toHaveLength(1)
    expect(
      await test.toDevice.pending(dora.user, dora.device, { ...everything, upTo: after }),
    ).toHaveLength(2)
  })

  it('to another server waits in its outbox, once for all its users', async () => {
    const alice = person(test, 'alice')
    const messages = { '@x:far.test': { D: { n: 1 } }, '@y:far.test': { '*': { n: 2 } } }
    await test.toDevice.send(alice, 'm.test', messages, 'far')
    const rows = await test.database.db<{ destination: string; edu_type: string; content: string }>`
      select destination, edu_type, content from outbox`
    expect(rows).toHaveLength(1)
    expect(rows[0]).toMatchObject({ destination: far, edu_type: 'm.direct_to_device' })
    expect(JSON.parse(rows[0]?.content ?? '')).toMatchObject({
      sender: alice.user,
      type: 'm.test',
      messages,
    })
  })

  it('to many devices of another server goes in parts that it takes', async () => {
    const alice = person(test, 'alice')
    const devices = Object.fromEntries(
      Array.from({ length: 30 }, (_, n) => [`D${n}`, { text: 'x'.repeat(10_000) }]),
    )
    await test.toDevice.send(alice, 'm.big', { '@x:big.test': devices }, 'big')
    const rows = await test.database.db<{ content: string }>`
      select content from outbox where destination = 'big.test'`
    expect(rows).toHaveLength(8)
    const sent = rows.flatMap((row) =>
      Object.keys(Object(JSON.parse(row.content).messages['@x:big.test'])),
    )
    expect(sent.sort()).toEqual(Object.keys(devices).sort())
    expect(Math.max(...rows.map((row) => row.content.length))).toBeLessThan(65_536)
  })

  it('refuses what is no user or no message', async () => {
    const alice = person(test, 'alice')
    await expect(test.toDevice.send(alice, 'x', { nonsense: {} }, 'a')).rejects.toMatchObject({
      errcode: 'M_BAD_JSON',
    })
    await expect(
      test.toDevice.send(alice, 'x', { '@bob:here.test': { PHONE: 'text' } }, 'b'),
    ).rejects.toMatchObject({ errcode: 'M_BAD_JSON' })
  })
})

describe('a message from another server', () => {
  it('is taken once, and only from a user of that server', async () => {
    const eve = person(test, 'eve')
    const edu = {
      sender: '@bob:far.test',
      type: 'm.test',
      message_id: 'one',
      messages: { [eve.user]: { DEVICE: { n: 1 } }, '@x:far.test': { D: {} }, bad: 5 },
    }
    await test.toDevice.receiveRemote(far, edu)
    await test.toDevice.receiveRemote(far, edu)
    await test.toDevice.receiveRemote(far, {
      ...edu,
      sender: '@bob:forged.test',
      message_id: 'two',
    })
    await test.toDevice.receiveRemote(far, { ...edu, messages: 5, message_id: 'three' })
    const waiting = await test.toDevice.pending(eve.user, eve.device, everything)
    expect(waiting.map((message) => message.sender)).toEqual([parseUserId('@bob:far.test')])
  })
})

describe('an inbox that nobody empties', () => {
  it('keeps the newest 10,000', async () => {
    const alice = person(test, 'alice')
    const lost = person(test, 'lost')
    await test.database.db`
      insert into to_device_messages (user_id, device_id, position, sender, type, content)
      select ${lost.user}::text, 'DEVICE', -n, '@a:b', 'm.old', '{}' from generate_series(1, 10100) n`
    for (let n = 0; n < 500; n += 50) {
      const sends = Array.from({ length: 50 }, (_, k) =>
        test.toDevice.send(alice, 'm.new', { [lost.user]: { DEVICE: {} } }, `lost${n + k}`),
      )
      await Promise.all(sends)
    }
    await test.toDevice.drained()
    const [row] = await test.database.db<{ n: number }>`
      select count(*) as n from to_device_messages where user_id = ${lost.user}`
    expect(row?.n).toBe(10_000)
  })
})
