"""TLS of one run: a certificate made by the driver, pinned by its workers.

`make_certificate` needs the `cryptography` package and runs on the driver only; the rest is standard library.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from datetime import UTC, datetime, timedelta


def make_certificate() -> tuple[str, str]:
    """A new self-signed certificate and its private key, both PEM; P-256, valid for 30 days."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lagom_magic run")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # workers' clocks may be behind
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def server_context(certificate: str, private_key: str) -> ssl.SSLContext:
    """The driver's side: TLS 1.3 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # workers connect once
    # OpenSSL loads keys from files only; this one lives for a moment in a folder that nobody else can enter.
    with tempfile.TemporaryDirectory(prefix="lagom-tls-") as folder:
        path = os.path.join(folder, "run.pem")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(certificate + private_key)
        context.load_cert_chain(path)
    return context


def client_context(certificate: str) -> ssl.SSLContext:
    """A worker's side: trusts this one certificate and no other; the host's name says nothing here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.load_verify_locations(cadata=certificate)
    return context
