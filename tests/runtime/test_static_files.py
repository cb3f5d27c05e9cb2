"""Static files through the ASGI application, as a browser asks for them."""

import gzip
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import AsyncClient

NAME = "js/app.js"


@pytest.fixture
def content() -> bytes:
    found = finders.find(NAME)
    assert isinstance(found, str)
    return Path(found).read_bytes()


@pytest.mark.asyncio
async def test_a_file_comes_whole_with_its_type(content: bytes) -> None:
    answer = await AsyncClient().get(f"{settings.STATIC_URL}{NAME}")
    assert answer.status_code == 200
    assert not answer.streaming
    assert answer.content == content
    assert answer["Content-Type"].startswith("text/javascript")
    assert answer["X-Content-Type-Options"] == "nosniff"


@pytest.mark.asyncio
async def test_a_range_is_a_part(content: bytes) -> None:
    answer = await AsyncClient().get(
        f"{settings.STATIC_URL}{NAME}", headers={"range": "bytes=10-19"}
    )
    assert answer.status_code == 206
    assert answer.content == content[10:20]


@pytest.mark.asyncio
async def test_what_the_browser_has_is_not_sent_again() -> None:
    client = AsyncClient()
    first = await client.get(f"{settings.STATIC_URL}{NAME}")
    again = await client.get(
        f"{settings.STATIC_URL}{NAME}", headers={"if-modified-since": first["Last-Modified"]}
    )
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.asyncio
async def test_head_has_no_body() -> None:
    answer = await AsyncClient().head(f"{settings.STATIC_URL}{NAME}")
    assert (answer.status_code, answer.content) == (200, b"")


def test_collected_files_are_hashed_and_compressed(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bcfl_site.static_files import HashedStorage

    storage = HashedStorage(location=tmp_path, base_url="/static/")
    assert storage.url(NAME) == f"/static/{NAME}"  # before it is collected
    target = tmp_path / NAME
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    changed = [entry for entry in storage.post_process({NAME: (storage, NAME)}) if entry[2]]
    hashed = storage.stored_name(NAME)
    assert changed
    assert hashed != NAME
    assert (tmp_path / hashed).read_bytes() == content
    assert gzip.decompress((tmp_path / f"{hashed}.gz").read_bytes()) == content
