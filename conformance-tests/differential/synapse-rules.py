"""Replays room histories by Synapse's own auth rules and state resolution.

One history is a line of JSON on standard input, what came of it a line on standard output. Nothing is stored: all events
of a history are handed to the algorithms as events in flight, so that auth differences and the conflicted subgraph are
computed by Synapse as well.

    in   {"version": "10", "events": [PDU, …], "questions": [{"sets": [[event id, …], …], "missing": [event id, …]}, …]}
    out  {"ids": […], "verdicts": ["accept" | "chain" | "state", …], "merged": [null | [event id, …], …],
          "answers": [[event id, …], …]}        or {"error": traceback}

"chain": not allowed by its own auth events; "state": not allowed by the state before it. `merged` has the state before
an event with several predecessors, `answers` what each question's states resolve to, as sorted event ids.
"""

import json
import logging
import sys
import traceback

from synapse.api.errors import SynapseError
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS, StateResolutionVersions
from synapse.event_auth import check_state_dependent_auth_rules, check_state_independent_auth_rules
from synapse.events import make_event_from_json
from synapse.state import v1, v2
from synapse.storage.databases.main.event_federation import StateDifference


def run(coroutine):
    """Runs what never waits for anything."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("Synapse waited for something")


class Clock:
    async def sleep(self, _duration):
        pass


class Store:
    """What is stored beside the events in flight: for the auth rules everything, for a resolution nothing."""

    def __init__(self, events):
        self.events = events

    async def get_events(self, event_ids, **_options):
        return {event_id: self.events[event_id] for event_id in event_ids if event_id in self.events}

    async def get_auth_chain_difference(self, _room_id, state_sets, conflicted, _additional):
        # Only ids that nobody knows come here.
        difference = set().union(*state_sets) - set(state_sets[0]).intersection(*state_sets[1:])
        return StateDifference(difference, None if conflicted is None else set())


class Room:
    def __init__(self, version):
        self.version = KNOWN_ROOM_VERSIONS[version]
        self.events = {}
        self.after = {}

    def resolve(self, states, events):
        if len(states) == 1:
            return states[0]
        room_id = next(iter(events.values())).room_id
        if self.version.state_res == StateResolutionVersions.V1:
            nothing = Store({}).get_events
            return run(v1.resolve_events_with_store(room_id, self.version, states, dict(events), nothing))
        return dict(run(v2.resolve_events_with_store(
            Clock(), room_id, self.version, states, dict(events), Store({}))))

    def judge(self, event, before):
        try:
            run(check_state_independent_auth_rules(Store(self.events), event))
            check_state_dependent_auth_rules(event, [self.events[id] for id in event.auth_event_ids()])
        except SynapseError:
            return "chain"
        try:
            check_state_dependent_auth_rules(event, [self.events[id] for id in before.values()])
        except SynapseError:
            return "state"
        return "accept"

    def receive(self, pdu):
        text = json.dumps(pdu)
        event = make_event_from_json(text, self.version)
        states = [self.after[id] for id in event.prev_event_ids()]
        before = self.resolve(states, self.events) if states else {}
        verdict = self.judge(event, before)
        after = before
        if verdict != "accept":
            event = make_event_from_json(text, self.version, rejected_reason=verdict)
        elif event.is_state():
            after = {**before, (event.type, event.state_key): event.event_id}
        self.events[event.event_id] = event
        self.after[event.event_id] = after
        merged = sorted(before.values()) if len(states) > 1 else None
        return event.event_id, verdict, merged

    def answer(self, question):
        missing = set(question["missing"])
        known = {id: event for id, event in self.events.items() if id not in missing}
        states = []
        for ids in question["sets"]:
            events = [self.events[id] for id in ids]
            states.append({(event.type, event.state_key): event.event_id for event in events})
        return sorted(self.resolve(states, known).values())


def replay(history):
    room = Room(history["version"])
    received = [room.receive(pdu) for pdu in history["events"]]
    return {
        "ids": [event_id for event_id, _, _ in received],
        "verdicts": [verdict for _, verdict, _ in received],
        "merged": [merged for _, _, merged in received],
        "answers": [room.answer(question) for question in history["questions"]],
    }


def main():
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        try:
            outcome = replay(json.loads(line))
        except Exception:
            outcome = {"error": traceback.format_exc()}
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()


main()
