"""Counters of all worker processes, in memory that they share.

The parent makes the map before it forks; each worker counts in its own row, so nothing is locked,
and any worker can answer /metrics for all of them.
"""

import mmap

COUNTERS = {
    "documents_served_total": "Documents answered with 200.",
    "documents_unchanged_total": "Documents answered with 304.",
    "documents_rendered_total": "Documents rendered anew.",
    "stage0_served_total": "Configurations without lines, for requests that showed no proof.",
    "strangers_refused_total": "Requests for a phone's own document that proved nothing.",
    "strangers_limited_total": "Such requests above a limit, answered with 429.",
    "doors_reopened_total": "Doors that opened by themselves for a phone that was reset.",
    "not_found_total": "Requests answered with 404.",
    "broken_total": "Requests answered with 500.",
    "firmware_served_total": "Firmware images, whole or in part.",
    "uploads_taken_total": "Files that phones sent.",
    "connections_accepted_total": "Connections from phones.",
    "connections_held_back_total": "Times the cap on connections was reached.",
    "connections_refused_total": "Connections closed at once, of addresses that had their share already.",
    "answers_refused_total": "Requests for firmware answered with 503, with too many answers under way.",
    "answers_cut_total": "Answers ended because their phone took next to nothing of them.",
    "handshakes_failed_total": "TLS handshakes that failed or took too long.",
    "visits_recorded_total": "Fetches recorded.",
    "visits_lost_total": "Fetches that could not be recorded.",
    "resyncs_sent_total": "NOTIFY requests sent to the SIP proxy.",
    "resyncs_accepted_total": "NOTIFY requests answered with 2xx.",
    "management_requests_total": "Requests to the management API.",
    "management_refused_total": "Requests to the management API without a valid token or session.",
    "alarms_raised_total": "Alarms raised for the operator to look at.",
}
_INDEX = {name: index for index, name in enumerate(COUNTERS)}


class Metrics:
    def __init__(self, workers: int = 1) -> None:
        self._width = len(COUNTERS)
        self._rows = memoryview(mmap.mmap(-1, 8 * self._width * workers)).cast("Q")
        self._workers = workers
        self._offset = 0

    def belong_to(self, worker: int) -> None:
        self._offset = worker * self._width

    def count(self, name: str) -> None:
        self._rows[self._offset + _INDEX[name]] += 1

    def total(self, name: str) -> int:
        return sum(self._rows[worker * self._width + _INDEX[name]] for worker in range(self._workers))

    def text(self) -> str:
        """Prometheus text format 0.0.4."""
        parts = []
        for name, sentence in COUNTERS.items():
            full = f"provisioning_{name}"
            parts.append(f"# HELP {full} {sentence}\n# TYPE {full} counter\n{full} {self.total(name)}\n")
        return "".join(parts)
