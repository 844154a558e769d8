# SPDX-License-Identifier: Apache-2.0
"""A certificate for 127.0.0.1 and localhost, made by the openssl tool."""
import subprocess


def make(folder):
    """(certificate, key), PEM files in this folder; the certificate is its own authority."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out",
         str(certificate)], check=True, capture_output=True)
    return str(certificate), str(key)
