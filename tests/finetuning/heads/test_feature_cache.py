import numpy as np
import torch
from PIL import Image

from torchgraft.finetuning.heads.feature_cache import FeatureCache, fingerprint
from torchgraft.finetuning.images import Images

KEYS = [bytes([i]) * 16 for i in range(4)]
FEATURES = torch.arange(12.0).reshape(4, 3)


def test_rows_come_back_by_content_from_disk(tmp_path):
    cache = FeatureCache(tmp_path / "new" / "folder", "m")
    assert cache.missing(KEYS[:2]) == [0, 1]
    cache.add(KEYS[:2], FEATURES[:2], write=True)
    again = FeatureCache(tmp_path / "new" / "folder", "m")
    assert again.missing([KEYS[1], KEYS[3], KEYS[2], KEYS[3]]) == [1, 2]
    again.add([KEYS[3], KEYS[2]], FEATURES[[3, 2]], write=True)
    third = FeatureCache(tmp_path / "new" / "folder", "m")
    order = [2, 0, 3, 1, 0]
    assert torch.equal(third.rows([KEYS[i] for i in order]), FEATURES[order])
    assert FeatureCache(tmp_path / "new" / "folder", "other").missing(KEYS) == [0, 1, 2, 3]


def test_a_spoilt_file_is_computed_anew(tmp_path, caplog):
    (tmp_path / "features-m.safetensors").write_bytes(b"nothing of the kind")
    assert FeatureCache(tmp_path, "m").missing(KEYS) == [0, 1, 2, 3]
    assert "not a feature cache" in caplog.text


def test_fingerprints_see_content_not_names(tmp_path):
    photo = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for name in ("a.png", "b.png"):
        Image.fromarray(photo).save(tmp_path / name)
    Image.fromarray(photo[::-1].copy()).save(tmp_path / "c.png")
    items = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png", photo, photo.copy(), photo + 1]
    images = Images(items, (0,) * 6, ("x",), tuple("abcdef"))
    a, b, c, d, e, f = (fingerprint(images, i, 3) for i in range(6))
    assert a == b != c
    assert d == e != f
