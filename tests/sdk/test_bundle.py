import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.toy import toy_bundle

from cutpoint.sdk.bundle import MANIFEST_NAME, Bundle
from cutpoint.sdk.errors import BundleError


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return toy_bundle()


@pytest.fixture(params=["folder", "toy.cutpoint"])
def saved(request: pytest.FixtureRequest, bundle: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    bundle.save(path)
    return path


def rewrite_manifest(folder: Path, change: dict[str, object]) -> None:
    path = folder / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    manifest.update(change)
    path.write_text(json.dumps(manifest))


def test_saved_and_opened_it_is_the_same(bundle: Bundle, saved: Path) -> None:
    again = Bundle.open(saved)
    assert again.hash == bundle.hash
    assert again.manifest == bundle.manifest
    assert again.parts == {"device", "server", "report"}
    for entry in bundle.manifest.files:
        assert again.read(entry.path) == bundle.read(entry.path)


def test_equal_bundles_give_equal_files(bundle: Bundle) -> None:
    assert bundle.to_bytes() == toy_bundle().to_bytes()
    assert bundle.hash != toy_bundle("other").hash


def test_parts_share_the_hash_and_hold_only_their_files(bundle: Bundle) -> None:
    device, server = bundle.part("device"), bundle.part("server")
    assert device.hash == server.hash == bundle.hash
    assert "spans/0-1.fp32.onnx" in device
    assert "spans/1-2.fp32.onnx" not in device
    assert "spans/1-2.fp32.onnx" in server
    assert Bundle.from_bytes(device.to_bytes()).parts == {"device", "report"}
    with pytest.raises(BundleError, match="server part is not in this bundle"):
        device.part("server")
    with pytest.raises(BundleError, match=r"spans/1-2\.fp32\.onnx belongs to the server part"):
        device.read("spans/1-2.fp32.onnx")


def test_lookups_name_what_is_missing(bundle: Bundle) -> None:
    assert bundle.points[bundle.point_number("cut1-fp32-affine-fine")].id == "cut1-fp32-affine-fine"
    assert bundle.span(0, 1, "fp32").key == (0, 1, "fp32")
    assert bundle.codec("1-raw").codec == "raw"
    with pytest.raises(BundleError, match=r"'nowhere'.*cut2-fp32"):
        bundle.point_number("nowhere")
    with pytest.raises(BundleError, match="0-1 at precision 'int8'"):
        bundle.span(0, 1, "int8")
    with pytest.raises(BundleError, match="no codec 'x'"):
        bundle.codec("x")
    with pytest.raises(BundleError, match=r"\.\./etc is not part"):
        bundle.read("../etc")


def test_flipped_byte_is_found(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "b")
    file = tmp_path / "b" / "spans/0-1.fp32.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match=r"spans/0-1\.fp32\.onnx is damaged"):
        Bundle.open(tmp_path / "b")
    # Without the check at opening, the read finds it.
    with pytest.raises(BundleError, match="damaged"):
        Bundle.open(tmp_path / "b", verify=False).read("spans/0-1.fp32.onnx")


def test_wrong_size_is_found(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "b")
    (tmp_path / "b/codecs/1-affine.tables").write_bytes(b"short")
    with pytest.raises(BundleError, match=r"1-affine\.tables has 5 bytes"):
        Bundle.open(tmp_path / "b")


@pytest.mark.parametrize("path", ["spans/0-1.fp32.onnx", "codecs/1-affine.tables", MANIFEST_NAME])
def test_missing_file_is_named(bundle: Bundle, tmp_path: Path, path: str) -> None:
    bundle.save(tmp_path / "b")
    (tmp_path / "b" / path).unlink()
    with pytest.raises(BundleError, match=path.replace(".", r"\.") + " is missing"):
        Bundle.open(tmp_path / "b")


def test_newer_schema_says_what_to_do(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "b")
    rewrite_manifest(tmp_path / "b", {"schema": 2, "something": "new"})
    with pytest.raises(BundleError, match=r"schema 2.*install a newer cutpoint"):
        Bundle.open(tmp_path / "b")


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "C:\\x", "a//b", ".hidden", "a/./b", ""])
def test_escaping_path_is_refused(bundle: Bundle, tmp_path: Path, path: str) -> None:
    bundle.save(tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / MANIFEST_NAME).read_text())
    manifest["files"][0]["path"] = path
    rewrite_manifest(tmp_path / "b", manifest)
    with pytest.raises(BundleError, match="not a path that a bundle may hold"):
        Bundle.open(tmp_path / "b")


