"""A day of alice, at home, and bob, who is away, as two clients of matrix-nio; prints as JSON what each of them saw.

Arguments: URL of alice's server, her user id, URL of bob's server, his user id, the password of both.
"""
import asyncio
import json
import logging
import sys
import tempfile
import time

from nio import AsyncClient, AsyncClientConfig, EnableEncryptionBuilder, RoomMessageText, SyncResponse

WAIT_S = 60
HISTORY = 60
logging.disable(logging.CRITICAL)


class Person:
    """A client that has encryption and remembers every event that it was shown."""

    def __init__(self, url, user, store):
        config = AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True)
        self.client = AsyncClient(url, user, store_path=store, config=config)
        self.user = user
        self.events = []
        self.receipts = []

    async def begin(self, password):
        answer = await self.client.login(password)
        assert self.client.access_token, answer
        await self.tick(full_state=True)

    async def tick(self, full_state=False):
        """One sync, and what it asks the client to do for encryption."""
        client = self.client
        if client.should_upload_keys:
            await client.keys_upload()
        answer = await client.sync(timeout=500, full_state=full_state)
        joined = answer.rooms.join if isinstance(answer, SyncResponse) else {}
        for room_id, room in joined.items():
            self.events += [(room_id, event) for event in room.timeline.events]
            self.receipts += [(room_id, one) for event in room.ephemeral for one in getattr(event, "receipts", [])]
        await client.send_to_device_messages()
        if client.should_query_keys:
            await client.keys_query()
        if client.should_claim_keys:
            await client.keys_claim(client.get_users_for_key_claiming())

    def sources(self, room_id):
        return [event.source for where, event in self.events if where == room_id]

    async def send(self, room_id, kind, content):
        answer = await self.client.room_send(room_id, kind, content, ignore_unverified_devices=True)
        assert getattr(answer, "event_id", None), answer
        return answer.event_id

    def say(self, room_id, body, relation=None):
        content = {"msgtype": "m.text", "body": body}
        return self.send(room_id, "m.room.message", {**content, "m.relates_to": relation} if relation else content)


async def until(what, people, test):
    """The clients sync until the test holds."""
    deadline = time.monotonic() + WAIT_S
    while not test():
        if time.monotonic() > deadline:
            raise SystemExit("it never came: " + what)
        await asyncio.gather(*(person.tick() for person in people))


def seen(person, room_id, event_id):
    return lambda: any(source["event_id"] == event_id for source in person.sources(room_id))


async def meet(alice, bob, encrypted):
    state = [EnableEncryptionBuilder().as_dict()] if encrypted else []
    made = await alice.client.room_create(invite=[bob.user], initial_state=state, name="a day")
    room_id = made.room_id
    await until("the invitation", [alice, bob], lambda: room_id in bob.client.invited_rooms)
    await bob.client.join(room_id)
    joined = lambda one, other: room_id in one.client.rooms and other.user in one.client.rooms[room_id].users
    await until("both in the room", [alice, bob], lambda: joined(alice, bob) and joined(bob, alice))
    return room_id


async def whispers(alice, bob):
    """Encrypted messages, both ways."""
    room_id = await meet(alice, bob, True)
    known = lambda one, other: len(list(one.client.device_store.active_user_devices(other.user))) > 0
    await until("each other's devices", [alice, bob], lambda: known(alice, bob) and known(bob, alice))
    read = {}
    for writer, reader, body in [(alice, bob, "for bob only"), (bob, alice, "for alice only")]:
        event_id = await writer.say(room_id, body)
        await until(body, [alice, bob], seen(reader, room_id, event_id))
        event = next(event for where, event in reader.events if event.event_id == event_id)
        read["alice" if reader is alice else "bob"] = {
            "body": getattr(event, "body", None),
            "decrypted": isinstance(event, RoomMessageText) and event.decrypted,
        }
    return read


async def conversation(alice, bob):
    """Replies, edits, reactions, threads, receipts, typing, a redaction, scrolling back."""
    room_id = await meet(alice, bob, False)
    first = await alice.say(room_id, "hello")
    await until("hello", [alice, bob], seen(bob, room_id, first))
    reply = await bob.say(room_id, "hi", {"m.in_reply_to": {"event_id": first}})
    reaction = await bob.send(
        room_id, "m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": first, "key": "👍"}}
    )
    thread = await bob.say(room_id, "aside", {"rel_type": "m.thread", "event_id": first})
    edit = await alice.send(
        room_id,
        "m.room.message",
        {
            "msgtype": "m.text", "body": "* hello, bob", "m.new_content": {"msgtype": "m.text", "body": "hello, bob"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": first},
        },
    )
    for event_id in [reply, reaction, thread]:
        await until("bob's answers", [alice, bob], seen(alice, room_id, event_id))
    await until("the edit", [alice, bob], seen(bob, room_id, edit))
    relation = {
        source["event_id"]: source["content"].get("m.relates_to")
        for person in (alice, bob)
        for source in person.sources(room_id)
    }

    await bob.client.room_typing(room_id, True, 30000)
    await until("typing", [alice, bob], lambda: bob.user in alice.client.rooms[room_id].typing_users)
    await bob.client.room_read_markers(room_id, edit, edit)
    await until(
        "a receipt", [alice, bob], lambda: any(r.user_id == bob.user and r.event_id == edit for _, r in alice.receipts)
    )
    await bob.client.room_redact(room_id, reaction, "not so good")
    gone = lambda: any(source.get("redacts") == reaction or source["content"].get("redacts") == reaction
                       for source in alice.sources(room_id))
    await until("the redaction", [alice, bob], gone)

    told = [f"story {n}" for n in range(HISTORY)]
    for body in told:
        last = await alice.say(room_id, body)
    await until("the end of the story", [bob], seen(bob, room_id, last))
    found, start = [], bob.client.next_batch
    while start:
        page = await bob.client.room_messages(room_id, start, limit=25)
        found += [event.body for event in page.chunk if isinstance(event, RoomMessageText)]
        start = page.end if page.chunk else None
    stories = [body for body in reversed(found) if body.startswith("story")]
    return {
        "reply": relation[reply] == {"m.in_reply_to": {"event_id": first}},
        "reaction": relation[reaction]["key"],
        "thread": relation[thread]["rel_type"],
        "edit": relation[edit]["rel_type"],
        "scrolled": stories == told,
    }


async def main():
    home, alice_id, away, bob_id, password = sys.argv[1:]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        alice, bob = Person(home, alice_id, one), Person(away, bob_id, other)
        try:
            await asyncio.gather(alice.begin(password), bob.begin(password))
            day = {"whispers": await whispers(alice, bob), "conversation": await conversation(alice, bob)}
            await bob.client.logout()
            day["signed out"] = type(await bob.client.whoami()).__name__
        finally:
            await asyncio.gather(alice.client.close(), bob.client.close())
    print(json.dumps(day))


asyncio.run(main())
