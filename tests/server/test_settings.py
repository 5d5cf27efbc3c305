"""Settings of the server: read from TOML, checked, and without secrets."""

from pathlib import Path

import pytest

from cspine.core.errors import InputError
from cspine.server.settings import IntakeSettings, PeerSettings, ServerSettings, load_server_settings, read_secret


def write(folder: Path, text: str) -> Path:
    path = folder / "cspine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_only_loopback_can_reach_the_server() -> None:
    settings = load_server_settings(None)

    assert (settings.node.host, settings.web.host) == ("127.0.0.1", "127.0.0.1")
    assert not any(peer.allows("ANY", "10.0.0.1") for peer in settings.node.allow)
    assert not settings.destinations


def test_paths_and_secrets_begin_at_the_folder_of_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        [storage]
        spool = "data"
        [[destinations]]
        name = "fhir"
        kind = "fhir"
        url = "https://fhir.example/r5"
        token = "token.txt"
        password = "env:FHIR_PASSWORD"
        """,
    )

    settings = load_server_settings(path)

    assert settings.storage.spool == tmp_path / "data"
    assert settings.destinations[0].token == str(tmp_path / "token.txt")
    assert settings.destinations[0].password == "env:FHIR_PASSWORD"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[node", "is not TOML"),
        ("[nodes]\n", "nodes: Extra inputs"),
        ('[node]\nae_title = "A TITLE OF MORE THAN SIXTEEN"\n', "node.ae_title"),
        ('[[node.allow]]\naddress = "nowhere"\n', "node.allow.0.address"),
        ('[web]\nhost = "0.0.0.0"\n', "can be reached from outside without HTTPS"),
        ('[web]\nhost = "0.0.0.0"\nbehind_proxy = true\n', "neither a token nor a proxy"),
        ('[web]\ncertificate = "a.pem"\n', "certificate and key belong together"),
        ('[[destinations]]\nname = "pacs"\nkind = "dicom"\n', "needs host, port, ae_title"),
        ('[[destinations]]\nname = "a"\nkind = "webhook"\nurl = "file:///etc/passwd"\n', "begins with http"),
        ('[[destinations]]\nname = "../a"\nkind = "webhook"\nurl = "http://a"\n', "destinations.0.name"),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path, text)

    with pytest.raises(InputError, match=sentence) as caught:
        load_server_settings(path)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_destinations_have_two_names(tmp_path: Path) -> None:
    one = '[[destinations]]\nname = "a"\nkind = "webhook"\nurl = "http://a"\n'

    with pytest.raises(InputError, match="two destinations have one name"):
        load_server_settings(write(tmp_path, one + one))


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="check the path"):
        load_server_settings(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("peer", "caller", "is_allowed"),
    [
        (PeerSettings(ae_title="CT1", address="10.0.0.0/8"), ("CT1", "10.1.2.3"), True),
        (PeerSettings(ae_title="CT1", address="10.0.0.0/8"), ("CT1 ", "10.1.2.3"), True),
        (PeerSettings(ae_title="CT1", address="10.0.0.0/8"), ("CT2", "10.1.2.3"), False),
        (PeerSettings(ae_title="CT1", address="10.0.0.0/8"), ("CT1", "11.1.2.3"), False),
        (PeerSettings(address="127.0.0.1"), ("ANY", "::ffff:127.0.0.1"), True),
        (PeerSettings(address="fe80::/10"), ("ANY", "fe80::1%eth0"), True),
        (PeerSettings(), ("ANY", "localhost"), False),
    ],
)
def test_peers_are_allowed_by_title_and_address(peer: PeerSettings, caller: tuple[str, str], is_allowed: bool) -> None:
    assert peer.allows(*caller) is is_allowed


def test_the_first_rule_that_fits_gives_the_urgency() -> None:
    intake = IntakeSettings.model_validate(
        {
            "urgency": [
                {"source": "ER", "urgency": "stat"},
                {"description_contains": "polytrauma", "urgency": "urgent"},
            ]
        }
    )

    assert intake.urgency_of("ER", "CT Polytrauma") == "stat"
    assert intake.urgency_of("CT1", "CT Polytrauma") == "urgent"
    assert intake.urgency_of("CT1", "CT head") == "routine"


def test_secrets_come_from_files_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token.txt").write_text("  much secret \nmore\n")
    monkeypatch.setenv("CSPINE_TEST_SECRET", "of the environment")

    assert read_secret(None) is None
    assert read_secret("token.txt", tmp_path) == "much secret"
    assert read_secret("env:CSPINE_TEST_SECRET") == "of the environment"
    with pytest.raises(InputError, match="is not set"):
        read_secret("env:CSPINE_NO_SUCH_SECRET")
    with pytest.raises(InputError, match="never hold the secret itself"):
        read_secret("none.txt", tmp_path)


def test_settings_can_be_written_as_json_and_read_again() -> None:
    settings = ServerSettings()

    assert ServerSettings.model_validate_json(settings.model_dump_json()) == settings
