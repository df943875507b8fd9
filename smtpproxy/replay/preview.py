"""What a replay would send, step by step, for people who look before they leap; it sends nothing."""

from collections.abc import Iterator

from smtpproxy.replay.clearance import needs, place_of
from smtpproxy.replay.plan import Plan, logins_of, obstacles_of
from smtpproxy.replay.script import Script, Step
from smtpproxy.wire.escape import escape


def preview(script: Script, plan: Plan) -> Iterator[tuple[str, bool]]:
    """A script as lines without line ends.

    Returns:
        Each line, and whether it tells of something that stands in the way.
    """
    yield f"{place_of(script)} · session {script.session} · {len(script.steps)} steps to {plan.target}", False
    faults: dict[int, list[str]] = {}
    for obstacle in obstacles_of(script, plan):
        faults.setdefault(obstacle.step, []).append(obstacle.text)
    for login in logins_of(script):
        if plan.credentials.find(login) is None:
            faults.setdefault(login.step, []).append(needs(login))
    group = 0
    for step in script.steps:
        mark = "+" if step.group and step.group == group else " "
        if step.kind != "content":  # what is said together with it has the number of its DATA
            group = step.group
        yield f"  {step.number:>4} {mark} {_said(step, plan)}", False
        for text in faults.pop(step.number, ()):
            yield f"         ! {escape(text)}", True
    for number in sorted(faults):
        for text in faults[number]:
            yield f"         ! {escape(text)}", True


def _said(step: Step, plan: Plan) -> str:
    if step.verb == "RCPT" and step.kind == "command" and plan.envelope.rcpt_to:
        line = plan.envelope.recipient_line(step.raw).rstrip().decode("utf-8", "backslashreplace")
        return escape(f"{line} (recorded: {step.said})")
    if step.verb == "BDAT" and step.body is not None:
        return escape(f"{step.said} (a chunk of {step.body.octets} octets)")
    return escape(step.said)
