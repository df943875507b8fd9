"""docs/configuration.md says what the program does."""

from pathlib import Path

from smtpproxy.config.load import load_config

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_pages_example_is_a_configuration(tmp_path: Path) -> None:
    example = PAGE.read_text().split("```toml\n")[1].split("```")[0]
    (tmp_path / "smtpproxy.toml").write_text(example)
    config = load_config(flags={}, environment={}, folder=tmp_path)
    assert [route.name for route in config.routes] == ["provider", "try-out"]
    assert config.routes[0].server_tls.minimum == "1.3"
