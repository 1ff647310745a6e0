/**
 * A day of a bot with matrix-bot-sdk, and of somebody elsewhere who talks with it; prints as JSON what each of them saw.
 * Arguments: the package's folder, the bot's server and access token, the other one's.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'

const [folder, botUrl, botToken, otherUrl, otherToken] = process.argv.slice(2)
const require = createRequire(join(folder, 'package.json'))
// The bot does without encryption; its library comes as a file that is fetched from elsewhere.
const scope = '@matrix-org'
const native = require.resolve(`${scope}/matrix-sdk-crypto-nodejs`)
require.cache[native] = { id: native, filename: native, loaded: true, exports: {} }
const { AutojoinRoomsMixin, LogLevel, LogService, MatrixClient, MemoryStorageProvider } =
  require(folder)
LogService.setLevel(LogLevel.ERROR)

const waitMs = 60_000
const stories = 60

const bot = new MatrixClient(botUrl, botToken, new MemoryStorageProvider())
const other = new MatrixClient(otherUrl, otherToken, new MemoryStorageProvider())
AutojoinRoomsMixin.setupOnClient(bot)

/** What each client was shown, in order. */
const seen = new Map([
  [bot, []],
  [other, []],
])
for (const [client, events] of seen) client.on('room.event', (_room, event) => events.push(event))

async function until(what, test) {
  const deadline = performance.now() + waitMs
  while (!(await test())) {
    if (performance.now() > deadline) throw new Error(`it never came: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
const shows = (client, id) => seen.get(client).some(({ event_id }) => event_id === id)

async function day() {
  const [botUser, otherUser] = await Promise.all([bot.getUserId(), other.getUserId()])
  // The bot greets whoever says its name.
  bot.on('room.message', async (room, event) => {
    if (event.sender === otherUser && event.content.body === 'hello, bot')
      await bot.replyText(room, event, 'hello, human')
  })
  await Promise.all([bot.start(), other.start()])

  const room = await other.createRoom({ preset: 'private_chat', invite: [botUser], name: 'a day' })
  await until('the bot joins', async () =>
    (await other.getJoinedRoomMembers(room)).includes(botUser),
  )
  const hello = await other.sendText(room, 'hello, bot')
  const isReply = ({ sender, content }) =>
    sender === botUser && content['m.relates_to']?.['m.in_reply_to']?.event_id === hello
  await until('a reply', () => seen.get(other).some(isReply))

  const relation = (rel_type, more = {}) => ({
    'm.relates_to': { rel_type, event_id: hello, ...more },
  })
  const text = (body) => ({ msgtype: 'm.text', body })
  const reaction = await bot.sendEvent(room, 'm.reaction', relation('m.annotation', { key: '👍' }))
  const aside = await bot.sendMessage(room, { ...text('aside'), ...relation('m.thread') })
  const edit = await other.sendMessage(room, {
    ...text('* hello'),
    ...{ 'm.new_content': text('hello') },
    ...relation('m.replace'),
  })
  for (const [client, id] of [
    [other, reaction],
    [other, aside],
    [bot, edit],
  ])
    await until('what was sent', () => shows(client, id))
  const { chunk: threads } = await other.getRelationsForEvent(room, hello, 'm.thread')
  const { content: edited } = await bot.getEvent(room, edit)

  await bot.setTyping(room, true)
  await bot.sendReadReceipt(room, edit)
  await bot.redactEvent(room, reaction, 'not so good')
  await until(
    'the redaction',
    async () => (await other.getRawEvent(room, reaction)).unsigned?.redacted_because,
  )

  const told = Array.from({ length: stories }, (_, n) => `story ${n}`)
  let last
  for (const body of told) last = await other.sendText(room, body)
  await until('the end of the story', () => shows(bot, last))
  const scrolled = []
  let from
  do {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/messages`
    const page = await bot.doRequest('GET', path, { dir: 'b', limit: 25, ...(from && { from }) })
    for (const { content } of page.chunk)
      if (content.body?.startsWith('story')) scrolled.unshift(content.body)
    from = page.end
  } while (from)
  const before = await bot.getEventContext(room, last, 4)

  await bot.leaveRoom(room)
  await until(
    'the bot has gone',
    async () => !(await other.getJoinedRoomMembers(room)).includes(botUser),
  )
  return {
    thread: threads.map(({ event_id }) => event_id === aside || event_id.eventId === aside),
    edited: edited['m.new_content'],
    scrolled: scrolled.join() === told.join(),
    context: before.before.length > 0,
  }
}

try {
  process.stdout.write(`${JSON.stringify(await day())}\n`)
} finally {
  bot.stop()
  other.stop()
}
process.exit(0)
