import pytest

from torchgraft.viewing.guard import new_token, path_behind_token, refusal

TOKEN = "t0ken"


@pytest.mark.parametrize(
    ("method", "path", "host", "origin", "status"),
    [
        ("GET", "/t0ken/", "127.0.0.1:8000", None, None),
        ("GET", "/t0ken", "localhost:9", None, None),
        ("GET", "/t0ken/news?since=x", "127.0.0.1:8000", "http://127.0.0.1:8000", None),
        ("GET", "/t0ken/", "LOCALHOST", None, None),
        ("GET", "/", "127.0.0.1:8000", None, 403),
        ("GET", "/t0ke/", "127.0.0.1:8000", None, 403),
        ("GET", "/t0kenx/", "127.0.0.1:8000", None, 403),
        ("GET", "/T0KEN/", "127.0.0.1:8000", None, 403),
        ("GET", "//t0ken/", "127.0.0.1:8000", None, 403),
        ("GET", "/..%2ft0ken/", "127.0.0.1:8000", None, 403),
        ("GET", "/\ud800/", "127.0.0.1:8000", None, 403),
        ("GET", "/?t0ken", "127.0.0.1:8000", None, 403),
        ("GET", "/t0ken/" + "x" * 5000, "127.0.0.1:8000", None, 403),
        ("GET", "/t0ken/", "evil.example:8000", None, 403),
        ("GET", "/t0ken/", "127.0.0.1.evil.example", None, 403),
        ("GET", "/t0ken/", "evil.example#127.0.0.1", None, 403),
        ("GET", "/t0ken/", "127.0.0.1:80:80", None, 403),
        ("GET", "/t0ken/", "127.0.0.1:", None, 403),
        ("GET", "/t0ken/", "", None, 403),
        ("GET", "/t0ken/", None, None, 403),
        ("GET", "/t0ken/", "127.0.0.1:8000", "http://evil.example", 403),
        ("GET", "/t0ken/", "127.0.0.1:8000", "http://127.0.0.1:9000", 403),
        ("GET", "/t0ken/", "127.0.0.1:8000", "https://127.0.0.1:8000", 403),
        ("GET", "/t0ken/", "127.0.0.1:8000", "null", 403),
        ("POST", "/t0ken/", "127.0.0.1:8000", None, 405),
        ("POST", "/t0ken/", "evil.example", None, 403),
        ("HEAD", "/t0ken/", "127.0.0.1:8000", None, 405),
        ("get", "/t0ken/", "127.0.0.1:8000", None, 405),
        ("BREW", "/wrong/", "127.0.0.1:8000", None, 405),
    ],
)
def test_who_is_answered(method, path, host, origin, status):
    found = refusal(method, path, host=host, origin=origin, token=TOKEN)
    assert (None if found is None else found.status.value) == status
    assert found is None or TOKEN not in found.message


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        ("/t0ken", ""),
        ("/t0ken/", "/"),
        ("/t0ken/news?x=/a", "/news"),
        ("/t0ken?x", ""),
        ("/t0ke/n", None),
        ("", None),
    ],
)
def test_what_follows_the_token(path, rest):
    assert path_behind_token(path, TOKEN) == rest


def test_tokens_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr("secrets.compare_digest", lambda a, b: compared.append((a, b)) or a == b)
    assert path_behind_token("/wrong/", TOKEN) is None
    assert compared == [(b"wrong", b"t0ken")]


def test_tokens_are_long_and_never_the_same():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) >= 32 for token in tokens)
