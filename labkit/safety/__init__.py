"""Safety outside the model: rules that hold whatever the model says. One function puts them on:

    from labkit import safety

    guarded = safety.guard(agent, writes={"create_ticket", "refund"}, irreversible={"refund"},
                           role=clerk, user=tokens.verify(token), approve=ask, taint="block",
                           redact=True, audit=safety.Audit("audit.jsonl"))
    run = guarded.run("…")                      # as agent.run; also run(task, documents=["text of an e-mail"])
    run.text                                    # says in the guard's own words what was not done
    run.safety.refused, run.safety.redacted     # what the guard did

Every layer is off until it is asked for, so that each can be tried alone:
- role, user        which tools there are (the others are not in the schema), whose records, until when
- check_input       size, characters, words that look like an injection: a Refused before the model is asked
- taint             "block" | "ask": text of documents and tool results cannot trigger a tool of `writes`
- approve           approve(tool, arguments, why) → True, asked before a tool of `irreversible`; no answer is a no
                    (without approve= nobody is asked)
- redact, names     personal data, secrets and unsafe content are taken out of the answer; names that are known here
- mode, purpose     HIPAA, GDPR: which fields a purpose may see, what is logged, how long
- audit             a hash-chained log of all of it
- offline           the run fails if anything tries to leave this machine

Knows tools and agents by their shape only: something with `.tools` and `.run(task)`, as labkit.Agent is.
"""
from __future__ import annotations

from labkit.lazy import lazy_names

_HOME = {
    "guard": "guarding", "GuardedAgent": "guarding", "Refused": "refusal",
    "Role": "roles", "own": "roles", "among": "roles",
    "Accounts": "accounts", "Tokens": "tokens", "User": "user", "Unauthorised": "user",
    "Pending": "approval", "console": "approval",
    "inspect": "inputs", "InputLimits": "inputs",
    "redact": "redaction", "find": "redaction",
    "Audit": "audit", "verify": "audit_check",
    "Mode": "modes", "HIPAA": "modes", "GDPR": "modes", "Records": "records",
    "NetworkGuard": "network", "NetworkUsed": "network",
}
__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names("labkit.safety", _HOME)
