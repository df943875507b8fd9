"""The state table is total and every state is of use; the diagram says what it says."""

from typing import get_args

from smtpproxy.session.states import TRANSITIONS, State, Trigger, render_diagram


def test_every_state_has_a_row_and_every_move_leads_to_one() -> None:
    assert set(TRANSITIONS) == set(get_args(State))
    for moves in TRANSITIONS.values():
        assert set(moves) <= set(get_args(Trigger))
        assert set(moves.values()) <= set(get_args(State))


def test_every_state_is_reached_and_every_state_ends() -> None:
    reached, frontier = {"preface", "waiting"}, ["preface", "waiting"]
    while frontier:
        for target in TRANSITIONS[frontier.pop()].values():  # type: ignore[index]
            if target not in reached:
                reached.add(target)
                frontier.append(target)
    assert reached == set(TRANSITIONS)
    assert all(moves["over"] == "drain" for moves in TRANSITIONS.values())


def test_the_diagram_has_every_move_but_the_endings() -> None:
    lines = [line.strip() for line in render_diagram().splitlines()]
    assert lines[0] == "stateDiagram-v2"
    for state, moves in TRANSITIONS.items():
        for trigger, target in moves.items():
            if trigger not in ("lost", "over"):
                assert f"{state} --> {target}: {trigger}" in lines
