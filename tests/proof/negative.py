"""What a provisioning server must never do, and where it is held that ours does not.

P1 to P32 were each observed in, or reported for, at least one provisioning system. A name is of a file
below tests/ and of a test in it; `run` is that of a proof.
"""

NEGATIVE_TESTS: dict[str, tuple[str, ...]] = {
    # Secrets leave because authentication was left undefined.
    "P1": (
        "phones/test_phones_negative.py::test_without_any_accepted_proof_no_lines_leave",
        "phones/test_phones_proofs.py::test_a_stranger_is_told_where_to_come_back_and_nothing_of_lines",
    ),
    # A host name is the only secret.
    "P2": ("phones/test_phones_negative.py::test_a_host_name_opens_nothing",),
    # Known and unknown MACs are answered differently.
    "P3": (
        "proof/s4_enumeration.py::run",
        "phones/test_phones_proofs.py::test_a_mac_that_exists_is_answered_as_one_that_does_not",
    ),
    # A MAC is looked for before the credentials are.
    "P4": (
        "proof/s4_enumeration.py::run",
        "phones/test_phones_proofs.py::test_ten_thousand_unknown_macs_leave_nothing_behind",
    ),
    # A password with any user name, or one for all.
    "P5": ("phones/test_phones_login.py::test_users_and_passwords_must_belong_together",),
    # A Digest answer that is not bound to nonce, uri, method and count.
    "P6": (
        "proof/s8_replay.py::run",
        "phones/test_phones_login.py::test_a_captured_answer_is_worth_nothing_elsewhere",
    ),
    # IPv6 ranges with IPv4 arithmetic.
    "P7": (
        "phones/test_phones_negative.py::test_an_ipv6_range_is_no_range_of_everything",
        "phones/test_phones_negative.py::test_a_range_that_is_none_refuses_the_start",
    ),
    # Refusals that a banning tool cannot read.
    "P8": (
        "phones/test_phones_guard.py::test_who_fails_often_is_told_so_alike_for_every_mac",
        "domain/test_guard.py::test_fail2ban_finds_the_address",
    ),
    # Secrets over plain HTTP; TLS 1.0 for everybody.
    "P9": ("proof/r11_tls.py::run", "phones/test_phones_life.py::test_lines_over_plain_http"),
    # A label injects configuration.
    "P10": ("proof/s1_injection.py::run", "rendering/test_injection.py::test_a_value_arrives_exactly_or_not_at_all"),
    # HTML escapes in .cfg, none in XML.
    "P11": (
        "rendering/test_encoders.py::test_lets_everything_else_through_as_it_is",
        "rendering/test_renderer.py::test_xml_is_escaped_without_a_filter",
    ),
    # A shell command or a path from a request.
    "P12": ("proof/s2_paths.py::run", "phones/test_phones_request.py::test_no_path_leaves_its_folder"),
    # A template language that tenants write in.
    "P13": ("phones/test_phones_negative.py::test_a_template_expression_in_a_value_is_printed",),
    # Authorised for a family instead of a phone.
    "P14": ("phones/test_phones_proofs.py::test_no_phone_gets_the_lines_of_another",),
    # One account's credential for another's phone.
    "P15": (
        "proof/s6_shared_address.py::run",
        "management/test_accounts_apart.py::test_what_is_others_is_answered_as_what_does_not_exist",
    ),
    # Keys of URLs in logs. A second transport outside the rule: there is no TFTP here.
    "P16": ("proof/r12_canaries.py::run", "phones/test_phones_proofs.py::test_no_secret_is_in_any_log_or_file"),
    # Records for anonymous requests.
    "P17": ("phones/test_phones_proofs.py::test_ten_thousand_unknown_macs_leave_nothing_behind",),
    # Phones behind one address take each other's; a write per GET.
    "P18": (
        "phones/test_phones_negative.py::test_phones_behind_one_address_take_nothing_from_each_other",
        "store/test_store_visits.py::test_visits_of_many_phones_are_recorded_at_once",
        "proof/r8_herd.py::run",
    ),
    # A resync is done because somebody said 200.
    "P19": ("test_seen_as_done.py::test_a_200_is_not_done",),
    # An unreachable phone fails silently.
    "P20": (
        "proof/r10_sip.py::run",
        "test_seen_as_done.py::test_a_phone_that_is_offline_makes_an_error_with_its_reason_and_done_once_it_returns",
    ),
    # More lines than slots.
    "P21": (
        "proof/s7_last_slot.py::run",
        "management/test_attach_rules.py::test_a_full_phone_takes_no_more_however_many_ask_at_once",
    ),
    # All phones are scanned for one edit. How CPU grows with the fleet is `make bench`.
    "P22": ("store/test_store_outbox.py::test_a_claim_and_its_question_read_only_what_is_due",),
    # A stale file after a failed rendering; rendered passwords on disk.
    "P23": (
        "phones/test_phones_serving.py::test_what_breaks_for_one_phone_is_told_and_spares_the_others",
        "store/test_store_at_rest.py::test_no_secret_stands_in_plain_in_any_database_file",
        "proof/r12_canaries.py::run",
    ),
    # Data lost in a crash.
    "P24": ("proof/r1_kill.py::run", "proof/r2_power_cut.py::run"),
    # Code or packages delivered as configuration: nothing is loaded, and firmware has a manifest on disk.
    "P25": (
        "phones/test_phones_firmware.py::test_what_the_manifest_does_not_list_is_not_there",
        "phones/test_phones_firmware.py::test_a_wrong_manifest_refuses_the_start",
    ),
    # Strict about spelling.
    "P26": (
        "phones/test_phones_serving.py::test_a_mac_is_understood_in_any_case_and_separator",
        "phones/test_phones_serving.py::test_head_is_get_without_the_body",
        "phones/test_phones_where.py::test_an_address_that_is_unknown_now_is_not_told_from_before",
    ),
    # A path or a traceback in an answer.
    "P27": (
        "proof/s2_paths.py::run",
        "phones/test_phones_serving.py::test_what_breaks_for_one_phone_is_told_and_spares_the_others",
    ),
    # A vendor's CA is believed for any MAC. No redirect service is believed at all.
    "P28": (
        "proof/r11_tls.py::run",
        "phones/test_phones_certificate_proof.py::test_any_other_is_a_stranger",
    ),
    # Uploads: there are none, phones only read.
    "P29": ("phones/test_phones_serving.py::test_phones_only_read",),
    # Settings that nobody reads; tokens of headers in logs.
    "P30": (
        "test_documents.py::test_the_example_configuration_has_every_setting_with_its_default",
        "phones/test_phones_negative.py::test_every_setting_is_read_somewhere",
        "proof/r12_canaries.py::run",
    ),
    # Credentials as text/html, or for every site.
    "P31": (
        "phones/test_phones_negative.py::test_no_document_with_lines_is_a_web_page",
        "phones/test_phones_serving.py::test_nobody_may_keep_or_share_what_a_phone_was_given",
    ),
    # Authentication off to roll a password.
    "P32": (
        "phones/test_phones_life.py::test_two_secrets_are_valid_until_the_phone_shows_the_new_one",
        "management/test_command_line.py::test_a_rotated_key_goes_unnoticed_by_the_running_server",
    ),
}
