#!/usr/bin/env python3
"""Signs calls in every scheme, without a line of Gatehouse: what the tests send that ask whether others can call it.

    signer.py keys DIR          makes key pairs, and key sets for the issuers, in DIR
    signer.py calls DIR NOW     prints signed calls as JSON; NOW is the time in Unix seconds
"""

import base64
import datetime
import hashlib
import hmac
import json
import os
import secrets
import sys
import urllib.parse

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

AUTHORITY = "shop.example"
APP = "shop"
SECRET = b"a secret that two sides know"
API_SECRET = "k3y"
ISSUER = "https://{}.example"


def b64(data):
    return base64.b64encode(data).decode()


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, length=None):
    return b64url(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


def make_keys(directory):
    pairs = {
        "app": ed25519.Ed25519PrivateKey.generate(),
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "PS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    for name, pair in pairs.items():
        pem = pair.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with open(os.path.join(directory, name + ".pem"), "wb") as file:
            file.write(pem)
        public = pair.public_key()
        raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        if name == "app":
            with open(os.path.join(directory, "app.pub"), "w") as file:
                file.write(b64(public.public_bytes(*raw)))
            continue
        key = {"kid": "1", "use": "sig", "alg": name}
        if isinstance(pair, rsa.RSAPrivateKey):
            numbers = public.public_numbers()
            key.update(kty="RSA", n=number(numbers.n), e=number(numbers.e))
        elif isinstance(pair, ec.EllipticCurvePrivateKey):
            numbers = public.public_numbers()
            key.update(kty="EC", crv="P-256", x=number(numbers.x, 32), y=number(numbers.y, 32))
        else:
            key.update(kty="OKP", crv="Ed25519", x=b64url(public.public_bytes(*raw)))
        with open(os.path.join(directory, name + ".json"), "w") as file:
            json.dump({"keys": [key]}, file)
    with open(os.path.join(directory, "HS256.secret"), "wb") as file:
        file.write(SECRET * 2)


def private_key(directory, name):
    with open(os.path.join(directory, name + ".pem"), "rb") as file:
        return serialization.load_pem_private_key(file.read(), password=None)


def message_signature(method, target, headers, body, now, sign, key_id, algorithm, digest="sha-256"):
    """RFC 9421, sections 2.5 and 3.1."""
    headers = dict(headers)
    path, _, query = target.partition("?")
    lines = [
        ("@method", method),
        ("@authority", AUTHORITY),
        ("@path", path),
        ("@query", "?" + query),
    ]
    if body:
        hashed = hashlib.new(digest.replace("-", ""), body).digest()
        headers["content-digest"] = f"{digest}=:{b64(hashed)}:"
        headers.setdefault("content-type", "application/json")
    lines += [(name, value) for name, value in headers.items()]
    names = " ".join(f'"{name}"' for name, _ in lines)
    parameters = f'({names});created={now};expires={now + 60};nonce="{secrets.token_hex(12)}"'
    parameters += f';keyid="{key_id}";alg="{algorithm}"'
    base = "".join(f'"{name}": {value}\n' for name, value in lines) + f'"@signature-params": {parameters}'
    headers["signature-input"] = "sig=" + parameters
    headers["signature"] = f"sig=:{b64(sign(base.encode()))}:"
    return {"method": method, "target": target, "headers": headers, "body": body.decode()}


def by_hmac(text):
    return hmac.new(SECRET, text, hashlib.sha256).digest()


def platform(method, query, form, body, now, sign_method, api, more=None):
    """The open-platform style; in China Standard Time, as its clients write it."""
    zone = datetime.timezone(datetime.timedelta(hours=8))
    parameters = {
        "app_key": APP,
        "method": api,
        "timestamp": datetime.datetime.fromtimestamp(now, zone).strftime("%Y-%m-%d %H:%M:%S"),
        "v": "2.0",
        "sign_method": sign_method,
        "nonce": secrets.token_hex(8),
        **(more or {}),
    }
    signed = {**query, **form, **parameters}
    text = "".join(name + signed[name] for name in sorted(signed) if signed[name]).encode() + body
    if sign_method == "md5":
        parameters["sign"] = hashlib.md5(SECRET + text + SECRET).hexdigest().upper()
    else:
        parameters["sign"] = hmac.new(SECRET, text, hashlib.sha256).hexdigest().upper()
    headers = {}
    if form:
        # Everything in the form, as some clients do.
        body = urllib.parse.urlencode({**form, **parameters}).encode()
        headers["content-type"] = "application/x-www-form-urlencoded; charset=utf-8"
        parameters = {}
    elif body:
        headers["content-type"] = "application/json"
    target = "/plain"
    if query or parameters:
        target += "?" + urllib.parse.urlencode({**query, **parameters})
    return {"method": method, "target": target, "headers": headers, "body": body.decode()}


def token(directory, algorithm, now):
    header = {"alg": algorithm, "typ": "JWT", "kid": "1"}
    claims = {
        "iss": ISSUER.format(algorithm.lower()),
        "aud": ["gate", "others"],
        "exp": now + 60,
        "nbf": now - 1,
        "client_id": APP,
        "sub": "alice in wonderland",
        "scope": "orders.read orders.write",
    }
    text = (b64url(json.dumps(header).encode()) + "." + b64url(json.dumps(claims).encode())).encode()
    if algorithm == "HS256":
        signature = hmac.new(SECRET * 2, text, hashlib.sha256).digest()
    else:
        pair = private_key(directory, algorithm)
        if algorithm == "RS256":
            signature = pair.sign(text, padding.PKCS1v15(), hashes.SHA256())
        elif algorithm == "PS256":
            signature = pair.sign(text, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        elif algorithm == "ES256":
            r, s = utils.decode_dss_signature(pair.sign(text, ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        else:
            signature = pair.sign(text)
    return text.decode() + "." + b64url(signature)


def calls(directory, now):
    pair = private_key(directory, "app")
    signatures = [(by_hmac, APP, "hmac-sha256"), (by_hmac, APP + "/two", "hmac-sha256"), (pair.sign, APP, "ed25519")]
    for sign, key_id, algorithm in signatures:
        for method, target, body, digest in [
            ("GET", "/any/%7Eodd/path?b=2&a=%20+x&empty=", b"", None),
            ("GET", "/any", b"", None),
            ("POST", "/any/orders?x", b'{"hello": "world"}', "sha-256"),
            ("PUT", "/any", os.urandom(30_000).hex().encode(), "sha-512"),
        ]:
            headers = {"x-more": "covered,  too"}
            yield f"{algorithm} {key_id} {method}", message_signature(
                method, target, headers, body, now, sign, key_id, algorithm, digest
            )
    for sign_method in ["hmac-sha256", "md5"]:
        query, form = {"city": "北京 1", "a": "b+c&d=e", "empty": ""}, {"name": "ü/?", "B": "2"}
        yield f"platform {sign_method} query", platform("GET", query, {}, b"", now, sign_method, "plain")
        yield f"platform {sign_method} form", platform("POST", query, form, b"", now, sign_method, "plain")
        yield f"platform {sign_method} batch", platform("POST", query, {}, b"[1, 2]", now, sign_method, "plain")
        session = {"session": "tok"}
        yield f"platform {sign_method} user", platform("POST", query, form, b"", now, sign_method, "plain", session)
    simple = {
        "api key": {"x-api-key": f"{APP}.{API_SECRET}"},
        "api key in Authorization": {"authorization": f"ApiKey {APP}.{API_SECRET}"},
        "basic": {"authorization": "Basic " + b64(APP.encode() + b":" + SECRET)},
    }
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA", "HS256"]:
        simple["token " + algorithm] = {"authorization": "Bearer " + token(directory, algorithm, now)}
    for name, headers in simple.items():
        yield name, {"method": "GET", "target": "/any", "headers": headers, "body": ""}


def main():
    if sys.argv[1] == "keys":
        make_keys(sys.argv[2])
    else:
        made = calls(sys.argv[2], int(sys.argv[3]))
        json.dump([{"name": name, **call} for name, call in made], sys.stdout)


main()