def test_link_out_of_the_folder_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "b")
    file = tmp_path / "b/spans/0-1.fp32.onnx"
    outside = tmp_path / "outside.onnx"
    outside.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(outside)
    with pytest.raises(BundleError, match=r"spans/0-1\.fp32\.onnx: a link that leads out"):
        Bundle.open(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": []}, "between 1 and 65535 points"),
        ({"boundaries": []}, "at least two boundaries"),
        ({"nonsense": 1}, "unknown field `nonsense`"),
        ({"name": 5}, "Expected `str`"),
    ],
)
def test_manifest_errors_name_the_field(
    bundle: Bundle, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    bundle.save(tmp_path / "b")
    rewrite_manifest(tmp_path / "b", change)
    with pytest.raises(BundleError, match=message):
        Bundle.open(tmp_path / "b")


def test_point_that_refers_to_nothing_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / MANIFEST_NAME).read_text())
    manifest["points"][5]["codec"] = "gone"
    rewrite_manifest(tmp_path / "b", manifest)
    with pytest.raises(BundleError, match="names codec 'gone'"):
        Bundle.open(tmp_path / "b")


def test_a_bundle_needs_a_local_point(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / MANIFEST_NAME).read_text())
    manifest["points"] = manifest["points"][1:]
    rewrite_manifest(tmp_path / "b", manifest)
    with pytest.raises(BundleError, match="no local point"):
        Bundle.open(tmp_path / "b")


def test_no_bundle_and_no_zip(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        Bundle.open(tmp_path / "nothing")
    (tmp_path / "x.cutpoint").write_bytes(b"not a zip")
    with pytest.raises(BundleError, match=r"not a readable \.cutpoint"):
        Bundle.open(tmp_path / "x.cutpoint")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BundleError, match=r"manifest\.json is missing"):
        Bundle.open(tmp_path / "folder")


def test_zip_with_a_name_twice_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "twice.cutpoint"
    bundle.save(path)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MANIFEST_NAME, b"{}")
    with pytest.raises(BundleError, match="holds a name twice"):
        Bundle.open(path)


def test_zip_of_a_version_that_is_not_there_is_refused() -> None:
    damaged = bytearray(_WHOLE)
    damaged[damaged.index(b"PK\x01\x02") + 6] = 84
    with pytest.raises(BundleError, match=r"not a readable .cutpoint file.*8\.4"):
        Bundle.from_bytes(bytes(damaged))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_damage_to_the_file_is_found_or_harmless(data: st.DataObject) -> None:
    whole = _WHOLE
    position = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[position] ^= data.draw(st.integers(1, 255))
    try:
        again = Bundle.from_bytes(bytes(damaged))
    except BundleError:
        return
    # Zip metadata such as times is not content; everything that is must be as it was.
    for entry in again.manifest.files:
        assert again.read(entry.path) == toy_read(entry.path)


_BUNDLE = toy_bundle()
_WHOLE = _BUNDLE.to_bytes()


def toy_read(path: str) -> bytes:
    return _BUNDLE.read(path)


def test_save_leaves_nothing_half_written(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> bytes:
        if path.endswith(".tables"):
            raise BundleError("disk on fire")
        return _BUNDLE.read(path)

    broken = toy_bundle()
    monkeypatch.setattr(broken, "read", fail)
    for name in ("folder", "file.cutpoint"):
        with pytest.raises(BundleError, match="on fire"):
            broken.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_save_overwrites_only_when_asked_and_only_bundles(bundle: Bundle, tmp_path: Path) -> None:
    for name in ("folder", "file.cutpoint"):
        toy_bundle("old").save(tmp_path / name)
        with pytest.raises(BundleError, match="exists"):
            bundle.save(tmp_path / name)
        bundle.save(tmp_path / name, overwrite=True)
        assert Bundle.open(tmp_path / name).hash == bundle.hash
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(BundleError, match="not a bundle: it is left alone"):
        bundle.save(precious, overwrite=True)
    assert (precious / "cat.jpg").read_bytes() == b"meow"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.cutpoint", "folder", "photos"]
