"""The same over TLS: connections used again, cuts that are cuts, certificates that are checked."""

import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backstory.errors import UpstreamCut, UpstreamFailure

if TYPE_CHECKING:
    from tests.proxy.upstream.conftest import Dial, Line

OK = b"HTTP/1.1 200 OK\r\n"
TWO = OK + b"Content-Length: 2\r\n\r\nab"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_tls_carries_requests_and_connections_are_used_again(
    dial: "Dial", certificate: Path
) -> None:
    async def script(line: "Line") -> None:
        for _ in range(2):
            await line.answer(TWO)
        await line.until_gone()

    upstream = await dial(
        script,
        server_ssl=server_side(certificate),
        ssl_context=ssl.create_default_context(cafile=str(certificate)),
    )
    assert upstream.authority.startswith("localhost:")
    for _ in range(2):
        answer = await upstream.send("POST", "/", [], b"body")
        assert await answer.read() == b"ab"
        answer.close()
    assert len(dial.lines) == 1


async def test_a_cut_over_tls_is_a_cut(dial: "Dial", certificate: Path) -> None:
    async def script(line: "Line") -> None:
        await line.answer(OK + b"Content-Length: 3\r\n\r\nab")
        line.reset()

    upstream = await dial(
        script,
        server_ssl=server_side(certificate),
        ssl_context=ssl.create_default_context(cafile=str(certificate)),
    )
    answer = await upstream.send("GET", "/", [], None)
    assert await answer.read() == b"ab"
    with pytest.raises(UpstreamCut):
        await answer.read()
    answer.close()


async def test_a_certificate_that_nobody_vouches_for_is_a_502(
    dial: "Dial", certificate: Path
) -> None:
    async def silent(line: "Line") -> None:
        await line.until_gone()

    upstream = await dial(silent, server_ssl=server_side(certificate))
    with pytest.raises(UpstreamFailure) as caught:
        await upstream.send("GET", "/", [], None)
    assert (caught.value.status, caught.value.code) == (502, "upstream_unreachable")
