"""Every probe in its order. What one of them needs and does not find leaves it `not probed`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from provisioning.doctor import files, handshakes, management, phones
from provisioning.doctor.asking import Refusal, Unreachable, ask, connected, why
from provisioning.doctor.finding import Finding, NotProbed, bad, ok
from provisioning.doctor.target import Target
from provisioning.doctor.trial import Trial

Look = Callable[[], Finding | list[Finding]]

_PROBES: tuple[tuple[str, Callable[[Target], Finding | list[Finding]], str], ...] = (
    ("certificate", handshakes.certificate, "TLS"),
    ("TLS versions", handshakes.versions, "TLS"),
    ("cipher", handshakes.cipher, "TLS"),
    ("clock", phones.clock, "phones"),
    ("management address", management.address, "management"),
    ("management without a token", management.without_a_token, "management"),
    ("guessable tokens", management.guessed_tokens, "management"),
    ("metrics", management.metrics, "management"),
    ("management at the phones' URL", management.from_outside, "phones"),
    ("private files", files.modes, ""),
    ("secret key", files.key, ""),
    ("passwords", files.passwords, ""),
    ("old phones", files.legacy, ""),
    ("device CAs", files.device_authorities, ""),
    # Before our own test phones are there.
    ("open doors", management.doors, "token"),
    ("alarms", management.alarms, "token"),
)


@dataclass
class Examination:
    target: Target
    found: list[Finding] = field(default_factory=list)
    missing: dict[str, tuple[str, str]] = field(default_factory=dict)
    "What cannot be used, of TLS, phones, management and token: (why, what to do)."

    def run(self) -> None:
        self._reach_phones()
        self._reach_management()
        for name, probe, needs in _PROBES:
            self._look(name, partial(probe, self.target), needs)
        self._with_test_phones()
        # Last, for strangers are counted.
        self._look("strangers, by vendor", lambda: phones.strangers(self.target), "phones")

    def _look(self, name: str, look: Look, *needs: str) -> None:
        missing = next((self.missing[need] for need in needs if need in self.missing), None)
        if missing is not None:
            self.found.append(Finding(name, "not probed", *missing))
            return
        try:
            found = look()
        except NotProbed as error:
            found = Finding(name, "not probed", str(error), error.advice)
        except (Unreachable, Refusal) as error:
            found = Finding(name, "not probed", str(error), "Try again, and look at the server's log.")
        except OSError as error:
            seen = f"{error.filename or 'the network'}: {why(error)}"
            found = Finding(name, "not probed", seen, "Run the doctor as the server's user.")
        except Exception as error:  # noqa: BLE001  an answer that nobody thought of must not end the others
            seen = f"the answer is not understood ({type(error).__name__})"
            found = Finding(name, "not probed", seen, "Look at what answers there.")
        self.found += found if isinstance(found, list) else [found]

    def _reach_phones(self) -> None:
        probe, url = "phones' URL", self.target.url
        if not url:
            advice = "Give --url, or set [phones] url."
            self.found.append(Finding(probe, "not probed", "it is not known where phones reach the server", advice))
            self.missing["TLS"] = self.missing["phones"] = (f"the {probe} is not known", advice)
            return
        try:
            with connected(url, None):
                pass
            if not url.startswith("https:"):
                self.missing["TLS"] = (f"{url} is plain HTTP", "Give --url of the HTTPS that phones use.")
            answer = ask(f"{url}/")
        except Unreachable as error:
            advice = "Is the server running, and is this its address? Look at its log, the proxy and the firewall."
            self.found.append(bad(probe, str(error), advice))
            self.missing["phones"] = (str(error), "Mend this first.")
            if str(error).startswith("nothing"):
                self.missing["TLS"] = self.missing["phones"]
            return
        self.found.append(self._clear(ok(probe, f"{url} answers"), public=answer.theirs.is_global))

    def _clear(self, found: Finding, *, public: bool) -> Finding:
        if self.target.url.startswith("https:"):
            return found
        seen = f"{self.target.url} is plain HTTP: whoever listens reads secrets"
        return Finding(found.probe, "bad" if public else "warning", seen, "Set [phones] url to an https:// one.")

    def _reach_management(self) -> None:
        probe, target = "management", self.target
        if not target.management:
            self.found.append(ok(probe, "[listen] management is off"))
            off = ("the management API is off", "Give --management, if another server has it.")
            self.missing["management"] = self.missing["token"] = off
            return
        try:
            answer = ask(f"{target.management}/readyz", context=target.management_tls)
        except Unreachable as error:
            advice = "Is the server running? If the API is elsewhere, give --management."
            self.found.append(bad(probe, str(error), advice))
            self.missing["management"] = self.missing["token"] = (str(error), "Mend this first.")
            return
        if answer.status == 200:
            self.found.append(ok(probe, f"{target.management} is ready"))
        else:
            seen = f"{target.management}/readyz answers {answer.status}"
            self.found.append(bad(probe, seen, "Look at the server's log."))
        self._try_token()

    def _try_token(self) -> None:
        target = self.target
        advice = "Give --token-file with an operator's token of the scope admin (`provisioning token add`)."
        if not target.token:
            self.missing["token"] = (f"no token can be read from {target.token_file}", advice)
            return
        try:
            target.api.call("GET", "/v1/tokens?limit=1")
        except Refusal as refusal:
            self.missing["token"] = (f"the token of {target.token_file} is refused: {refusal}", advice)
        except Unreachable as error:
            self.missing["token"] = (str(error), "Mend this first.")

    def _with_test_phones(self) -> None:
        target = self.target
        names = ("strangers, a known phone", "forged certificate", "address seen", "forged headers",
                 "forged PROXY header", "plain HTTP")  # fmt: skip
        if "token" in self.missing:
            for name in names:
                self._look(name, list, "token")
            return
        trial = Trial(target)
        try:
            with trial:
                # Each its own, for a phone that was seen is refused otherwise, and one that moves is an alarm.
                self._look(names[0], lambda: phones.known_phone(target, trial.phone()), "phones")
                self._look(names[1], lambda: phones.forged_certificate(target, trial), "phones")
                with_one = trial.phone()
                self._look(names[2], lambda: phones.address(target, trial, with_one), "phones")
                self._look(names[3], lambda: phones.forged_headers(target, trial, with_one), "phones")
                self._look(names[4], lambda: phones.forged_proxy_line(target, trial, with_one), "phones")
                self._look(names[5], lambda: phones.plain_http(target, trial.phone()))
        except (Refusal, Unreachable) as error:
            done = {found.probe for found in self.found}
            self.missing["trial"] = (f"no test phone could be made: {error}", "Mend this first.")
            for name in names:
                if name not in done:
                    self._look(name, list, "trial")
        finally:
            if trial.removed is not None:
                self.found.append(trial.removed)
