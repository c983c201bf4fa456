"""Certificates for a server on the loopback and its client, signed by a new authority whose key is not kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificates:
    """Files in PEM form."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def tls(folder: Path) -> Certificates:
    """New certificates in the folder, valid for a day."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    made = Certificates(
        *(folder / f"{name}.pem" for name in ("authority", "server", "server-key", "client", "client-key"))
    )
    made.authority.write_bytes(_certificate("authority", key, key).public_bytes(Encoding.PEM))
    for certificate, key_file in ((made.server, made.server_key), (made.client, made.client_key)):
        own = ec.generate_private_key(ec.SECP256R1())
        certificate.write_bytes(_certificate(certificate.stem, own, key).public_bytes(Encoding.PEM))
        key_file.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


def _certificate(name: str, key: ec.EllipticCurvePrivateKey, authority: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    now = datetime.now(UTC)
    places = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
    signs = key is authority
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signs, path_length=0 if signs else None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if not signs:
        builder = builder.add_extension(x509.SubjectAlternativeName(places), critical=False)
    return builder.sign(authority, SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
