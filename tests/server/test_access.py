"""Tokens and certificates at a running server: scopes, limits, and changes while it runs."""

import asyncio
import signal
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest
from tests.support.toy import picture
from tests.support.waiting import until

from cutpoint.sdk import AuthenticationFailed, Bundle, Client, LinkError, Overloaded
from cutpoint.sdk.download import download_bundle
from cutpoint.sdk.testing import ServerProcess
from cutpoint.server import EdgeServer, Settings

from .conftest import QUICK
from .test_commands import cutpoint, pictures

FLEET, BOARD, OTHER = "token-of-the-fleet", "token-of-the-board", "token-of-another"


def write_tokens(path: Path, more: str = "") -> None:
    path.write_text(
        f'[[token]]\nname = "fleet"\ntoken = "{FLEET}"\n{more}\n'
        f'[[token]]\nname = "board"\ntoken = "{BOARD}"\nscopes = ["metrics", "status"]\n'
    )


async def status_of(url: str, path: str, token: str) -> int:
    address = url.replace("ws", "http", 1) + path
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as session, session.get(address, headers=headers) as response:
        return response.status


async def test_scopes(bundle: Bundle, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    write_tokens(tokens)
    server = EdgeServer(bundle, Settings(port=0, token_file=tokens))
    await server.start()
    try:
        for path, expected in {
            "/metrics": (401, 403, 200),
            "/v1/bundle": (401, 200, 403),
            "/healthz": (200,) * 3,
        }.items():
            assert tuple([await status_of(server.url, path, token) for token in ("", FLEET, BOARD)]) == expected
        async with Client(server.url, bundle, token=FLEET, mode="edge", times=QUICK) as client:
            assert (await client.infer(picture(1))).source == "edge"
        with pytest.raises(AuthenticationFailed, match="scope 'infer'"):
            async with Client(server.url, bundle, token=BOARD, mode="edge", times=QUICK):
                pass
        with pytest.raises(LinkError, match="403"):
            await download_bundle(server.url, token=BOARD, cache=tmp_path / "cache")
    finally:
        await server.stop()


async def test_limits_of_a_token(bundle: Bundle, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    write_tokens(tokens, "max_rate = 2")
    server = EdgeServer(bundle, Settings(port=0, token_file=tokens))
    await server.start()
    try:
        async with (
            Client(server.url, bundle, token=FLEET, mode="edge", times=QUICK) as one,
            Client(server.url, bundle, token=FLEET, mode="edge", times=QUICK) as two,
        ):
            await one.infer(picture(1))
            await two.infer(picture(1))  # another connection of the same token
            with pytest.raises(Overloaded, match="2 requests per second") as caught:
                await one.infer(picture(1))
            assert caught.value.retry_after is not None
    finally:
        await server.stop()


async def test_tokens_change_while_clients_are_connected(bundle_file: Path, bundle: Bundle, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{FLEET}\n{OTHER}\n")
    options = ("--token-file", str(tokens), "--reload-interval", "0.05")
    async with (
        ServerProcess(bundle_file, *options) as process,
        Client(process.url, bundle, token=FLEET, times=QUICK) as gone,
        Client(process.url, bundle, token=OTHER, mode="edge", times=QUICK) as stays,
    ):
        point = "cut1-fp32-affine-fine"
        assert (await gone.infer(picture(1), point=point)).source == "edge"
        tokens.write_text(f"{OTHER}\n")

        async def locked_out() -> None:
            while gone.refusal is None:
                await gone.infer(picture(1), point=point)

        await asyncio.wait_for(locked_out(), 20)
        assert isinstance(gone.refusal, AuthenticationFailed)
        tokens.write_text("")  # what cannot be used changes nothing
        process.send_signal(signal.SIGHUP)
        assert (await stays.infer(picture(1))).source == "edge"


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority `ca`, and signed by it `one` and `two` (for 127.0.0.1) and `past`, which has run out."""
    folder = tmp_path_factory.mktemp("certificates")
    make = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    ca = str(folder / "ca.pem"), str(folder / "ca.key")
    openssl("req", "-x509", *make, "-days", "2", "-subj", "/CN=authority", "-keyout", ca[1], "-out", ca[0])
    for name, days in (("one", "2"), ("two", "2"), ("past", "-1")):
        request, key, cert = (str(folder / f"{name}.{end}") for end in ("csr", "key", "pem"))
        openssl("req", *make, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        extensions = folder / "extensions"
        extensions.write_text("subjectAltName=IP:127.0.0.1\n")
        signed = ("-CA", ca[0], "-CAkey", ca[1], "-CAcreateserial", "-extfile", str(extensions))
        openssl("x509", "-req", "-in", request, *signed, "-days", days, "-out", cert)
    return folder


def context(certificates: Path, name: str | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=certificates / "ca.pem")
    if name is not None:
        made.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    return made


async def test_mutual_tls(bundle_file: Path, bundle: Bundle, certificates: Path) -> None:
    names = {"--tls-cert": "one.pem", "--tls-key": "one.key", "--tls-client-ca": "ca.pem"}
    options = [part for flag, name in names.items() for part in (flag, str(certificates / name))]
    async with ServerProcess(bundle_file, *options) as process:
        async with Client(process.url, bundle, mode="edge", ssl=context(certificates, "two"), times=QUICK) as client:
            assert (await client.infer(picture(1))).source == "edge"
            for name in (None, "past"):
                with pytest.raises(LinkError):
                    async with Client(process.url, bundle, mode="edge", ssl=context(certificates, name), times=QUICK):
                        pass
            assert (await client.infer(picture(1))).source == "edge"
        await process.stop()
    assert process.log.count("no TLS connection") == 1


async def test_a_server_shows_its_certificate_to_the_next_tier(
    bundle_file: Path, bundle: Bundle, certificates: Path
) -> None:
    def options(name: str, more: dict[str, str]) -> list[str]:
        files = {"--tls-cert": f"{name}.pem", "--tls-key": f"{name}.key", **more}
        return [part for flag, file in files.items() for part in (flag, str(certificates / file))]

    async with ServerProcess(bundle_file, *options("one", {"--tls-client-ca": "ca.pem"})) as cloud:
        upstream = "--upstream", cloud.url, *options("two", {"--upstream-ca": "ca.pem"}), "--tier", "edge"
        async with ServerProcess(bundle_file, *upstream) as edge:
            async with Client(edge.url, bundle, mode="edge", ssl=context(certificates, None), times=QUICK) as client:
                assert [hop.tier for hop in (await client.infer(picture(1))).hops] == ["edge"]
            async with asyncio.timeout(20), aiohttp.ClientSession() as session:
                up = False
                while not up:
                    address = edge.url.replace("wss", "https", 1) + "/v1/status"
                    async with session.get(address, ssl=context(certificates, None)) as response:
                        up = (await response.json())["upstream"]["up"]


async def test_nodes_show_each_other_certificates(bundle: Bundle, certificates: Path) -> None:
    def settings(name: str, port: int, *peers: str) -> Settings:
        ca, cert, key = (certificates / file for file in ("ca.pem", f"{name}.pem", f"{name}.key"))
        tls = {"tls_cert": cert, "tls_key": key, "tls_client_ca": ca}
        return Settings(port=port, peer=peers, peer_ca=ca if peers else None, grace=0.5, **tls)

    first = EdgeServer(bundle, settings("one", 0))
    await first.start()
    second = EdgeServer(bundle, settings("two", 0, first.url))
    await second.start()
    try:
        await until(lambda: len(second.group.rows()) == 2)
    finally:
        await second.stop()
        await first.stop()


async def test_infer_shows_a_certificate(bundle_file: Path, certificates: Path, tmp_path: Path) -> None:
    names = {"--tls-cert": "one.pem", "--tls-key": "one.key", "--tls-client-ca": "ca.pem"}
    options = [part for flag, name in names.items() for part in (flag, str(certificates / name))]
    trust = ["--tls-ca", str(certificates / "ca.pem")]
    shown = ["--tls-cert", str(certificates / "two.pem"), "--tls-key", str(certificates / "two.key")]
    async with ServerProcess(bundle_file, *options) as process:
        infer = ["infer", str(bundle_file), "--server", process.url, "--mode", "edge", *pictures(tmp_path)]
        done = await asyncio.to_thread(cutpoint, *infer, *trust, *shown)
        assert done.returncode == 0, done.stderr
        assert "edge" in done.stdout
        for less in (trust, shown):
            done = await asyncio.to_thread(cutpoint, *infer, *less)
            assert done.returncode == 1
            assert "no connection" in done.stderr
            assert "Traceback" not in done.stderr


async def test_an_expired_certificate_of_the_server(bundle_file: Path, bundle: Bundle, certificates: Path) -> None:
    options = ("--tls-cert", str(certificates / "past.pem"), "--tls-key", str(certificates / "past.key"))
    async with ServerProcess(bundle_file, *options) as process:
        with pytest.raises(LinkError):
            async with Client(process.url, bundle, mode="edge", ssl=context(certificates, None), times=QUICK):
                pass


async def test_certificates_change_while_clients_are_connected(
    bundle: Bundle, certificates: Path, tmp_path: Path
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def install(name: str) -> None:
        cert.write_bytes((certificates / f"{name}.pem").read_bytes())
        key.write_bytes((certificates / f"{name}.key").read_bytes())

    async def shown() -> str:
        host, port = server.url.removeprefix("wss://").split(":")
        _, writer = await asyncio.open_connection(host, int(port), ssl=context(certificates, None))
        subject = writer.get_extra_info("peercert")["subject"]
        writer.close()
        await writer.wait_closed()
        return str(subject[0][0][1])

    install("one")
    server = EdgeServer(bundle, Settings(port=0, tls_cert=cert, tls_key=key, reload_interval=0.02))
    await server.start()
    try:
        trusting = context(certificates, None)
        async with Client(server.url, bundle, mode="edge", ssl=trusting, times=QUICK) as client:
            assert await shown() == "one"
            before = server._door.tls
            install("two")
            await until(lambda: server._door.tls is not before)
            await server.reload()
            assert await shown() == "two"
            assert (await client.infer(picture(1))).source == "edge"
            key.write_text("nonsense")
            await server.reload()
            assert await shown() == "two"
    finally:
        await server.stop()
